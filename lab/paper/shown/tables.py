"""Results as rows of text beside the paper's printed values, and as Markdown. Computes no figure and writes no file."""

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from lab.paper.shown.printed import ELBOW_T, NAMES, TABLE_1, TABLE_2, TRIPLET_GAIN_PCT
from trainer.metrics import MISMATCH_OF_PLACES

Rows = list[list[str]]
MISSING = "–"
METRIC_NAMES: Mapping[str, str] = {
    "auc": "served AUC",
    "per_user_auc": "per-user AUC",
    "sampled_auc": "AUC against the corpus",
    "language_mismatch": "mismatch",
    MISMATCH_OF_PLACES: "mismatch of five places",
    "popularity_correlation": "popularity correlation",
    "canary_vectors": "the canary vectors' length",
    "canary_shift": "the canary vectors' shift",
    "recall_at_200": "recall@200",
}


def percent(share: float) -> str:
    """Return a share, 0 to 1, in percent."""
    return f"{100 * share:.0f}%"


def signed_percent(change: float) -> str:
    """Return a change that is in percent already, with its sign."""
    return f"{change:+.1f}%"


def _small_percent(change: float) -> str:
    # + 0.0: what rounds to nothing has no sign
    return f"{round(change, 4) + 0.0:.4f}%"


def three(value: float) -> str:
    """Return a figure of 0 to 1 with three digits."""
    return f"{value:.3f}".replace("0.", ".", 1) if value < 1 else f"{value:.3f}"


_TABLE_1_COLUMNS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("auc", "AUC", three),
    ("per_user_auc", "per-user AUC", three),
    ("language_mismatch", "mismatch", percent),
    ("unreadable", "unreadable", percent),
    ("engagement_at_10", "engagement@10", lambda value: f"{value:.4f}"),
    ("engagement_at_200", "engagement@200", lambda value: f"{value:.4f}"),
    ("fresh_share", "fresh", percent),
    ("fresh_engagement", "engagement, fresh", lambda value: f"{value:.4f}"),
    ("ab_favorite_pct", "A/B favorites", signed_percent),
    ("ab_retweet_pct", "A/B retweets", signed_percent),
)
_TABLE_2_COLUMNS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("ab_favorite_pct", "favorites", signed_percent),
    ("ab_retweet_pct", "retweets", signed_percent),
    ("noisy_favorite_pct", "favorites, noisy ranker", signed_percent),
    ("noisy_retweet_pct", "retweets, noisy ranker", signed_percent),
    ("language_mismatch", "mismatch", percent),
)
_SWEEP_COLUMNS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("auc", "AUC", three),
    ("per_user_auc", "per-user AUC", three),
    ("sampled_auc", "AUC, sampled negatives", three),
    ("language_mismatch", "mismatch", percent),
    ("popularity_correlation", "popularity correlation", lambda value: f"{value:.2f}"),
)


def table1(result: Mapping[str, Any]) -> tuple[list[str], Rows]:
    """Return header and rows of `lab.paper.table1`'s result; a model's figures, lowest to highest seed, and the paper's."""
    return _models(result, _TABLE_1_COLUMNS, TABLE_1)


def table2(result: Mapping[str, Any]) -> tuple[list[str], Rows]:
    """Return header and rows of `lab.paper.table2`'s result."""
    return _models(result, _TABLE_2_COLUMNS, TABLE_2)


def fig3(result: Mapping[str, Any]) -> tuple[list[str], Rows]:
    """Return header and rows of `lab.paper.figures.fig3`'s result; the last row is the model of all pairs."""
    columns = (
        ("biased_accuracy", "accuracy, biased test", three),
        ("full_accuracy", "accuracy, full test", three),
        ("biased_auc", "AUC, biased test", three),
        ("full_auc", "AUC, full test", three),
        ("kept_share", "pairs kept", percent),
        ("kept_positive_share", "of them positive", percent),
    )
    header, rows = _sweep(result["rows"], ("tau", "tau"), columns)
    baseline = result["baseline"]
    rows.append(["trained on all", MISSING, three(baseline["accuracy"]), MISSING, three(baseline["auc"]), "100%", MISSING])
    return header, rows


