"""Results as pictures beside the paper's printed values. Computes no figure; files are written where the caller says."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lab.paper.shown.printed import ELBOW_T, NAMES, TABLE_1, TABLE_2, TRIPLET_GAIN_PCT
from lab.paper.shown.tables import METRIC_NAMES, signed_percent

_OURS, _PAPER = "#1f5fa8", "#b8432f"
# of the study of continual training; an ensemble is not in every one
_LINES = {"frozen": "0.4", "naive": _PAPER, "roost": _OURS, "frozen ensemble": "0.7", "ensemble": "#3a7d44"}
_DPI = 110
_SWEPT = (
    ("auc", "ROC-AUC"),
    ("per_user_auc", "per-user ROC-AUC"),
    ("language_mismatch", "top-1 language mismatch"),
    ("popularity_correlation", "popularity correlation"),
)


def table1(result: Mapping[str, Any]) -> Figure:
    """Return Table 1 as dots: each seed, their mean, and what the paper prints."""
    panels = (
        ("auc", "ROC-AUC on served pairs"),
        ("per_user_auc", "per-user ROC-AUC"),
        ("language_mismatch", "top-1 language mismatch"),
        ("engagement_at_10", "true engagement of the top 10"),
    )
    return _dots(result, panels, TABLE_1)


def table2(result: Mapping[str, Any]) -> Figure:
    """Return Table 2 as dots: change against production, in percent."""
    panels = (("ab_favorite_pct", "favorites, % against production"), ("ab_retweet_pct", "retweets, % against production"))
    figure = _dots(result, panels, TABLE_2)
    for axes in figure.axes:
        axes.axvline(0, color="0.6", linewidth=0.8, zorder=0)
    return figure


def fig3(result: Mapping[str, Any]) -> Figure:
    """Return Figure 3 as lines over tau: accuracy as in the paper, and AUC beside it."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    for axes, metric, title in zip(figure.subplots(1, 2), ("accuracy", "auc"), ("accuracy", "ROC-AUC"), strict=True):
        for name, label, colour in (
            (f"biased_{metric}", "trained on biased, tested on biased", _PAPER),
            (f"full_{metric}", "trained on biased, tested on all", _OURS),
        ):
            _line(axes, result["rows"], "tau", name, label=label, colour=colour)
        axes.axhline(result["baseline"][metric], color="#3a7d44", linestyle=":", label="trained on all, tested on all")
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("tau: pairs that the first model scores above it are kept", fontsize=8)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return figure


def fig5(result: Mapping[str, Any]) -> Figure:
    """Return Figure 5 as lines over the number of negatives; triplet loss is a single point, at the last, with its gain."""
    gain = result["triplet_gain_pct"]
    ours = "" if gain is None else f"{signed_percent(gain)} per-user ROC-AUC, "
    label = f"triplet: {ours}in the paper {signed_percent(TRIPLET_GAIN_PCT)}"
    figure = _sweep(
        [row for row in result["rows"] if row["loss"] == "cross_entropy"],
        "negatives",
        "negatives for each positive",
        label="cross-entropy",
    )
    for axes, (name, _) in zip(figure.axes, _SWEPT, strict=True):
        triplet = [row for row in result["rows"] if row["loss"] == "triplet" and row[name] is not None]
        axes.scatter([row["negatives"] for row in triplet], [row[name] for row in triplet], color=_PAPER, marker="^", label=label)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    return figure


def fig6(result: Mapping[str, Any]) -> Figure:
    """Return Figure 6 as lines over t; the dotted lines are the elbow, where there is one, and the paper's."""
    figure = _sweep(result["rows"], "t", "t, engagements", label="triplet")
    for axes in figure.axes:
        if result["elbow_t"] is not None:
            axes.axvline(result["elbow_t"], color="#3a7d44", linestyle=":", label="elbow")
        axes.axvline(ELBOW_T, color=_PAPER, linestyle=":", label=f"elbow, printed in the paper: {ELBOW_T:,g}")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return figure


def continual(result: Mapping[str, Any]) -> Figure:
    """Return the study of continual training as lines over the days; a cross is an evening on which a gate refused."""
    panels = (
        ("engagement_at_10", "true engagement of the top 10"),
        ("language_mismatch", "top-1 language mismatch"),
        ("effective_share", "effective share of the corpus"),
        ("auc", "ROC-AUC on what it served"),
    )
    figure = Figure(figsize=(12, 3.4), layout="constrained")
    for axes, (name, title) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        for arm, colour in _LINES.items():
            rows = [row for row in result["rows"] if row["arm"] == arm]
            if not rows:
                continue
            _line(axes, rows, "day", name, label=arm, colour=colour)
            refused = [row for row in rows if row["refused_by"]]
            axes.scatter([row["day"] for row in refused], [row[name] for row in refused], color=colour, marker="x", s=50, zorder=3)
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("day", fontsize=8)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    return figure


