"""What an answer costs: processor time at equal recall against a freshly rebuilt graph, and latency while everything is written."""

import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection

import numpy as np
from numpy.typing import NDArray

from lab.bench.baselines import BREADTHS, Alternative, faiss_alternatives, rebuilt_graph
from lab.bench.churn import Churn, exact_nearest, fill
from lab.bench.freshness.worker import Worker
from lab.bench.machine import commit, machine
from lab.bench.progress import OnProgress, untold
from lab.bench.stream import LANGUAGES, DriftingStream, FloatArray, StreamShape
from serving.index import TIERS, Filter, LiveIndex, Rows
from serving.settings import IndexTiers

K = 200
RECALL_FROM = 0.99
LEAST = {"recall_at_200": RECALL_FROM}
"""Costs are compared at equal recall, from here on."""
QUERIES_PER_S = 100
WRITE_BATCH_ROWS = 58
_SPELLS = 4
# a writer costs the same at any size, and of a million rows a second index would take as long again to fill
_LIVE_BESIDE = 50_000
_FILL_S = 600.0
SWITCH_INTERVAL_S = 0.0005
"""A reader waits at most this long for a writer to hand over the interpreter; the serving roles set the same."""


def run(
    *,
    live: int = 50_000,
    turnovers: float = 1.4,
    seeds: Sequence[int] = (1,),
    tiers: IndexTiers = "all",
    queries: int = 300,
    latency_s: float = 90.0,
    writes_per_s: int = 5_800,
    on_progress: OnProgress = untold,
) -> dict[str, object]:
    """Processor time a query at k=200 against each alternative, interleaved query by query; filters; latency idle and writing.

    The rebuilt graph is searched at the smallest of `BREADTHS` whose recall reaches .99 and ours, so that the comparison is at
    equal recall; where none does, at the largest: each row holds the recall of both. Latency runs from the scheduled arrival of
    each query at 100/s, in spells by turns: idle, while this process writes, and while another writes as much into an index of its
    own, which no query of this one waits for by anything but the machine.
    """
    costs = []
    for seed in seeds:
        costs.append(_cost(live, turnovers, seed, tiers, queries))
        on_progress(len(costs), len(seeds) + 1)
    latency = _latency(live, seeds[0], tiers, latency_s, writes_per_s) if latency_s else {}
    on_progress(len(seeds) + 1, len(seeds) + 1)
    return {
        "bench": "query",
        "machine": machine(),
        "commit": commit(),
        "config": tiers,
        "seed_list": list(seeds),
        "live": live,
        "cpu_vs_rebuilt_single": round(max(float(str(cost["cpu_vs_rebuilt_single"])) for cost in costs), 3),
        "p99_writing_vs_idle": latency.get("p99_writing_vs_idle"),
        "recall_at_200": round(min(float(str(cost["recall_at_200"])) for cost in costs), 4),
        "latency": latency,
        "rows": costs,
    }


def _cost(live: int, turnovers: float, seed: int, tiers: IndexTiers, count: int) -> dict[str, object]:
    churn = Churn(DriftingStream(StreamShape(window_rows=live), seed), live, tiers, seed)
    # off-phase: .037 of a window past whatever merge came last
    churn.create(int(live * (1 + turnovers)) + int(0.037 * live))
    arena, slots = churn.live_rows()
    vectors = arena.vectors.take(slots, axis=0)
    queries = churn.stream.queries(count)
    truth = [frozenset(arena.ids_at(slots[nearest])) for nearest in exact_nearest(vectors, queries, K)]

    def ids_of(alternative: Alternative) -> Callable[[FloatArray], list[str]]:
        # an alternative's row numbers must become ids too: that look-up is part of an answer
        return lambda query: arena.ids_at(slots.take(alternative.nearest(query, K)))

    def ours(query: FloatArray) -> list[str]:
        return churn.index.search(query, K).candidate_ids

    own_recall = _recall(ours, queries, truth)
    single = _equally_good(rebuilt_graph(vectors, seed), lambda a: _recall(ids_of(a), queries, truth), max(RECALL_FROM, own_recall))
    contenders = {"ours": ours, **{a.name: ids_of(a) for a in (single, *faiss_alternatives(vectors, seed))}}
    spent = _interleaved(contenders, queries)
    return {
        "seed": seed,
        "recall_at_200": own_recall,
        "cpu_vs_rebuilt_single": spent["ours"] / spent[single.name],
        "cpu_us": {name: round(cpu_s * 1e6) for name, cpu_s in spent.items()},
        "recall": {name: round(_recall(answer, queries, truth), 4) for name, answer in contenders.items()},
        "filters": _filters(churn, queries[:60]),
        "plans": {name: count for name, count in churn.index.stats().counters.items() if name.startswith("searches_")},
    }


