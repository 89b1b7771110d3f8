"""The study of the gates as rows of text and as Markdown: verdicts, refusals gate by gate, every training. Computes no figure."""

from collections.abc import Mapping, Sequence
from typing import Any

from lab.paper.shown.tables import METRIC_NAMES, MISSING, Rows, markdown, percent, signed_percent, three

RULE_NAMES = {
    "shipped": "the gates as shipped",
    "none": "everything accepted",
    "moved": "limits moved",
    "rise": "mismatch's rise chosen on the other seeds",
    **{name: f"one limit on {title}" for name, title in METRIC_NAMES.items()},
}
AMONG_NAMES = {
    "all": "all",
    "significant": "those whose A/B is significant",
    "setting": "settings turned",
    "damage": "data damaged",
    "unseen": "seeds nothing was chosen on",
}


def verdicts(result: Mapping[str, Any]) -> str:
    """Return the verdicts of every rule against the sign of the A/B test, as Markdown; likewise the two below."""
    return markdown(*verdict_rows(result))


def refusals(result: Mapping[str, Any]) -> str:
    """Return what each gate refused."""
    return markdown(*refusal_rows(result))


def trainings(result: Mapping[str, Any]) -> str:
    """Return every training."""
    return markdown(*training_rows(result))


def verdict_rows(result: Mapping[str, Any]) -> tuple[list[str], Rows]:
    """Return header and rows: the verdicts of every rule against the sign of the A/B test."""
    header = ["verdicts", "among", "accepted, not worse", "accepted, worse", "refused, not worse", "refused, worse"]
    header += ["right", "precision", "recall", "refusals that are right", "worse ones refused"]
    rows = [
        [
            RULE_NAMES[one["rule"]],
            AMONG_NAMES[one["among"]],
            *(str(one[name]) for name in ("accepted_fine", "accepted_worse", "refused_fine", "refused_worse")),
            *(_share(one, name) for name in ("right", "precision", "recall", "refusal_precision", "refusal_recall")),
        ]
        for one in result["verdicts"]
    ]
    return header, rows


def summary_rows(result: Mapping[str, Any]) -> tuple[list[str], Rows]:
    """Return header and rows: the verdicts of every rule on all bundles, without those on some of them."""
    header, rows = verdict_rows({"verdicts": [one for one in result["verdicts"] if one["among"] == "all"]})
    return [header[0], *header[2:]], [[row[0], *row[2:]] for row in rows]


def refusal_rows(result: Mapping[str, Any]) -> tuple[list[str], Rows]:
    """Return header and rows: what each gate refused, how much of it was worse, and how far beyond the limit it was."""
    header = ["gate", "refused", "of them worse", "refused by no other", "of them worse"]
    header += ["beyond its limit, those not worse: median (most)", "those worse"]
    counts = ("refused", "worse", "alone", "alone_worse")
    rows = [
        [one["gate"], *(str(one[name]) for name in counts), *(_beyond(one[name]) for name in ("fine_beyond", "worse_beyond"))]
        for one in result["gates"]
    ]
    return header, rows


def training_rows(result: Mapping[str, Any]) -> tuple[list[str], Rows]:
    """Return header and rows, one a training: how many of it were refused, and the A/B test, lowest to highest seed."""
    header = ["training", "bundles", "refused", "A/B favorites", "A/B retweets", "engagement@10", "gates that refused it"]
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for row in result["rows"]:
        by_name.setdefault(row["variant"], []).append(row)
    rows = []
    for name, found in by_name.items():
        refused_by = sorted({gate for row in found for gate in row["refused_by"]})
        rows.append(
            [
                name,
                str(len(found)),
                str(sum(bool(row["refused_by"]) for row in found)),
                *(_range(found, outcome) for outcome in ("ab_favorite_pct", "ab_retweet_pct", "engagement_at_10_pct")),
                ", ".join(refused_by) or MISSING,
            ]
        )
    return header, rows


def sentence(result: Mapping[str, Any]) -> str:
    """Return which metric tells the sign of the A/B test best, in one sentence, and which of those that gates look at."""
    if result["best"] is None:
        return f"Of {result['bundles']} bundles none is worse, or all are: there is no sign to tell."
    by_name = {one["metric"]: one for one in result["metrics"]}
    best = by_name[result["best"]]
    gated = max((one for one in result["metrics"] if one["gated"]), key=lambda one: one["sign_auc"] or 0.0)
    text = f"The change of {METRIC_NAMES[best['metric']]} tells the sign of the A/B test best: {_told(best)}"
    if gated is not best:
        text += f"; of the metrics that gates look at, {METRIC_NAMES[gated['metric']]}: {_told(gated)}"
    return f"{text}."


def _beyond(found: Sequence[float] | None) -> str:
    return MISSING if found is None else f"{three(found[0])} ({three(found[1])})"


def _told(one: Mapping[str, Any]) -> str:
    correlation = MISSING if one["rank_correlation"] is None else f"{one['rank_correlation']:.2f}"
    return f"AUC {_ranged(one, 'sign_auc')}, rank correlation {correlation}"


def _ranged(one: Mapping[str, Any], name: str) -> str:
    if one[name] is None:
        return MISSING
    low, high = one["ci"][name]
    return f"{three(one[name])} ({three(low)} to {three(high)})"


def _share(one: Mapping[str, Any], name: str) -> str:
    if one[name] is None:
        return MISSING
    low, high = one["ci"][name]
    return f"{percent(one[name])} ({percent(low)} to {percent(high)})"


def _range(rows: Sequence[Mapping[str, Any]], outcome: str) -> str:
    values = [row["outcomes"][outcome][0] for row in rows]
    mean = signed_percent(sum(values) / len(values))
    low, high = signed_percent(min(values)), signed_percent(max(values))
    return mean if low == high else f"{mean} ({low} to {high})"
