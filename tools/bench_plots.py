"""Draws docs/bench/*.png from the results kept there, one picture a claim: `python -m tools.bench_plots`. Measures nothing."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

BENCH = Path(__file__).resolve().parent.parent / "docs" / "bench"
_OURS, _OTHER, _GOAL = "#1f5fa8", "#b8432f", "0.55"
_MILLISECONDS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000)
_UPSERT_GOALS = {"50k": 15, "100k": 15, "1m": 5}
_DPI = 110


def main() -> None:
    """Draw every picture whose results are kept."""
    for name, figure in figures(BENCH).items():
        figure.savefig(BENCH / f"{name}.png", dpi=_DPI, metadata={"Software": None})


def figures(folder: Path) -> dict[str, Figure]:
    """Return the pictures by file name."""

    def kept(name: str) -> dict[str, Any]:
        data: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
        return data

    return {
        "recall": _recall(kept("index-recall-50k")),
        "ingest": _ingest({live: kept(f"index-ingest-{live}") for live in ("50k", "100k", "1m")}),
        "query": _query({live: kept(f"index-query-{live}") for live in ("50k", "100k", "300k")}),
        "query-p99": _query_p99({live: kept(f"index-query-{live}") for live in ("50k", "100k", "300k")}),
        "refresh": _refresh(kept("refresh-20k")),
        "freshness": _freshness(kept("freshness-200")),
    }


def _recall(result: Mapping[str, Any]) -> Figure:
    """Each checkpoint of each scenario, against a graph rebuilt at that moment."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    rows = result["rows"]
    scenarios = list(dict.fromkeys(row["scenario"] for row in rows))
    for axes, name, title in zip(
        figure.subplots(1, 2, sharey=True), ("ratio_200", "ratio_10"), ("recall@200", "recall@10"), strict=True
    ):
        axes.scatter([row[name] for row in rows], [scenarios.index(row["scenario"]) for row in rows], color=_OURS, s=28)
        axes.axvline(0.99, color=_GOAL, linestyle=":", label="goal")
        axes.set_yticks(range(len(scenarios)), scenarios, fontsize=8)
        axes.set_xlabel(f"{title} / that of a graph rebuilt at the same moment", fontsize=8)
    figure.suptitle(f"Recall under churn: {result['live']:,} live, {result['turnovers']} turnovers", fontsize=9)
    return figure