def fig5(result: Mapping[str, Any]) -> tuple[list[str], Rows]:
    """Return header and rows of `lab.paper.figures.fig5`'s result: both losses, one row a ratio; last the triplet loss's gain."""
    header, rows = _sweep(result["rows"], ("negatives", "negatives a positive"), _SWEEP_COLUMNS)
    losses = [row["loss"].replace("_", "-") for row in result["rows"]]
    rows = [[loss, *row] for loss, row in zip(losses, rows, strict=True)]
    for name, gain in (("triplet's gain", result["triplet_gain_pct"]), ("triplet's gain, paper", TRIPLET_GAIN_PCT)):
        row = dict.fromkeys(header, MISSING)
        row["per-user AUC"] = MISSING if gain is None else signed_percent(gain)
        rows.append([name, *row.values()])
    return ["loss", *header], rows


def fig6(result: Mapping[str, Any]) -> tuple[list[str], Rows]:
    """Return header and rows of `lab.paper.figures.fig6`'s result: one row a t; last the t of the elbow."""
    header, rows = _sweep(result["rows"], ("t", "t"), _SWEEP_COLUMNS)
    nothing = [MISSING] * (len(header) - 1)
    elbow = MISSING if result["elbow_t"] is None else f"{result['elbow_t']:,g}"
    return header, [*rows, [f"elbow: {elbow}", *nothing], [f"elbow, paper: {ELBOW_T:,g}", *nothing]]


def continual(result: Mapping[str, Any]) -> tuple[list[str], Rows]:
    """Return header and rows of `lab.paper.continual.study`'s result: a row for each line of towers and day."""
    columns = (
        ("auc", "AUC, served", three),
        ("language_mismatch", "mismatch", percent),
        ("engagement_at_10", "engagement@10", lambda value: f"{value:.4f}"),
        ("engagement_at_200", "engagement@200", lambda value: f"{value:.4f}"),
        ("effective_share", "effective share", lambda value: f"{100 * value:.1f}%"),
        ("candidate_auc", "AUC, new", three),
        ("live_auc", "AUC, live", three),
        ("again", "trained again", percent),
        ("tuned_share", "share of the way", percent),
        ("accepted", "accepted by the gates", percent),
    )
    header, rows = _sweep(result["rows"], ("day", "day"), columns)
    described = [
        [found["arm"], *row, ", ".join(found["refused_by"]) or MISSING] for found, row in zip(result["rows"], rows, strict=True)
    ]
    # stable: the days of a line stay in order
    return ["towers", *header, "refused by"], sorted(described, key=itemgetter(0))


def gates(result: Mapping[str, Any]) -> tuple[list[str], Rows]:
    """Return header and rows of `lab.paper.gate_study.summed`'s result: how well each metric's change goes with the A/B test."""
    columns: tuple[tuple[str, str, Callable[[float], str]], ...] = (
        ("sign_auc", "AUC for the sign", three),
        ("setting_sign_auc", "the same, sound data", three),
        ("rank_correlation", "rank correlation", lambda value: f"{value:.2f}"),
        ("engagement_rank_correlation", "with engagement@10", lambda value: f"{value:.2f}"),
    )
    header = ["metric", *(title for _, title, _ in columns), "rank correlation, seed by seed", "a gate looks at it"]
    rows = []
    for one in result["metrics"]:
        seeds = " to ".join(f"{value:.2f}" for value in one["per_seed"]) or MISSING
        cells = (_with_range(one, name, text) for name, _, text in columns)
        rows.append([METRIC_NAMES[one["metric"]], *cells, seeds, "yes" if one["gated"] else "no"])
    return header, rows


def freshness(result: Mapping[str, Any]) -> tuple[list[str], Rows]:
    """Return header and rows of `lab.paper.freshness.study`'s result: one row a delay, the first of none."""
    columns = (
        ("loss_at_10_pct", "engagement@10 lost", _small_percent),
        ("loss_at_200_pct", "engagement@200 lost", _small_percent),
        ("ranked_loss_at_10_pct", "engagement@10 lost, after a full ranker", _small_percent),
        ("engagement_at_10", "engagement@10", lambda value: f"{value:.4f}"),
        ("fresh_at_10", "under an hour old, of 10", lambda value: f"{100 * value:.1f}%"),
        ("fresh_at_200", "of 200", lambda value: f"{100 * value:.1f}%"),
        ("held_back", "held back of 200", lambda value: f"{value:.3f}"),
    )
    return _sweep(result["rows"], ("delay_s", "delay, s"), columns)


