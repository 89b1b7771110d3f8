"""What verdicts and metrics told of the A/B test, over candidates of all seeds. Trains none.

A candidate counts as worse where it loses favorites in Table 2's experiment. Favorites are a fixed share of all engagements in
these worlds, so that is their sign too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from statistics import median
from typing import TypedDict, cast

import numpy as np

from lab.observed.columns import Bools, Floats, Ints
from lab.paper.ab_test import CANDIDATES, ABSettings
from lab.paper.gate_study.judged import GATED, METRICS
from lab.paper.gate_study.rules import (
    MOVED,
    MOVED_CHOSEN_ON,
    MOVED_RECALL_FALL,
    RISES,
    gates_of,
    limited_elsewhere,
    rise_elsewhere,
    with_rise,
)
from lab.paper.gate_study.statistics import Statistic, bootstrapped, confusion, rank_correlation, sign_auc
from lab.paper.intervals import Interval
from schemas.errors import InvalidInput
from trainer.gates import GateLimits

OUTCOME = "ab_favorite_pct"
_RULES = ("shipped", "none", "moved", "rise")
# the lowest and the highest that each can be
_WHOLE: Mapping[Statistic, tuple[float, float]] = {rank_correlation: (-1.0, 1.0), sign_auc: (0.0, 1.0)}
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
        rule: "shipped" are the gates with their limits as they are, "none" accepts everything, "moved" those of `rules.MOVED`,
            "rise" the gates with the rise of mismatch that was chosen on the other seeds, see `rules.rise_elsewhere`; a metric's
            name is the single limit on its change that was chosen there.
        limits: what was chosen, by seed; None lets everything through.
        among: "all", "significant" (the A/B's interval leaves out 0), "setting", "damage" or "unseen" (the seeds that nothing was
            chosen on).
        ci: [low, high] by share, 95% over seeds, see `intervals.share_over_groups`.
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
        ci: [low, high] by figure, 95%: bootstrapped over seeds.
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
    """What one gate refused, and how many of those were worse; `alone` is refused by no other.

    Attributes:
        fine_beyond, worse_beyond: how far those not worse, and those worse, are beyond its limit, in its metric's unit: [the
            median, the farthest]; None of no such bundle, and of a gate of the data, whose windows are not kept.
    """

    gate: str
    refused: int
    worse: int
    alone: int
    alone_worse: int
    fine_beyond: list[float] | None
    worse_beyond: list[float] | None


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
    gates = gates_of(row["metrics"], row["changes"], limits)
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


def _seeds(rows: Sequence[Row]) -> Ints:
    return np.array([row["seed"] for row in rows], np.int64)


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
    found = confusion(accepted[some], _effect(rows)[some] < 0, _seeds(rows)[some])
    counts = {one.name: int(getattr(found, one.name).sum()) for one in fields(found)}
    shares = {name: getattr(found, name) for name in ("right", "precision", "recall", "refusal_precision", "refusal_recall")}
    figures = {"rule": rule, "limits": limits, "among": among, **counts, **_values(shares), "ci": _bounds(shares)}
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
    worse, seeds = _effect(rows) < 0, _seeds(rows)
    if rule == "rise":
        by_rise = [np.array([not _refused_again(row, with_rise(rise)) for row in rows], np.bool_) for rise in RISES]
        accepted, rises = rise_elsewhere(by_rise, worse, seeds)
        return accepted, {str(seed): rise for seed, rise in rises.items()}
    accepted, limits = limited_elsewhere(_gains(rule, rows), worse, seeds)
    return accepted, {str(seed): METRICS[rule] * found if np.isfinite(found) else None for seed, found in limits.items()}


def _predictor(name: str, rows: Sequence[Row]) -> Predictor:
    def of(statistic: Statistic, some: Bools, outcome: str = OUTCOME) -> Interval:
        known = some & measured
        return bootstrapped(statistic, gains[known], _effect(rows, outcome)[known], seeds[known], whole=_WHOLE[statistic])

    gains, seeds, every = _gains(name, rows), _seeds(rows), np.ones(len(rows), np.bool_)
    measured = np.isfinite(gains)
    found = {
        "rank_correlation": of(rank_correlation, every),
        "sign_auc": of(sign_auc, every),
        "setting_sign_auc": of(sign_auc, _among(rows, "setting")),
        "engagement_rank_correlation": of(rank_correlation, every, "engagement_at_10_pct"),
    }
    of_seeds = [measured & (seeds == seed) for seed in np.unique(seeds)]
    by_seed = [value for one in of_seeds if np.isfinite(value := rank_correlation(gains[one], _effect(rows)[one]))]
    figures = {
        "metric": name,
        "gated": name in GATED,
        **_values(found),
        "per_seed": [min(by_seed), max(by_seed)] if by_seed else [],
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
        fine, worse = ([row for row in refused if (_effect([row])[0] < 0) == sign] for sign in (False, True))
        counts.append(
            GateCount(
                gate=gate,
                refused=len(refused),
                worse=len(worse),
                alone=len(alone),
                alone_worse=int((_effect(alone) < 0).sum()),
                fine_beyond=_beyond(gate, fine),
                worse_beyond=_beyond(gate, worse),
            )
        )
    return counts


def _beyond(name: str, rows: Sequence[Row]) -> list[float] | None:
    found = [
        abs(gate.value - gate.limit)
        for row in rows
        for gate in gates_of(row["metrics"], row["changes"], GateLimits())
        if gate.name == name
    ]
    return [median(found), max(found)] if found else None


def _values(found: Mapping[str, Interval]) -> dict[str, float | None]:
    return {name: one.value if np.isfinite(one.value) else None for name, one in found.items()}


def _bounds(found: Mapping[str, Interval]) -> dict[str, list[float]]:
    return {name: [one.low, one.high] for name, one in found.items() if np.isfinite(one.value)}