def _ingest(results: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Upserts per processor second, as multiples of what hnswlib does by itself in the same run."""
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.subplots()
    for at, result in enumerate(results.values()):
        axes.bar(at - 0.18, result["vs_inplace_update"], 0.34, color=_OURS, label="of updates in place" if not at else None)
        axes.bar(at + 0.18, result["vs_replace_deleted"], 0.34, color=_OTHER, label="of mark and replace" if not at else None)
    labels = [f"{live} live, recall@200 {result['recall_at_200']:.3f}" for live, result in results.items()]
    axes.set_xticks(range(len(results)), labels, fontsize=8)
    for at, live in enumerate(results):
        axes.hlines(_UPSERT_GOALS[live], at - 0.4, at + 0.4, color=_GOAL, linestyle=":", label="goal" if not at else "_goal")
    axes.set_ylabel("upserts per CPU second, times those", fontsize=8)
    axes.legend(fontsize=8, loc="upper right")
    return figure


def _query(results: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Processor time of a query of 200, each engine's recall beside it."""
    figure = Figure(figsize=(11, 3.2), layout="constrained")
    for axes, (live, result) in zip(figure.subplots(1, len(results)), results.items(), strict=True):
        row = result["rows"][0]
        engines = list(row["cpu_us"])[::-1]
        axes.barh(
            range(len(engines)), [row["cpu_us"][e] for e in engines], color=[_OURS if e == "ours" else _OTHER for e in engines]
        )
        axes.set_yticks(range(len(engines)), [f"{e}, recall {row['recall'][e]:.3f}" for e in engines], fontsize=7)
        axes.set_title(f"{live} live", fontsize=9)
    figure.supxlabel("µs of processor a query, k = 200", fontsize=8)
    return figure


def _query_p99(results: Mapping[str, Mapping[str, Any]]) -> Figure:
    """The slowest hundredth of queries without writes, with them, and while another process writes as much elsewhere."""
    figure = Figure(figsize=(6, 3.0), layout="constrained")
    axes = figure.subplots()
    spells = (
        ("idle", "no writes", _GOAL),
        ("writing", "5,800 upserts/s into the index", _OURS),
        ("beside", "as many beside it", _OTHER),
    )
    for at, result in enumerate(results.values()):
        for offset, (spell, label, colour) in zip((-0.27, 0, 0.27), spells, strict=True):
            axes.bar(at + offset, result["latency"][f"{spell}_p99_ms"], 0.25, color=colour, label=None if at else label)
    axes.set_xticks(range(len(results)), [f"{live} live" for live in results], fontsize=8)
    axes.set_ylabel("query p99, ms from scheduled arrival", fontsize=8)
    axes.legend(fontsize=7, frameon=False)
    return figure


def _refresh(result: Mapping[str, Any]) -> Figure:
    """The frontier: what a policy costs against how near it stays to embedding everything at once; a thin line a seed."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    families = (("every=", "every=…", _OTHER, "o"), ("threshold", "threshold", "#3a7d44", "s"), ("value=", "value=…", _OURS, "^"))
    for axes, cost, label in zip(
        figure.subplots(1, 2, sharey=True),
        ("rows_embedded", "cpu_s"),
        ("rows embedded", "processor seconds of choosing and embedding"),
        strict=True,
    ):
        for seed in result["seed_list"]:
            for prefix, name, colour, marker in families:
                rows = sorted(
                    (row for row in result["rows"] if row["seed"] == seed and row["policy"].startswith(prefix)),
                    key=lambda row: float(row["rows_embedded"]),
                )
                axes.plot(
                    [row[cost] for row in rows],
                    [row["overlap_mean"] for row in rows],
                    color=colour,
                    marker=marker,
                    markersize=4,
                    linewidth=0.8,
                    label=name if seed == result["seed_list"][0] else None,
                )
        axes.set_xlabel(label, fontsize=8)
        axes.set_ylabel("overlap@200 with embedding at once", fontsize=8)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return figure


def _freshness(result: Mapping[str, Any]) -> Figure:
    """From a tweet's scheduled send to the first answer with it, stage by stage."""
    figure = Figure(figsize=(8, 2.8), layout="constrained")
    axes = figure.subplots()
    stages = {"publish to retrievable": {"p50_ms": result["p50_ms"], "p99_ms": result["p99_ms"]}, **result["stages_ms"]}
    names = list(stages)[::-1]
    shown = [stages[name][of] for name in names for of in ("p50_ms", "p99_ms")]
    for at, name in enumerate(names):
        axes.plot([stages[name]["p50_ms"], stages[name]["p99_ms"]], [at, at], color=_OURS, linewidth=3, solid_capstyle="round")
        axes.plot(stages[name]["p50_ms"], at, "o", color=_OURS)
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names], fontsize=8)
    axes.set_xscale("log")
    marks = [mark for mark in _MILLISECONDS if min(shown) / 1.5 < mark < max(shown) * 1.5]
    axes.set_xticks(marks, [str(mark) for mark in marks], fontsize=8)
    axes.minorticks_off()
    axes.set_xlabel("milliseconds, median to 99th percentile", fontsize=8)
    axes.set_title(
        f"{result['rate_offered']:g} tweets/s, {result['queries_per_s']:g} queries/s, {result['machine']['cores']} cores",
        fontsize=9,
    )
    return figure


if __name__ == "__main__":
    main()
