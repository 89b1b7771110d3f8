"""What a re-embedding buys: the CPU each refresh policy spends, against how much of the oracle's answers it still gives.

The oracle embeds every candidate in every second it was engaged with. Engagements are as real ones: a few candidates take most of
them, and most come early. Runs the embedder's own policies and a pre-trained tower; no broker.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lab.bench.freshness.towers import pretrained
from lab.bench.freshness.traffic import make_world
from lab.bench.machine import commit, machine
from lab.bench.progress import OnProgress, untold
from lab.world.live import Clock, LiveWorld
from schemas.bundle import read_bundle
from schemas.features.query import query_features
from schemas.records.candidates import Candidate, Counters
from schemas.records.users import QueryFeatures, UserState
from schemas.surfaces import WRITE_TIME, Surface, load_surfaces
from schemas.towers import Towers
from streams.embedder.refresh import refresh_for

K = 200
QUERIES = 100
# seconds between two comparisons; apart from every cadence, so that none is always fresh when it is looked at
CHECK_S = 17
POLICIES = (
    WRITE_TIME,
    *(f"every={seconds}s" for seconds in (5, 15, 30, 60, 120)),
    "threshold",
    *(f"value={rows}/s" for rows in (5, 10, 20, 40, 80, 160, 320)),
)

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Load:
    """One run.

    Attributes:
        live: candidates, all there from the beginning; their ages are spread over a day.
        seconds: simulated length; a policy's checkpoint is a second.
        engagements_per_s: over all candidates.
    """

    live: int = 20_000
    seconds: int = 300
    engagements_per_s: float = 700.0


def run(
    *,
    live: int = 20_000,
    seconds: int = 300,
    seeds: Sequence[int] = (1,),
    say: Callable[[str], None],
    on_progress: OnProgress = untold,
) -> dict[str, object]:
    """Return the frontier: rows embedded, CPU seconds and overlap@200 with the oracle, by policy and seed.

    `value_beats` counts the points of the other policies, over seeds, at whose rows `value` has the greater overlap, by the
    straight line between its own points.
    """
    load = Load(live, seconds)
    rows: list[dict[str, object]] = []
    for seed in seeds:
        for row in _run_seed(load, seed, say):
            rows.append(row)
            on_progress(len(rows), len(seeds) * len(POLICIES))
    beaten = [_beaten(row, rows) for row in rows if not str(row["policy"]).startswith("value") and row["policy"] != WRITE_TIME]
    return {
        "bench": "refresh",
        "machine": machine(),
        "commit": commit(),
        "config": {"live": live, "seconds": seconds, "engagements_per_s": load.engagements_per_s, "k": K, "queries": QUERIES},
        "seed_list": list(seeds),
        "live": live,
        "seeds": len(seeds),
        "value_beats": sum(beaten),
        "value_beats_of": len(beaten),
        "rows": rows,
    }


def _run_seed(load: Load, seed: int, say: Callable[[str], None]) -> Iterator[dict[str, object]]:
    surface = load_surfaces()["home-timeline"]
    with tempfile.TemporaryDirectory(prefix="roost-refresh-") as folder:
        bundle = pretrained(Path(folder), surface, seed=seed)
        towers = Towers(read_bundle(Path(folder), surface.name, bundle))
    say(f"refresh: seed {seed}: towers {bundle} pre-trained")
    traffic = _Traffic(load, seed)
    queries = towers.embed_queries(traffic.queries())
    oracle: list[NDArray[np.int64]] = []
    for policy in POLICIES:
        row, answers = _run_policy(replace(surface, refresh=policy), traffic, towers, queries)
        # the first policy is the oracle
        oracle = oracle or answers
        overlaps = [_overlap(ours, best) for ours, best in zip(answers, oracle, strict=True)]
        say(f"refresh: seed {seed}: {policy}: {row['rows_embedded']:,} rows, overlap {np.mean(overlaps):.3f}")
        yield {
            "seed": seed,
            "policy": policy,
            **row,
            "overlap_mean": round(float(np.mean(overlaps)), 4),
            "overlap_min": round(float(np.min(overlaps)), 4),
        }


def _run_policy(
    surface: Surface, traffic: "_Traffic", towers: Towers, queries: Vectors
) -> tuple[dict[str, object], list[NDArray[np.int64]]]:
    policy = refresh_for(surface)
    candidates = list(traffic.candidates)
    vectors = traffic.embedded(towers, candidates)
    policy.embedded(candidates, 0)
    rows, cpu_s = 0, 0.0
    answers = []
    for second, engaged in enumerate(traffic.engagements, start=1):
        changed = []
        for at, favorites, clicks in engaged:
            known = candidates[at].counters
            counters = replace(known, favorite=known.favorite + favorites, click=known.click + clicks)
            candidates[at] = replace(candidates[at], counters=counters)
            changed.append(candidates[at])
        began_s = time.process_time()
        chosen = [*policy.engaged(changed, second * 1000), *policy.due(second * 1000, len(candidates))]
        fresh = traffic.embedded(towers, chosen)
        cpu_s += time.process_time() - began_s
        rows += len(chosen)
        vectors[[traffic.row_of[candidate.candidate_id] for candidate in chosen]] = fresh
        if second % CHECK_S == 0:
            scores = queries @ vectors.T
            answers.append(np.argpartition(-scores, K, axis=1)[:, :K].astype(np.int64))
    return {"rows_embedded": rows, "cpu_s": round(cpu_s, 2)}, answers


class _Traffic:
    """Candidates, what happens to each in each second, and who asks. The same for every policy."""

    def __init__(self, load: Load, seed: int) -> None:
        world = make_world(seed)
        rng = world.rng(31)
        live = LiveWorld(world, Clock(unix_ms=0))
        rows = np.arange(load.live) % len(world.tweets)
        age_s = rng.uniform(0, 86_400, load.live)
        # heavy-tailed appeal, and half of the interest gone every two hours
        appeal = np.exp(1.5 * rng.normal(size=load.live)) * 0.5 ** (age_s / 7_200)
        had = rng.poisson(appeal / appeal.mean() * 3)
        self.candidates = [
            Candidate(
                f"t:{number}",
                number,
                0,
                number,
                attributes=live.tweet(int(row)).attributes(),
                counters=Counters(favorite=int(favorites), click=int(favorites) // 3),
            )
            for number, (row, favorites) in enumerate(zip(rows, had, strict=True))
        ]
        self.row_of = {candidate.candidate_id: row for row, candidate in enumerate(self.candidates)}
        share = appeal / appeal.sum()
        self.engagements: list[list[tuple[int, int, int]]] = []
        for _ in range(load.seconds):
            favorites = rng.poisson(share * load.engagements_per_s * 0.7)
            clicks = rng.poisson(share * load.engagements_per_s * 0.3)
            at = np.flatnonzero(favorites + clicks)
            self.engagements.append(list(zip(at.tolist(), favorites[at].tolist(), clicks[at].tolist(), strict=True)))
        self._users = list(live.users())[:QUERIES]

    def queries(self) -> list[QueryFeatures]:
        """Return the features of those who ask."""
        return [
            query_features(UserState(u.user_id, languages=u.languages, region=u.region, follows=u.follows, interests=u.interests))
            for u in self._users
        ]

    def embedded(self, towers: Towers, candidates: Sequence[Candidate]) -> Vectors:
        """Return the vectors of candidates, float32 [n, d]."""
        features = [found for candidate in candidates if (found := candidate.features()) is not None]
        batches = [towers.embed_candidates(features[start : start + 512]) for start in range(0, len(features), 512)]
        return np.concatenate(batches) if batches else np.empty((0, towers.dim), np.float32)


def _overlap(ours: NDArray[np.int64], best: NDArray[np.int64]) -> float:
    return float(np.mean([len(np.intersect1d(mine, theirs)) / K for mine, theirs in zip(ours, best, strict=True)]))


def _beaten(row: dict[str, object], rows: Sequence[dict[str, object]]) -> bool:
    value = sorted(
        (float(str(other["rows_embedded"])), float(str(other["overlap_mean"])))
        for other in rows
        if other["seed"] == row["seed"] and str(other["policy"]).startswith("value")
    )
    spent, reached = zip(*value, strict=True)
    rows_embedded = float(str(row["rows_embedded"]))
    return rows_embedded >= spent[0] and float(np.interp(rows_embedded, spent, reached)) > float(str(row["overlap_mean"]))
