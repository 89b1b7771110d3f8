"""What two weeks of lines come to: a row for each line and day, a few figures for each line, means over seeds. Trains nothing."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NotRequired, TypedDict

import numpy as np

from lab.paper.intervals import seeds_range
from schemas.errors import InvalidInput


class Row(TypedDict):
    """One day of one line, by the towers that were live on it, and what the gates said of those trained in its evening.

    Attributes:
        effective_share: the thermometer, see `thermometer.effective_share`.
        candidate_auc, live_auc: served AUC of the new and of the live towers on the held-out newest share; None of the frozen line.
        again: 1 where they came of a second attempt, since a first was refused for drift; over seeds their mean.
        tuned_share: they are so much of the way from the anchor to what the last attempt came to, since all of it was refused.
        accepted: 1 where every gate passed, 0 where one did not; over seeds their mean; None of the frozen line.
        refused_by: names of those that did not.
        ci: over seeds, the lowest and the highest by figure; None of one seed.
    """

    arm: str
    day: int
    auc: float | None
    language_mismatch: float | None
    engagement_at_10: float | None
    engagement_at_200: float | None
    effective_share: float | None
    candidate_auc: float | None
    live_auc: float | None
    again: float | None
    tuned_share: float | None
    accepted: float | None
    refused_by: list[str]
    ci: dict[str, list[float] | None]


_FIGURES = (
    "auc",
    "language_mismatch",
    "engagement_at_10",
    "engagement_at_200",
    "effective_share",
    "candidate_auc",
    "live_auc",
    "again",
    "tuned_share",
    "accepted",
)


class Summary(TypedDict):
    """A study in a few figures.

    Attributes:
        mismatch_rise: of Roost's line, its worst day less its first.
        naive_mismatch_rise, frozen_mismatch_rise: likewise.
        vs_frozen, vs_naive: Roost's mean true engagement of the top 10 over days 2 to the last, divided by the other line's.
        naive_refusals, roost_refusals: evenings on which a gate refused the new towers, of `days`.
        roost_again: evenings on which Roost's first attempt was refused for drift, and a second was made.
        roost_drawn_back: evenings on which both were, and what was accepted lies between the anchor and the second.
        naive_auc_rises: of the naive refusals, those in which served AUC rose all the same.
    """

    mismatch_rise: float
    naive_mismatch_rise: float
    frozen_mismatch_rise: float
    vs_frozen: float
    vs_naive: float
    naive_refusals: float
    naive_auc_rises: float
    roost_refusals: float
    roost_again: float
    roost_drawn_back: float


class EnsembleSummary(TypedDict):
    """An ensemble's line in a few figures, each as `Summary` has it of Roost's.

    Attributes:
        frozen_mismatch_rise: of the ensemble that stays as it is.
        vs_frozen, vs_naive, vs_roost: against the towers' lines.
        vs_frozen_ensemble: against the ensemble that stays as it is.
    """

    mismatch_rise: float
    frozen_mismatch_rise: float
    vs_frozen: float
    vs_naive: float
    vs_roost: float
    vs_frozen_ensemble: float
    refusals: float
    again: float
    drawn_back: float


class Study(Summary):
    """`rows` and the summary are means over the seeds; `per_seed` has the rows of each, `summaries` the summary.

    `replay` is the weight of replayed random negatives in the recipe under study, `anchor_rise` how far its mismatch may lie above
    the anchor's; what was kept before that could be moved lacks it. `ensemble` and `ensembles` are there where an
    ensemble went on beside the towers: the means over the seeds, and each seed's.
    """

    days: int
    replay: float
    anchor_rise: NotRequired[float]
    seeds: list[int]
    rows: list[Row]
    per_seed: list[list[Row]]
    summaries: list[Summary]
    ensemble: NotRequired[EnsembleSummary]
    ensembles: NotRequired[list[EnsembleSummary]]


def as_one(kept: Sequence[Study]) -> Study:
    """Return studies of different seeds as one.

    Raises:
        InvalidInput: a seed is in two of them, or they were run otherwise.
    """
    seeds = [seed for one in kept for seed in one["seeds"]]
    ways = {(one["days"], one["replay"], one.get("anchor_rise"), "ensemble" in one) for one in kept}
    if len(set(seeds)) < len(seeds) or len(ways) > 1:
        raise InvalidInput(
            f"the results are of seeds {seeds}, and of days, weight of replay, rise above the anchor, and an ensemble or none "
            f"{ways}; give each seed once, run alike"
        )
    ((days, replay, rise, _),) = ways
    return summed([rows for one in kept for rows in one["per_seed"]], seeds, days=days, replay=replay, anchor_rise=rise)


def summed(
    per_seed: Sequence[list[Row]], seeds: Sequence[int], *, days: int, replay: float, anchor_rise: float | None = None
) -> Study:
    """Return the study that the rows of each seed make."""
    summaries = [summary(rows) for rows in per_seed]
    study: Study = {
        "days": days,
        "replay": replay,
        "seeds": list(seeds),
        **_means(summaries, Summary.__annotations__),  # type: ignore[typeddict-item]
        "summaries": summaries,
        "rows": [_mean(of_day) for of_day in zip(*per_seed, strict=True)],
        "per_seed": list(per_seed),
    }
    if anchor_rise is not None:
        study["anchor_rise"] = anchor_rise
    if any(row["arm"] == "ensemble" for row in per_seed[0]):
        study["ensembles"] = [ensemble_summary(rows) for rows in per_seed]
        study["ensemble"] = _means(study["ensembles"], EnsembleSummary.__annotations__)  # type: ignore[typeddict-item]
    return study


def _means(of: Sequence[Mapping[str, Any]], names: Iterable[str]) -> dict[str, float]:
    return {name: float(np.mean([one[name] for one in of])) for name in names}


def summary(rows: Sequence[Row]) -> Summary:
    """Return the summary of one seed's rows."""
    frozen, naive, roost = (_of_arm(rows, name) for name in ("frozen", "naive", "roost"))
    refused = [row for row in naive if row["refused_by"]]
    return Summary(
        mismatch_rise=_rise(roost),
        naive_mismatch_rise=_rise(naive),
        frozen_mismatch_rise=_rise(frozen),
        vs_frozen=_engagement(roost) / _engagement(frozen),
        vs_naive=_engagement(roost) / _engagement(naive),
        naive_refusals=len(refused),
        naive_auc_rises=sum((row["candidate_auc"] or 0.0) > (row["live_auc"] or 0.0) for row in refused),
        roost_refusals=_refusals(roost),
        roost_again=_again(roost),
        roost_drawn_back=_drawn_back(roost),
    )