def _equally_good(at_breadth: Callable[[int], Alternative], recall: Callable[[Alternative], float], wanted: float) -> Alternative:
    for breadth in BREADTHS:
        alternative = at_breadth(breadth)
        if recall(alternative) >= wanted:
            break
    return alternative


def _recall(answer: Callable[[FloatArray], list[str]], queries: FloatArray, truth: list[frozenset[str]]) -> float:
    return float(np.mean([len(known.intersection(answer(query))) / K for query, known in zip(queries, truth, strict=True)]))


def _interleaved(contenders: dict[str, Callable[[FloatArray], list[str]]], queries: FloatArray) -> dict[str, float]:
    """Mean processor seconds a query of each, in runs of ten so that each works from its own warm caches."""
    spent = dict.fromkeys(contenders, 0.0)
    for begin in range(0, len(queries), 10):
        for name, answer in contenders.items():
            began = time.thread_time()
            for query in queries[begin : begin + 10]:
                answer(query)
            spent[name] += time.thread_time() - began
    return {name: cpu_s / len(queries) for name, cpu_s in spent.items()}


def _filters(churn: Churn, queries: FloatArray) -> dict[str, dict[str, float]]:
    """Processor time and recall of filtered queries: by the share of live rows that match, by language, after a long history."""
    index, newest = churn.index, churn.stream.rows_drawn
    everybody = {
        **{f"newest {share:.1%}": Filter(created_from_ms=int(newest - share * churn.live)) for share in (0.5, 0.05, 0.005)},
        **{f"language {language}": Filter(languages=frozenset({language})) for language in LANGUAGES[:3]},
        "one an author": Filter(per_author_cap=1),
    }
    seen = min(1_000, churn.live // 4)
    unseen = [Filter(exclude_ids=frozenset(index.search_exact(query, seen).candidate_ids)) for query in queries]
    found = {name: _filtered(index, queries, [where] * len(queries)) for name, where in everybody.items()}
    return {**found, f"its own best {seen:,} excluded": _filtered(index, queries, unseen)}


def _filtered(index: LiveIndex, queries: FloatArray, wheres: Sequence[Filter]) -> dict[str, float]:
    spent_s, recalls = 0.0, []
    for query, where in zip(queries, wheres, strict=True):
        began = time.thread_time()
        found = index.search(query, K, where)
        spent_s += time.thread_time() - began
        truth = frozenset(index.search_exact(query, K, where).candidate_ids)
        recalls.append(len(truth.intersection(found.candidate_ids)) / len(truth))
    return {
        "cpu_us": round(spent_s / len(queries) * 1e6),
        "recall_at_200": round(float(np.mean(recalls)), 4),
        "worst_query": round(min(recalls), 4),
    }


def _latency(live: int, seed: int, tiers: IndexTiers, seconds: float, writes_per_s: int) -> dict[str, object]:
    stream = DriftingStream(StreamShape(window_rows=live), seed)
    index = LiveIndex(stream.shape.dim, TIERS[tiers])
    fill(index, stream, live)
    _settled(index)
    waits: dict[str, list[float]] = {"idle": [], "writing": [], "beside": []}
    spell_s = seconds / len(waits) / _SPELLS
    batches, every_s = int(spell_s * writes_per_s / WRITE_BATCH_ROWS), WRITE_BATCH_ROWS / writes_per_s
    prepared = [stream.create(WRITE_BATCH_ROWS) for _ in range(_SPELLS * batches)]
    queries, rng = stream.queries(500), np.random.default_rng((seed, 7))
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        with (
            ThreadPoolExecutor(1) as writer,
            Worker(_write_beside, min(live, _LIVE_BESIDE), seed, tiers, (batches, every_s)) as other,
        ):
            other.receive(timeout_s=_FILL_S)
            for spell in range(_SPELLS):
                waits["idle"] += _answered(index, queries, spell_s, rng)
                part = prepared[spell * batches : (spell + 1) * batches]
                writing = writer.submit(_paced, index, part, every_s, live)
                waits["writing"] += _answered(index, queries, spell_s, rng)
                # one that failed has written no more: what was measured would be another idle spell
                writing.result()
                _settled(index)
                other.tell("write")
                waits["beside"] += _answered(index, queries, spell_s, rng)
                other.receive(timeout_s=_FILL_S)
    finally:
        sys.setswitchinterval(before)
        stats = index.stats()
        index.close()
    p99 = {name: float(np.percentile(spell, 99)) for name, spell in waits.items()}
    return {
        "p99_writing_vs_idle": round(p99["writing"] / p99["idle"], 3),
        "p99_beside_vs_idle": round(p99["beside"] / p99["idle"], 3),
        "writes_per_s": writes_per_s,
        **{f"{name}_p50_ms": round(float(np.percentile(spell, 50)) * 1e3, 3) for name, spell in waits.items()},
        **{f"{name}_p99_ms": round(value * 1e3, 3) for name, value in p99.items()},
        "fresh_rows_end": stats.fresh_rows,
        "merge_debt_rows_end": stats.merge_debt_rows,
        "counters": dict(stats.counters),
    }


def _write_beside(connection: Connection, live: int, seed: int, tiers: IndexTiers, pace: tuple[int, float]) -> None:
    """Run a process that writes as much into an index of its own: what it costs the queries of another is the machine's part."""
    batches, every_s = pace
    stream = DriftingStream(StreamShape(window_rows=live), seed)
    index = LiveIndex(stream.shape.dim, TIERS[tiers])
    try:
        fill(index, stream, live)
        _settled(index)
        prepared = [stream.create(WRITE_BATCH_ROWS) for _ in range(batches)]
        connection.send("filled")
        while connection.recv():
            _paced(index, prepared, every_s, live)
            prepared = [stream.create(WRITE_BATCH_ROWS) for _ in range(batches)]
            _settled(index)
            connection.send("written")
    finally:
        index.close()


def _settled(index: LiveIndex) -> None:
    """Let the builder finish what loading left to do, so that "idle" is idle."""
    for _ in range(600):
        before = index.stats().counters
        time.sleep(0.2)
        if index.stats().merge_debt_rows == 0 and index.stats().counters == before:
            return


def arrivals(seconds: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return when queries are due, in seconds: one in each hundredth, anywhere in it.

    Batches are written in hundredths too: on its mark, each query would come as a batch begins, or none would.
    """
    count = int(seconds * QUERIES_PER_S)
    return (np.arange(count) + rng.random(count)) / QUERIES_PER_S


def _answered(index: LiveIndex, queries: FloatArray, seconds: float, rng: np.random.Generator) -> list[float]:
    """Latencies in seconds, each from its query's scheduled arrival."""
    waits, began = [], time.perf_counter()
    for at, due in enumerate(arrivals(seconds, rng).tolist()):
        arrival = began + due
        time.sleep(max(0.0, arrival - time.perf_counter()))
        _ = index.search(queries[at % len(queries)], K).candidate_ids
        waits.append(time.perf_counter() - arrival)
    return waits


def _paced(index: LiveIndex, batches: list[Rows], every_s: float, live: int) -> None:
    began = time.perf_counter()
    for at, batch in enumerate(batches):
        time.sleep(max(0.0, began + at * every_s - time.perf_counter()))
        index.upsert(batch)
        index.expire(int(batch.created_ms[-1]) - live)
