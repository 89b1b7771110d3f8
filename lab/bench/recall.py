"""Whether recall holds while everything churns: the live index against a full HNSW rebuild of the same rows, side by side."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lab.bench.baselines import rebuilt_graph
from lab.bench.churn import Churn, exact_nearest
from lab.bench.machine import commit, machine
from lab.bench.progress import OnProgress, untold
from lab.bench.stream import DriftingStream, StreamShape
from serving.settings import IndexTiers

K = 200
REBUILT_BREADTH = 512
"""ef of the rebuild: it finds .98 to .99 of the true 200 at 50,000 rows, so a ratio of 1 is a high bar."""
SMALL_STEP, LARGE_STEP = 0.15, 0.8
GROUP_FROM_TRUTHS = 500
"""Groups with fewer true neighbours than this over all queries are too small to judge."""
AGE_GROUPS = 4
LEAST = {"recall_ratio_min": 0.99, "recall10_ratio_min": 0.99, "refresh80_ratio_min": 0.99, "worst_group_ratio": 0.97}
"""Of what the rebuilt graph finds; a group has fewer true neighbours to find."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """How one stream churns."""

    name: str
    shape: Callable[[int], StreamShape]
    refresh_share: float = 0.0
    refresh_step: float = 0.0


SCENARIOS = (
    Scenario("drift", lambda live: StreamShape(window_rows=live)),
    Scenario("bursts", lambda live: StreamShape(window_rows=live, burst_every_rows=live // 4)),
    Scenario("refresh 80%, small moves", lambda live: StreamShape(window_rows=live), 0.8, SMALL_STEP),
    Scenario("refresh 80%, large moves", lambda live: StreamShape(window_rows=live), 0.8, LARGE_STEP),
    Scenario("unclustered", lambda live: StreamShape(window_rows=live, clustered=False)),
)

SCENARIO_NAMES = tuple(scenario.name for scenario in SCENARIOS)


def run(
    *,
    live: int = 50_000,
    turnovers: float = 5.0,
    seeds: Sequence[int] = (1, 2, 3),
    tiers: IndexTiers = "all",
    checkpoints: int = 4,
    queries: int = 200,
    scenarios: Sequence[str] = SCENARIO_NAMES,
    on_progress: OnProgress = untold,
) -> dict[str, object]:
    """Recall ratios at off-phase moments of `turnovers` windows' worth of writes, for each scenario and seed.

    A checkpoint falls anywhere between two merges, never on one. Every ratio is ours divided by that of a graph rebuilt from the
    live rows at that moment (M 16, ef_construction 100, ef 512), against the same exact truth.
    """
    rows: list[dict[str, object]] = []
    steps = len(scenarios) * len(seeds) * checkpoints
    for scenario in SCENARIOS:
        if scenario.name in scenarios:
            for seed in seeds:
                churn = Churn(DriftingStream(scenario.shape(live), seed), live, tiers, seed)
                for row in _one(churn, scenario, seed=seed, turnovers=turnovers, checkpoints=checkpoints, queries=queries):
                    rows.append(row)
                    on_progress(len(rows), steps)
    return {
        "bench": "recall",
        "machine": machine(),
        "commit": commit(),
        "config": tiers,
        "seed_list": list(seeds),
        "live": live,
        "turnovers": turnovers,
        "seeds": len(seeds),
        **figures(rows),
        "rows": rows,
    }


def figures(rows: Sequence[Mapping[str, object]]) -> dict[str, float | None]:
    """The figures of merit over all checkpoints: a mean, and minima."""
    at_200 = [float(str(row["ratio_200"])) for row in rows]
    at_10 = [float(str(row["ratio_10"])) for row in rows]
    refreshed = [float(str(row["ratio_200"])) for row in rows if str(row["scenario"]).startswith("refresh")]
    groups = [float(str(row["worst_group_ratio"])) for row in rows]
    return {
        "recall_ratio_mean": round(float(np.mean(at_200)), 4),
        "recall_ratio_min": round(min(at_200), 4),
        "recall10_ratio_min": round(min(at_10), 4),
        "refresh80_ratio_min": round(min(refreshed), 4) if refreshed else None,
        "worst_group_ratio": round(min(groups), 4),
    }


def _one(
    churn: Churn, scenario: Scenario, *, seed: int, turnovers: float, checkpoints: int, queries: int
) -> Iterator[dict[str, object]]:
    live = churn.live
    churn.create(live)
    random = np.random.default_rng(seed)
    # a random moment in each equal part of the run, the last part's at its end
    parts = (np.arange(checkpoints) + np.append(random.uniform(0.2, 0.95, checkpoints - 1), 1.0)) / checkpoints
    done = 0
    for moment in parts:
        until = int(moment * turnovers * live)
        _advance(churn, scenario, until - done)
        done = until
        yield {"scenario": scenario.name, "seed": seed, "turnover": round(done / live, 2), **_compare(churn, queries, seed)}


def _advance(churn: Churn, scenario: Scenario, rows: int) -> None:
    """Write `rows` rows, creates and refreshes interleaved."""
    slice_rows = 2_048
    for begin in range(0, rows, slice_rows):
        now = min(slice_rows, rows - begin)
        refreshed = int(now * scenario.refresh_share)
        churn.create(max(1, now - refreshed))
        if refreshed:
            churn.refresh(refreshed, step=scenario.refresh_step)


def _compare(churn: Churn, count: int, seed: int) -> dict[str, object]:
    arena, slots = churn.live_rows()
    vectors = arena.vectors.take(slots, axis=0)
    queries = churn.stream.queries(count)
    truth = exact_nearest(vectors, queries, K)
    rebuilt = rebuilt_graph(vectors, seed)(REBUILT_BREADTH)
    row_of = {candidate_id: row for row, candidate_id in enumerate(arena.ids_at(slots))}
    ours = [[row_of[i] for i in churn.index.search(query, K).candidate_ids] for query in queries]
    ours_10 = [[row_of[i] for i in churn.index.search(query, 10).candidate_ids] for query in queries]
    theirs = [rebuilt.nearest(query, K).tolist() for query in queries]
    found_ours, found_theirs = _found(truth, ours), _found(truth, theirs)
    stats = churn.index.stats()
    groups = {
        **_by_group(truth, found_ours, found_theirs, arena.language.take(slots), "language"),
        **_by_group(truth, found_ours, found_theirs, _age_groups(arena.created_ms_at(slots)), "age"),
    }
    worst = min(groups, key=lambda name: groups[name])
    return {
        "recall_200": round(float(found_ours.mean()), 4),
        "rebuilt_200": round(float(found_theirs.mean()), 4),
        "ratio_200": round(float(found_ours.mean() / found_theirs.mean()), 4),
        "ratio_10": round(float(_found(truth[:, :10], ours_10).mean() / _found(truth[:, :10], theirs).mean()), 4),
        "worst_group": worst,
        "worst_group_ratio": round(groups[worst], 4),
        "tiers": {
            "fresh": stats.fresh_rows,
            "compressed": stats.compressed_rows,
            "graph": stats.graph_rows,
            "graph_dead": stats.graph_dead,
        },
    }


def _found(truth: np.ndarray, answers: list[list[int]]) -> np.ndarray:
    """For each true neighbour whether the answer holds it: the shape of `truth`."""
    return np.array([np.isin(nearest, answer) for nearest, answer in zip(truth, answers, strict=True)])


def _age_groups(created_ms: np.ndarray) -> np.ndarray:
    """Quarter of the window by creation time, 0 the oldest."""
    return np.searchsorted(np.quantile(created_ms, np.arange(1, AGE_GROUPS) / AGE_GROUPS), created_ms, side="right")


def _by_group(truth: np.ndarray, ours: np.ndarray, theirs: np.ndarray, group_of: np.ndarray, what: str) -> dict[str, float]:
    """Ratio of recalls over the true neighbours of each group that has enough of them."""
    groups = group_of[truth]
    ratios = {}
    for group in np.unique(groups):
        inside = groups == group
        if np.count_nonzero(inside) >= GROUP_FROM_TRUTHS and theirs[inside].any():
            ratios[f"{what} {group}"] = float(ours[inside].mean() / theirs[inside].mean())
    return ratios