def ensemble_summary(rows: Sequence[Row]) -> EnsembleSummary:
    """Return the summary of an ensemble's line, of one seed's rows."""
    line, still = _of_arm(rows, "ensemble"), _of_arm(rows, "frozen ensemble")
    engagement = _engagement(line)
    return EnsembleSummary(
        mismatch_rise=_rise(line),
        frozen_mismatch_rise=_rise(still),
        vs_frozen=engagement / _engagement(_of_arm(rows, "frozen")),
        vs_naive=engagement / _engagement(_of_arm(rows, "naive")),
        vs_roost=engagement / _engagement(_of_arm(rows, "roost")),
        vs_frozen_ensemble=engagement / _engagement(still),
        refusals=_refusals(line),
        again=_again(line),
        drawn_back=_drawn_back(line),
    )


def _of_arm(rows: Sequence[Row], name: str) -> list[Row]:
    return [row for row in rows if row["arm"] == name]


def _engagement(line: Sequence[Row]) -> float:
    return float(np.mean([row["engagement_at_10"] for row in line if row["day"] > 1]))


def _rise(line: Sequence[Row]) -> float:
    mismatches = [row["language_mismatch"] or 0.0 for row in line]
    return max(mismatches) - mismatches[0]


def _refusals(line: Sequence[Row]) -> int:
    return sum(bool(row["refused_by"]) for row in line)


def _again(line: Sequence[Row]) -> float:
    return sum(row["again"] or 0.0 for row in line)


def _drawn_back(line: Sequence[Row]) -> int:
    return sum((row["tuned_share"] or 1.0) < 1.0 for row in line)


def _mean(of_day: Sequence[Row]) -> Row:
    figures: dict[str, float | None] = {}
    spread: dict[str, list[float] | None] = {}
    for name in _FIGURES:
        values = [row[name] for row in of_day if row[name] is not None]  # type: ignore[literal-required]
        if values:
            figures[name], spread[name] = float(np.mean(values)), seeds_range(values)
    refused_by = sorted({name for row in of_day for name in row["refused_by"]})
    return typed_row(of_day[0]["arm"], of_day[0]["day"], figures, refused_by, spread)


def typed_row(
    arm: str, day: int, figures: dict[str, float | None], refused_by: list[str], ci: dict[str, list[float] | None]
) -> Row:
    """Return the row of a day: figures that are not told, or no numbers, are None."""
    known = {
        name: value if value is not None and np.isfinite(value) else None for name in _FIGURES for value in [figures.get(name)]
    }
    row: Row = {"arm": arm, "day": day, **known, "refused_by": refused_by, "ci": ci}  # type: ignore[typeddict-item]
    return row