def arms(result: Mapping[str, Any]) -> tuple[list[str], Rows]:
    """Return header and rows of `lab.paper.arms.study`'s result: a row for each pair of recipes, and one for all of them."""
    header = [
        "canary, against live",
        "true effect",
        *(cell for log in _LOGS.values() for cell in (log, "sign right", "by engagements")),
    ]
    of_pair: dict[str, list[Mapping[str, Any]]] = {}
    for one in result["comparisons"]:
        of_pair.setdefault(f"{one['canary']}, {one['live']}", []).append(one)
    rows = []
    for pair, found in of_pair.items():
        told = [one for one in found if one["of"] != "equal"]
        cells = [pair, _spread([one["truth"]["value"] for one in found])]
        for log in _LOGS:
            cells.append(_spread([one[log]["quiet"]["value"] for one in found]))
            for how in ("quiet", "seen"):
                right = sum(one[log][how]["value"] * one["truth"]["value"] > 0 for one in told)
                cells.append(f"{right} of {len(told)}" if told else MISSING)
        rows.append(cells)
    summed = ["all, as a multiple of the truth", "1"]
    for row in result["rows"]:
        summed += [
            f"{row['recovered']:.2f} ({row['recovered_low']:.2f} to {row['recovered_high']:.2f})",
            f"{row['right']} of {row['of']} ({percent(row['right_low'])} to {percent(row['right_high'])})",
            f"{row['seen_right']} of {row['of']}",
        ]
    return header, [*rows, summed]


def sweep(result: Mapping[str, Any]) -> tuple[list[str], Rows]:
    """Return header and rows of `lab.paper.sweep.study`'s result: one row a setting, those that were chosen marked."""
    columns = [column for column in _TABLE_1_COLUMNS if column[0] in _SWEPT_FIGURES]
    rows = [
        [
            NAMES[row["model"]],
            _setting(row),
            *(text(row[name]) for name, _, text in columns),
            MISSING if row["place"] is None else f"{row['place']:.1f}{'' if row['in_role'] else ', not in its role'}",
            "chosen" if row["chosen"] else "",
        ]
        for row in result["rows"]
    ]
    return ["model", "setting", *(title for _, title, _ in columns), "mean place", ""], rows


_SWEPT_FIGURES = ("auc", "language_mismatch", "engagement_at_10", "engagement_at_200", "ab_favorite_pct", "ab_retweet_pct")


def _setting(row: Mapping[str, Any]) -> str:
    if "weights" in row:
        return ", ".join(f"{weight:g}" for weight in row["weights"].values())
    text = f"{row['learning_rate']:g}, {row['epochs']}"
    return f"{row['parent_learning_rate']:g}, {row['parent_epochs']}, then {text}" if "parent_epochs" in row else text


_LOGS = {"shared": "on the shared log", "diverted": "each on its own"}


def _spread(values: Sequence[float]) -> str:
    mean = sum(values) / len(values)
    return f"{mean:+.4f} ({min(values):+.4f} to {max(values):+.4f})"


def markdown(header: Sequence[str], rows: Rows) -> str:
    """Return a Markdown table: the first column is text, the others are numbers."""
    lines = [header, ["---", *["--:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _sweep(
    found: Sequence[Mapping[str, Any]], over: tuple[str, str], columns: tuple[tuple[str, str, Callable[[float], str]], ...]
) -> tuple[list[str], Rows]:
    key, title = over
    rows = [[f"{row[key]:,g}", *(_with_range(row, name, text) for name, _, text in columns)] for row in found]
    return [title, *(column for _, column, _ in columns)], rows


def _models(
    result: Mapping[str, Any],
    columns: tuple[tuple[str, str, Callable[[float], str]], ...],
    printed: Mapping[str, Mapping[str, float]],
) -> tuple[list[str], Rows]:
    header, rows = ["model"], []
    with_paper = [name for name, _, _ in columns if any(name in values for values in printed.values())]
    for name, title, _ in columns:
        header += [title, "paper"] if name in with_paper else [title]
    for row in result["rows"]:
        cells = [NAMES.get(row["model"], row["model"])]
        for name, _, text in columns:
            cells.append(_with_range(row, name, text))
            if name in with_paper:
                value = printed.get(row["model"], {}).get(name)
                cells.append(MISSING if value is None else text(value))
        rows.append(cells)
    return header, rows


def _with_range(row: Mapping[str, Any], name: str, text: Callable[[float], str]) -> str:
    value = row.get(name)
    if value is None:
        return MISSING
    low, high = (text(bound) for bound in row["ci"].get(name) or (value, value))
    return text(value) if low == high else f"{text(value)} ({low} to {high})"
