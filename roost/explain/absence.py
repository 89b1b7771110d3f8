"""Why an index did not hold a candidate, from its steps: the first one on the way that is missing. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from roost.explain.timeline import Step, Timeline
from schemas.surfaces import Surface
from schemas.topics import CANDIDATES

Cause = Literal[
    "never_published",
    "not_folded",
    "only_engagements",
    "deleted",
    "expired",
    "not_embedded",
    "no_longer_known",
    "not_applied",
    "not_in_force",
    "in_index",
]
"""In the order of the way. no_longer_known: the bundle's topic is gone, and what was in it. not_in_force: embedded and applied, and
yet not in the index. in_index: nothing is missing.
"""


@dataclass(frozen=True, slots=True)
class Absence:
    """The first missing step, and a sentence for people."""

    cause: Cause
    sentence: str


def absence(
    timeline: Timeline,
    candidate_id: str,
    surface: Surface,
    bundle: str,
    *,
    now_ms: int,
    applied: Mapping[str, int] | None = None,
    held: bool = True,
) -> Absence:
    """Return why the index of `bundle` lacks a candidate.

    Args:
        timeline: of the candidate, up to `now_ms`.
        applied: next offset by partition that a node has applied; None where it is not known (in the past), then what is embedded
            counts as in the index.
        held: what the node says, once everything else is in place.
    """
    steps = timeline.steps
    source = [step for step in steps if step.topic == surface.candidate_topic and step.what != "unreadable"]
    folded = [step for step in steps if step.topic == CANDIDATES and step.what != "unreadable"]
    embedded = [step for step in steps if step.bundle == bundle]
    newest = folded[-1] if folded else None
    if newest is None and not source and not embedded:
        return Absence("never_published", f"{candidate_id} is in no record of {surface.candidate_topic} that is still kept")
    if newest is None and not embedded and bundle not in timeline.gone:
        where = f"{source[-1].topic}/{source[-1].partition}/{source[-1].offset}"
        return Absence("not_folded", f"{candidate_id} was published at {where}; the embedder has not written it to candidates yet")
    if newest is not None and newest.what == "stub":
        return Absence(
            "only_engagements", f"only engagements with {candidate_id} have come, not its {surface.candidate_topic} record"
        )
    if newest is not None and newest.what in ("deleted", "forgotten"):
        return Absence(
            "deleted", f"{candidate_id} was deleted, or its time was over: candidates/{newest.partition}/{newest.offset}"
        )
    created_ms = next((step.created_ms for step in reversed(steps) if step.created_ms is not None), None)
    if created_ms is not None and not surface.holds(created_ms, now_ms):
        over_s = (now_ms - created_ms) / 1000 - surface.recency_window_s
        return Absence("expired", f"{candidate_id} left the recency window of {surface.recency_window_s:g} s {over_s:.0f} s ago")
    if bundle in timeline.gone:
        return Absence(
            "no_longer_known",
            f"bundle {bundle} was retired since, and its topic with it: nothing tells whether it held {candidate_id}",
        )
    return _of_epoch(embedded, candidate_id, bundle, applied, held=held)


def _of_epoch(
    embedded: Sequence[Step], candidate_id: str, bundle: str, applied: Mapping[str, int] | None, *, held: bool
) -> Absence:
    if not embedded:
        return Absence("not_embedded", f"bundle {bundle} has not embedded {candidate_id} yet")
    last = embedded[-1]
    where = f"{last.topic}/{last.partition}/{last.offset}"
    if last.what != "embedded":
        return Absence("deleted", f"the newest record of {candidate_id} for bundle {bundle} takes it out: {where}")
    if applied is not None and applied.get(str(last.partition), 0) <= last.offset:
        behind = applied.get(str(last.partition), 0)
        return Absence("not_applied", f"bundle {bundle} embedded {candidate_id} at {where}; the node has applied up to {behind}")
    if not held:
        return Absence("not_in_force", f"{candidate_id} was applied from {where} and is not held: see the node's alarms")
    return Absence("in_index", f"{candidate_id} was in the index of bundle {bundle}, embedded at {where}")
