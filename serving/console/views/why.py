"""Why one candidate is, or is not, in each of the answers that are compared: a node's explanations for people. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from serving.api import Explanation
from serving.api import Why as Reason
from serving.console.views import figures

_LABELS: dict[Reason, tuple[str, str]] = {
    "retrieved": ("retrieved", "good"),
    "ranked_lower": ("others score higher", ""),
    "ann_miss": ("missed by the search", "bad"),
    "filtered": ("filtered by the request", ""),
    "excluded": ("excluded by the request", ""),
    "masked": ("deleted", ""),
    "expired": ("past the recency window", ""),
    "not_held": ("not in the index", "bad"),
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one bundle says. `tone` is "good", "bad" where something is wrong, or ""."""

    bundle: str
    stage: str
    label: str
    tone: str
    sentence: str
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class WhyView:
    """The candidate as the indexes hold it, empty where none does, and the verdict of each bundle asked."""

    candidate_id: str
    text: str
    language: str
    author_id: str
    age: str
    verdicts: tuple[Verdict, ...]


def why(explanations: Sequence[tuple[Explanation, str]]) -> WhyView:
    """Return the view of explanations of one candidate, each with its bundle's stage; at least one."""
    # one of them may hold it where another does not
    shown = next((one for one, _ in explanations if one.text is not None), explanations[0][0])
    created_ms = next((holding.created_ms for holding in shown.holdings if holding.created_ms is not None), None)
    return WhyView(
        candidate_id=shown.candidate_id,
        text=shown.text or "",
        language=shown.language or "",
        author_id=shown.author_id or "",
        age="" if created_ms is None else figures.duration(max(0, shown.node_time_ms - created_ms) / 1000),
        verdicts=tuple(_verdict(explanation, stage) for explanation, stage in explanations),
    )


def _verdict(explanation: Explanation, stage: str) -> Verdict:
    label, tone = _LABELS[explanation.why]
    return Verdict(explanation.bundle, stage, label, tone, explanation.sentence, tuple(_facts(explanation)))


def _facts(found: Explanation) -> list[tuple[str, str]]:
    held = [holding.bundle for holding in found.holdings if holding.version is not None]
    facts = [
        ("rank in the answer", None if found.rank is None else f"{found.rank} of {found.k}"),
        ("rank by an exact scan", None if found.exact_rank is None else f"{found.exact_rank:,}"),
        ("score", None if found.score is None else f"{found.score:.3f}"),
        (f"score of the last of {found.k}", None if found.last_score is None else f"{found.last_score:.3f}"),
        ("hidden by", "; ".join(found.hidden_by) or None),
        ("deleted at", None if found.deleted_at is None else figures.clock(found.deleted_at[0])),
        ("held by", ", ".join(held) or "no bundle on this node"),
    ]
    return [(name, value) for name, value in facts if value is not None]
