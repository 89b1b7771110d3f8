"""Figure 6 of the paper: popularity weights on negatives (section 5.3). On tweets, by engagements: these logs show no accounts.

Triplet loss, negatives in the batch, each weighted by 0.5 + 0.5 exp(-popularity / t). For t to 0 and for t to infinity all weights
are equal, so whatever t does must come and go between.
"""

from collections.abc import Sequence
from typing import TypedDict

from lab.paper.evaluate import split
from lab.paper.figures.sweep import Data, OnProgress, Row, SweepSettings, mean, of_seed, sweep
from lab.world import simulate
from schemas.errors import InvalidInput
from trainer.learning.negatives import Negatives
from trainer.learning.objectives import Objective

# engagements of a tweet when it is served: half of them have few, some have hundreds
TS = (0.1, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 10_000.0)
_MOST = 0.8


class Figure(TypedDict):
    """`elbow_t`: see `elbow`."""

    seeds: list[int]
    elbow_t: float | None
    rows: list[Row]
    per_seed: list[list[Row]]


def fig6(
    seeds: Sequence[int],
    settings: SweepSettings | None = None,
    *,
    ts: Sequence[float] = TS,
    on_progress: OnProgress = lambda _s, _t: None,
) -> Figure:
    """Run the experiment: one world a seed."""
    how = settings or SweepSettings()
    steps = [({"t": t}, Objective(loss="triplet", negatives=Negatives("in_batch"), popularity_t=t)) for t in ts]
    per_seed = []
    for seed in seeds:
        cut = split(simulate(of_seed(how, seed), how.days, test_users=1), how.spec, seed=seed)
        data = Data(cut.train, cut.train_corpus, cut.test, cut.corpus)
        per_seed.append(sweep(steps, data, how, seed=seed, told=lambda number, seed=seed: on_progress(seed, ts[number])))  # type: ignore[misc]
    rows = mean(per_seed, ("t",))
    return Figure(seeds=list(seeds), elbow_t=elbow(rows), rows=rows, per_seed=per_seed)


def elbow(rows: Sequence[Row]) -> float | None:
    """Return the smallest t with 80% of the popularity correlation's rise from the first row to the highest; None without a rise.

    The paper's elbow is where most of the gain in AUC and mismatch is made; where neither gains, what t moves is popularity alone.

    Raises:
        InvalidInput: no row has the correlation.
    """
    known = [row for row in rows if row["popularity_correlation"] is not None]
    if not known:
        raise InvalidInput(
            "no t has a popularity correlation: none was tried, or all tweets are equally popular or equally often retrieved; "
            "ask for one t at least, and a larger world"
        )
    first, highest = known[0]["popularity_correlation"], max(row["popularity_correlation"] for row in known)
    if highest <= first:
        return None
    return float(next(row["t"] for row in known if row["popularity_correlation"] >= first + _MOST * (highest - first)))