def gates(result: Mapping[str, Any]) -> Figure:
    """Return the study of the gates as dots, one a bundle: the A/B test over the change of each metric."""
    figure = Figure(figsize=(9, 9), layout="constrained")
    metrics = [one["metric"] for one in result["metrics"]]
    for axes, metric in zip(figure.subplots(len(metrics) // 3, 3, sharey=True).ravel(), metrics, strict=True):
        for refused, colour, word in ((False, _OURS, "accepted"), (True, _PAPER, "refused")):
            for group, marker in (("setting", "o"), ("damage", "x")):
                rows = [row for row in result["rows"] if bool(row["refused_by"]) == refused and row["group"] == group]
                there = [row for row in rows if row["changes"][metric] is not None]
                at = [row["changes"][metric] for row in there]
                effects = [row["outcomes"][result["outcome"]][0] for row in there]
                axes.scatter(at, effects, color=colour, marker=marker, s=18, linewidths=1, label=f"{group}, {word}")
        axes.axhline(0, color="0.6", linewidth=0.8, zorder=0)
        axes.axvline(0, color="0.6", linewidth=0.8, zorder=0)
        axes.set_title(METRIC_NAMES[metric], fontsize=9)
        axes.set_xlabel("change against the live bundle", fontsize=8)
        axes.tick_params(labelsize=8)
    for axes in figure.axes[::3]:
        axes.set_ylabel("A/B, favorites, %", fontsize=8)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    return figure


def freshness(result: Mapping[str, Any]) -> Figure:
    """Return the value of freshness as lines over the delay: what is lost, and the share that is young; bands are 95% intervals."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    rows = [row for row in result["rows"] if row["delay_s"] > 0]
    panels = (
        (
            "true engagement lost, % of that without delay",
            (
                ("loss_at_10_pct", "the nearest 10"),
                ("loss_at_200_pct", "the nearest 200"),
                ("ranked_loss_at_10_pct", "10 of a full ranker"),
            ),
        ),
        ("share under an hour old", (("fresh_at_10", "the nearest 10"), ("fresh_at_200", "the nearest 200"))),
    )
    for axes, (title, lines) in zip(figure.subplots(1, 2), panels, strict=True):
        for (name, label), colour in zip(lines, (_OURS, _PAPER, "#3a7d44"), strict=False):
            _line(axes, rows, "delay_s", name, label=label, colour=colour)
        axes.set_xscale("log")
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("delay from publish to retrievable, s", fontsize=8)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return figure


def arms(result: Mapping[str, Any]) -> Figure:
    """Return every canary's measured effect over its true one, by log; on the line a canary would measure the truth."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    names = list(dict.fromkeys((one["canary"], one["live"]) for one in result["comparisons"]))
    for axes, (log, title) in zip(
        figure.subplots(1, 2, sharex=True, sharey=True),
        (("shared", "both arms train on the shared log"), ("diverted", "each arm trains on what it served")),
        strict=True,
    ):
        for number, name in enumerate(names):
            of_name = [one for one in result["comparisons"] if (one["canary"], one["live"]) == name]
            truth, effects = [one["truth"]["value"] for one in of_name], [one[log]["quiet"] for one in of_name]
            values = [effect["value"] for effect in effects]
            bars = [
                [effect["value"] - effect["low"] for effect in effects],
                [effect["high"] - effect["value"] for effect in effects],
            ]
            axes.errorbar(
                truth, values, yerr=bars, fmt="o", markersize=4, elinewidth=0.7, color=f"C{number}", label=", ".join(name)
            )
        axes.axline((0, 0), slope=1, color="0.6", linewidth=0.8)
        axes.axhline(0, color="0.8", linewidth=0.8)
        axes.axvline(0, color="0.8", linewidth=0.8)
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("true effect on the engagement rate", fontsize=8)
        axes.tick_params(labelsize=8)
    figure.axes[0].set_ylabel("measured by the canary", fontsize=8)
    figure.legend(
        *figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(names), fontsize=8, frameon=False
    )
    return figure


def sweep(result: Mapping[str, Any]) -> Figure:
    """Return what the settings of each baseline come to, over the epochs, a line a learning rate; the ring is what was chosen."""
    panels = (
        ("implicit", "auc", "epochs", "learning_rate"),
        ("random", "engagement_at_10", "epochs", "learning_rate"),
        ("random_in_batch", "engagement_at_10", "epochs", "learning_rate"),
        ("fine_tuned", "engagement_at_10", "parent_epochs", "parent_learning_rate"),
    )
    titles = {"auc": "ROC-AUC on served pairs", "engagement_at_10": "engagement of the top 10"}
    figure = Figure(figsize=(12, 3.4), layout="constrained")
    for axes, (model, name, epochs, rate) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        rows = [row for row in result["rows"] if row["model"] == model]
        for number, value in enumerate(sorted({row[rate] for row in rows})):
            of_rate = [row for row in rows if row[rate] == value]
            at, figures = [row[epochs] for row in of_rate], [row[name] for row in of_rate]
            axes.plot(at, figures, marker="o", markersize=3, color=f"C{number}", label=f"learning rate {value:g}")
        chosen = [row for row in rows if row["chosen"]]
        ring = {"facecolors": "none", "edgecolors": "0.2", "s": 90, "label": "chosen"}
        axes.scatter([row[epochs] for row in chosen], [row[name] for row in chosen], **ring)
        axes.set_title(f"{NAMES[model]}:\n{titles[name]}", fontsize=9)
        axes.set_xlabel("epochs" if epochs == "epochs" else "its parent's epochs", fontsize=8)
        axes.set_xscale("log", base=2)
        axes.grid(color="0.9")
        axes.tick_params(labelsize=8)
        axes.set_axisbelow(True)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a picture (PNG); equal results give equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=_DPI, metadata={"Software": None})


def _sweep(rows: Sequence[Mapping[str, Any]], over: str, title: str, *, label: str) -> Figure:
    figure = Figure(figsize=(11, 3.2), layout="constrained")
    for axes, (name, metric) in zip(figure.subplots(1, len(_SWEPT)), _SWEPT, strict=True):
        _line(axes, rows, over, name, label=label, colour=_OURS)
        axes.set_xscale("log")
        axes.set_title(metric, fontsize=9)
        axes.set_xlabel(title, fontsize=8)
    return figure


def _line(axes: Axes, rows: Sequence[Mapping[str, Any]], x: str, y: str, *, label: str, colour: str) -> None:
    """Draw a mean over the seeds, and the lowest and highest seed as a band."""
    there = [row for row in rows if row[y] is not None]
    at = [row[x] for row in there]
    axes.plot(at, [row[y] for row in there], marker="o", markersize=3, color=colour, label=label)
    bounds = [row["ci"].get(y) or (row[y], row[y]) for row in there]
    axes.fill_between(at, [low for low, _ in bounds], [high for _, high in bounds], color=colour, alpha=0.15, linewidth=0)
    axes.grid(color="0.9")
    axes.tick_params(labelsize=8)
    axes.set_axisbelow(True)


def _dots(result: Mapping[str, Any], panels: Sequence[tuple[str, str]], printed: Mapping[str, Mapping[str, float]]) -> Figure:
    models = [row["model"] for row in result["rows"]]
    figure = Figure(figsize=(3.1 * len(panels) + 2.2, 0.42 * len(models) + 1.3), layout="constrained")
    every = figure.subplots(1, len(panels), sharey=True)
    for axes, (name, title) in zip(every, panels, strict=True):
        _panel(axes, result, name, printed)
        axes.set_title(title, fontsize=9)
    every[0].set_yticks(range(len(models)), [NAMES.get(model, model) for model in models], fontsize=9)
    every[0].invert_yaxis()
    figure.legend(*every[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return figure


def _panel(axes: Axes, result: Mapping[str, Any], name: str, printed: Mapping[str, Mapping[str, float]]) -> None:
    seeds = [(at, row[name]) for rows in result["per_seed"] for at, row in enumerate(rows) if row[name] is not None]
    means = [(at, row[name]) for at, row in enumerate(result["rows"]) if row[name] is not None]
    paper = [(at, printed[row["model"]][name]) for at, row in enumerate(result["rows"]) if name in printed.get(row["model"], {})]
    for points, style in (
        (seeds, {"marker": "|", "color": _OURS, "s": 60, "linewidths": 1, "label": "one seed"}),
        (means, {"marker": "o", "color": _OURS, "s": 36, "label": "mean of the seeds"}),
        (paper, {"marker": "D", "facecolors": "none", "edgecolors": _PAPER, "s": 36, "label": "printed in the paper"}),
    ):
        axes.scatter([value for _, value in points], [at for at, _ in points], **style)  # type: ignore[arg-type]
    axes.grid(axis="x", color="0.9")
    axes.tick_params(labelsize=8)
    axes.set_axisbelow(True)
