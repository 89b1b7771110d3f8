"""What verdicts and metrics told of the A/B test, over candidates of all seeds. Trains none.

A candidate counts as worse where it loses favorites in Table 2's experiment. Favorites are a fixed share of all engagements in
these worlds, so that is their sign too.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TypedDict, cast

import numpy as np

from lab.observed.columns import Bools, Floats
from lab.paper.ab_test import CANDIDATES, ABSettings
from lab.paper.gate_study.judged import GATED, METRICS
from lab.paper.gate_study.rules import MOVED, MOVED_CHOSEN_ON, MOVED_RECALL_FALL, limited_elsewhere
from lab.paper.gate_study.statistics import bootstrapped, confusion, rank_correlation, sign_auc
from lab.paper.intervals import Interval
from schemas.errors import InvalidInput
from trainer.gates import GateLimits, drift_gates, quality_gates

OUTCOME = "ab_favorite_pct"
_RULES = ("shipped", "none", "moved")
_AMONG = ("all", "significant", "setting", "damage", "unseen")


class Row(TypedDict):
    """One candidate.

    Attributes:
        group: "setting" or "damage".
        refused_by: names of the gates that said no; none accepted it.
        metrics: what the trainer measured on its window; None where it could not be.
        changes: the same less the live towers'.
        outcomes: [value, low, high] of the change against the live towers, in percent.
    """

    seed: int
    variant: str
    group: str
    refused_by: list[str]
    metrics: dict[str, float | None]
    changes: dict[str, float | None]
    outcomes: dict[str, list[float]]


class Verdicts(TypedDict):
    """A rule's verdicts on some of the candidates; `precision` and `recall` are of acceptance, see `statistics.Confusion`.

    Attributes:
        rule: "shipped" are the gates with their limits as they are, "none" accepts everything, "moved" those of `rules.MOVED`; a
            metric's name is the single limit on its change that was chosen on the other seeds.
        limits: that limit, by seed; None lets everything through.
        among: "all", "significant" (the A/B's interval leaves out 0), "setting", "damage" or "unseen" (the seeds that nothing was
            chosen on).
    """

    rule: str
    limits: dict[str, float | None]
    among: str
    accepted_fine: int
    accepted_worse: int
    refused_fine: int
    refused_worse: int
    right: float | None
    precision: float | None
    recall: float | None
    refusal_precision: float | None
    refusal_recall: float | None
    ci: dict[str, list[float]]


class Predictor(TypedDict):
    """How well one metric's change, turned so that more is better, goes with the outcome.

    Attributes:
        rank_correlation: Spearman's.
        sign_auc: see `statistics.sign_auc`.
        per_seed: lowest and highest rank correlation of a seed.
        setting_sign_auc: among candidates whose data were sound.
    """

    metric: str
    gated: bool
    rank_correlation: float | None
    sign_auc: float | None
    setting_sign_auc: float | None
    engagement_rank_correlation: float | None
    per_seed: list[float]
    ci: dict[str, list[float]]


class GateCount(TypedDict):
    """What one gate refused, and how many of those were worse; `alone` is refused by no other."""

    gate: str
    refused: int
    worse: int
    alone: int
    alone_worse: int


class GateStudy(TypedDict):
    """The study. `best` is the metric whose sign AUC is highest; None where all bundles are worse, or none is."""

    seeds: list[int]
    bundles: int
    users: int
    candidates: int
    slots: int
    outcome: str
    best: str | None
    verdicts: list[Verdicts]
    metrics: list[Predictor]
    gates: list[GateCount]
    rows: list[Row]


def judged_again(kept: Sequence[GateStudy]) -> GateStudy:
    """Return the studies of different seeds as one, with the verdicts that today's limits give on what was measured then.

    What data gates said stays: windows are not kept.

    Raises:
        InvalidInput: a seed is in two of them, or they count different users.
    """
    seeds = [seed for one in kept for seed in one["seeds"]]
    if len(set(seeds)) < len(seeds) or len({one["users"] for one in kept}) > 1:
        raise InvalidInput(
            f"the results are of seeds {seeds} and {[one['users'] for one in kept]} users; give each seed once, run alike"
        )
    rows = [_again(row) for one in kept for row in one["rows"]]
    return summed(rows, seeds, users=kept[0]["users"])


def _again(row: Row) -> Row:
    # what was kept before a metric existed lacks it
    metrics, changes = ({name: figures.get(name) for name in METRICS} for figures in (row["metrics"], row["changes"]))
    return Row(**{**row, "refused_by": _refused_again(row, GateLimits()), "metrics": metrics, "changes": changes})


def _refused_again(row: Row, limits: GateLimits) -> list[str]:
    new = {name: value for name, value in row["metrics"].items() if value is not None}
    live = {name: new[name] - change for name, change in row["changes"].items() if change is not None}
    # the live towers came of their line's first fine-tune: they are the anchor too
    gates = (*quality_gates(new, live, limits), *drift_gates(new, live, limits))
    names = {gate.name for gate in gates}
    return [name for name in row["refused_by"] if name not in names] + [gate.name for gate in gates if not gate.passed]


def summed(rows: Sequence[Row], seeds: Sequence[int], *, users: int) -> GateStudy:
    """Put candidates of all seeds together."""
    metrics = [_predictor(name, rows) for name in METRICS]
    best = max(metrics, key=lambda one: one["sign_auc"] or 0.0)
    return GateStudy(
        seeds=list(seeds),
        bundles=len(rows),
        users=users,
        candidates=CANDIDATES,
        slots=ABSettings().slots,
        outcome=OUTCOME,
        best=None if best["sign_auc"] is None else best["metric"],
        verdicts=[
            *(_verdicts(rule, among, rows) for rule in _RULES for among in _AMONG),
            *(_verdicts(metric, "all", rows) for metric in METRICS),
        ],
        metrics=metrics,
        gates=_counts(rows),
        rows=list(rows),
    )


def _effect(rows: Sequence[Row], outcome: str = OUTCOME) -> Floats:
    return np.array([row["outcomes"][outcome][0] for row in rows], np.float64)


def _among(rows: Sequence[Row], which: str) -> Bools:
    """Tell which rows are of a kind, bool [rows]."""
    if which == "all":
        return np.ones(len(rows), np.bool_)
    if which == "significant":
        bounds = [row["outcomes"][OUTCOME][1:] for row in rows]
        return np.array([low > 0 or high < 0 for low, high in bounds], np.bool_)
    if which == "unseen":
        return np.array([row["seed"] not in MOVED_CHOSEN_ON for row in rows], np.bool_)
    return np.array([row["group"] == which for row in rows], np.bool_)


def _verdicts(rule: str, among: str, rows: Sequence[Row]) -> Verdicts:
    accepted, limits = _accepted(rule, rows)
    some = _among(rows, among)
    found = confusion(accepted[some], _effect(rows)[some] < 0)
    shares = {name: getattr(found, name) for name in ("right", "precision", "recall", "refusal_precision", "refusal_recall")}
    figures = {"rule": rule, "limits": limits, "among": among, **asdict(found), **_values(shares), "ci": _bounds(shares)}
    return cast("Verdicts", figures)


def _accepted(rule: str, rows: Sequence[Row]) -> tuple[Bools, dict[str, float | None]]:
    if rule == "none":
        return np.ones(len(rows), np.bool_), {}
    if rule == "shipped":
        return np.array([not row["refused_by"] for row in rows], np.bool_), {}
    if rule == "moved":
        falls = -_gains("recall_at_200", rows)
        passed = np.array([not _refused_again(row, MOVED) for row in rows], np.bool_)
        return passed & (falls <= MOVED_RECALL_FALL), {}
    seeds = np.array([row["seed"] for row in rows], np.int64)
    accepted, limits = limited_elsewhere(_gains(rule, rows), _effect(rows) < 0, seeds)
    return accepted, {str(seed): METRICS[rule] * found if np.isfinite(found) else None for seed, found in limits.items()}


def _predictor(name: str, rows: Sequence[Row]) -> Predictor:
    def of(statistic: Callable[[Floats, Floats], float], some: Bools, outcome: str = OUTCOME) -> Interval:
        known = some & np.isfinite(gains)
        return bootstrapped(statistic, gains[known], _effect(rows, outcome)[known])

    gains, every = _gains(name, rows), np.ones(len(rows), np.bool_)
    found = {
        "rank_correlation": of(rank_correlation, every),
        "sign_auc": of(sign_auc, every),
        "setting_sign_auc": of(sign_auc, _among(rows, "setting")),
        "engagement_rank_correlation": of(rank_correlation, every, "engagement_at_10_pct"),
    }
    seeds = np.array([row["seed"] for row in rows])
    by_seed = [of(rank_correlation, seeds == seed).value for seed in np.unique(seeds)]
    measured = [value for value in by_seed if np.isfinite(value)]
    figures = {
        "metric": name,
        "gated": name in GATED,
        **_values(found),
        "per_seed": [min(measured), max(measured)] if measured else [],
        "ci": _bounds(found),
    }
    return cast("Predictor", figures)


def _gains(name: str, rows: Sequence[Row]) -> Floats:
    """Return a metric's changes, turned so that more is better; NaN where it was not measured."""
    changes = [row["changes"][name] for row in rows]
    return METRICS[name] * np.array([np.nan if change is None else change for change in changes], np.float64)


def _counts(rows: Sequence[Row]) -> list[GateCount]:
    counts = []
    for gate in sorted({name for row in rows for name in row["refused_by"]}):
        refused = [row for row in rows if gate in row["refused_by"]]
        alone = [row for row in refused if row["refused_by"] == [gate]]
        worse, alone_worse = (int((_effect(one) < 0).sum()) for one in (refused, alone))
        counts.append(GateCount(gate=gate, refused=len(refused), worse=worse, alone=len(alone), alone_worse=alone_worse))
    return counts


def _values(found: Mapping[str, Interval]) -> dict[str, float | None]:
    return {name: one.value if np.isfinite(one.value) else None for name, one in found.items()}


def _bounds(found: Mapping[str, Interval]) -> dict[str, list[float]]:
    return {name: [one.low, one.high] for name, one in found.items() if np.isfinite(one.value)}
