"""How canaries of equal, better and worse towers end, at one share and along a ramp: the controller's own test, a thousand times.

Users come, come back, differ in taste and react; no tower runs. Equal towers are the A/A runs that say how often the test is wrong.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lab.bench.machine import commit, machine
from lab.bench.progress import OnProgress, untold
from lab.observed.columns import Floats, Ints
from lab.paper.intervals import share_of
from streams.canary.arms import Pair
from streams.canary.judge import CanaryRules, Verdict, read_arms, read_guards
from streams.canary.sequential import Sums

ONE_SHARE = (0.5,)
RAMP = (0.05, 0.2, 0.5)
# of all shares together; those of a ramp have equal parts of it
LOOKS = 60
# the canary's engagements over the live bundle's
TRUTHS = {"equal": 1.0, "better": 1.1, "worse": 0.9}
_USERS = 6_000
_RATE = 0.2
_LANGUAGES = (0.5, 0.3, 0.15, 0.05)
_NOTHING: Pair = (Sums(), Sums())


@dataclass(frozen=True, slots=True)
class Look:
    """What a controller has counted at one look, since the share it is at began."""

    share: float
    last: bool
    whole: Pair
    slices: dict[str, Pair]


def looks(rng: np.random.Generator, shares: Sequence[float], lift: float, *, total: int = LOOKS) -> Iterator[Look]:
    """Yield a canary's looks; a user that is in it stays in it as the share grows, and each share is counted anew."""
    bucket, taste = rng.random(_USERS), rng.beta(4 * _RATE, 4 * (1 - _RATE), _USERS)
    language = rng.choice(len(_LANGUAGES), _USERS, p=_LANGUAGES)
    each = total // len(shares)
    for number, share in enumerate(shares):
        canary = bucket < share
        p = np.where(canary, np.minimum(taste * lift, 1.0), taste)
        group = canary * len(_LANGUAGES) + language
        shown, engaged = np.zeros(_USERS, np.int64), np.zeros(_USERS, np.int64)
        for _ in range(each):
            visits = rng.poisson(1 / 3, _USERS)
            came = np.flatnonzero(visits)
            now = visits[came] * rng.integers(1, 9, len(came))
            shown[came] += now
            engaged[came] += rng.binomial(now, p[came])
            sums = _sums(group, shown, engaged)
            live, ours = sums[: len(_LANGUAGES)], sums[len(_LANGUAGES) :]
            slices = {f"language {n}": (_sum(ours[n : n + 1]), _sum(live[n : n + 1])) for n in range(len(_LANGUAGES))}
            yield Look(share, number == len(shares) - 1, (_sum(ours), _sum(live)), slices)


def ending(of: Sequence[Look], rules: CanaryRules, *, ramp: Sequence[float] = ()) -> tuple[Verdict, int]:
    """Return how a canary ends, and at which look; as the controller does, what is better is promoted at the last share only.

    Args:
        ramp: the shares that divide alpha; without, each has the whole of it.
    """
    for number, look in enumerate(of, 1):
        here = rules.at_share(look.share, ramp) if ramp else rules
        whole = read_arms(*look.whole, share=look.share, rules=here)
        verdict = read_guards(whole, _NOTHING, look.slices, {}, rules=here).verdict
        if verdict in (Verdict.WORSE, Verdict.UNBALANCED) or (verdict is Verdict.BETTER and look.last):
            return verdict, number
    return Verdict.WAIT, len(of)


def run(*, runs: int, seed: int = 1, rules: CanaryRules | None = None, on_progress: OnProgress = untold) -> dict[str, Any]:
    """Return one JSON-able object: a row for each truth and each way to go. Better and worse towers get a tenth of the runs.

    The row "ramp, each share at alpha" is what a ramp would be without dividing alpha, on the same users as the one beside it.
    """
    whole = rules or CanaryRules()
    ways: tuple[tuple[tuple[float, ...], dict[str, tuple[float, ...]]], ...] = (
        (ONE_SHARE, {"one share": ONE_SHARE}),
        (RAMP, {"ramp": RAMP, "ramp, each share at alpha": ()}),
    )
    rows: list[dict[str, Any]] = []
    done, steps = 0, len(TRUTHS) * len(ways)
    for truth, lift in TRUTHS.items():
        for number, (shares, judged) in enumerate(ways):
            ends: dict[str, list[tuple[Verdict, int]]] = {name: [] for name in judged}
            for one in range(runs if truth == "equal" else max(1, runs // 10)):
                seen = list(looks(np.random.default_rng((seed, number, one)), shares, lift))
                for name, ramp in judged.items():
                    ends[name].append(ending(seen, whole, ramp=ramp))
            rows += [_row(truth, name, shares, of) for name, of in ends.items()]
            done += 1
            on_progress(done, steps)
    config = {"alpha": whole.alpha, "looks": LOOKS, "users": _USERS}
    return {"bench": "canary", "machine": machine(), "commit": commit(), "config": config, "runs": runs, "seed": seed, "rows": rows}


def as_markdown(report: dict[str, Any]) -> str:
    """Return the rows as a Markdown table."""
    lines = ["| towers | shares | runs | promoted | aborted | looks until then, median |", "|---|---|--:|--:|--:|--:|"]
    for row in report["rows"]:
        looks_median = "–" if row["looks_median"] is None else f"{row['looks_median']:g}"
        figures = (f"{row[name]} ({row[f'{name}_ci'][0]:.1%} to {row[f'{name}_ci'][1]:.1%})" for name in ("promoted", "aborted"))
        lines.append(f"| {row['truth']} | {row['way']} | {row['runs']:,} | {' | '.join(figures)} | {looks_median} |")
    return "\n".join(lines)


def _row(truth: str, way: str, shares: Sequence[float], ends: Sequence[tuple[Verdict, int]]) -> dict[str, Any]:
    promoted = sum(verdict is Verdict.BETTER for verdict, _ in ends)
    aborted = sum(verdict in (Verdict.WORSE, Verdict.UNBALANCED) for verdict, _ in ends)
    decided = [look for verdict, look in ends if verdict is not Verdict.WAIT]
    row: dict[str, Any] = {"truth": truth, "way": way, "shares": list(shares), "runs": len(ends)}
    for name, count in (("promoted", promoted), ("aborted", aborted)):
        share = share_of(count, len(ends))
        row |= {name: count, f"{name}_ci": [share.low, share.high]}
    return {**row, "looks_median": float(np.median(decided)) if decided else None}


def _sums(group: Ints, shown: Ints, engaged: Ints) -> Floats:
    """Return the six sums of `Sums` by group, float64 [2 x languages, 6]."""
    there = shown > 0
    group, n, y = group[there], shown[there], engaged[there]
    columns = (np.ones(len(n)), n, y, n**2, y**2, n * y)
    return np.stack([np.bincount(group, column, minlength=2 * len(_LANGUAGES)) for column in columns], axis=1)


def _sum(rows: Floats) -> Sums:
    users, *others = rows.sum(0).tolist()
    return Sums(int(users), *others)
