"""The playground: two answers side by side, and what changed from one to the other. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from schemas.records.control import Stage
from serving.api import Answer, RetrievedCandidate
from serving.console.readings import Moment
from serving.console.views import figures


@dataclass(frozen=True, slots=True)
class Hit:
    """One candidate of an answer. `change` is "new", "up", "down", "same", "gone" or "" where nothing is compared."""

    rank: int
    candidate_id: str
    text: str
    language: str
    author_id: str
    age: str
    score: str
    change: str = ""
    moved: int = 0


@dataclass(frozen=True, slots=True)
class Side:
    """One answer."""

    bundle: str
    stage: str
    hits: tuple[Hit, ...]
    took: str
    cold: bool
    languages: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two answers share, and what differs: candidates in both, on one side only, and those of both by how they moved.

    Attributes:
        sentence: about the whole.
    """

    both: int
    only_left: int
    only_right: int
    same_rank: int
    up: int
    down: int
    sentence: str


@dataclass(frozen=True, slots=True)
class Choice:
    """A bundle that can be asked."""

    bundle: str
    stage: str


def choices(moment: Moment | None, surface: str) -> tuple[Choice, ...]:
    """Return the bundles some node has in full, the live one first."""
    found: dict[str, Choice] = {}
    for node in moment.nodes if moment is not None else ():
        for of_surface in node.health.surfaces if node.health is not None else ():
            for bundle in of_surface.bundles if of_surface.surface == surface else ():
                if bundle.not_ready is None:
                    found[bundle.bundle] = Choice(bundle.bundle, bundle.stage)
    return tuple(sorted(found.values(), key=lambda choice: (choice.stage != Stage.LIVE, choice.stage, choice.bundle)))


def node_to_ask(moment: Moment | None, surface: str) -> str | None:
    """Return the address of a node that serves the surface, a ready one if there is one."""
    serving = [
        (not node.health.ready, node.url)
        for node in (moment.nodes if moment is not None else ())
        if node.health is not None and any(of.surface == surface for of in node.health.surfaces)
    ]
    return min(serving)[1] if serving else None


def side(answer: Answer, stage: str, *, against: Answer | None = None) -> Side:
    """Return an answer for the page, each candidate with how it moved since `against`."""
    before = {} if against is None else {candidate.candidate_id: candidate.rank for candidate in against.candidates}
    hits = tuple(_hit(candidate, before if against is not None else None) for candidate in answer.candidates)
    languages: dict[str, int] = {}
    for candidate in answer.candidates:
        languages[candidate.language] = languages.get(candidate.language, 0) + 1
    ordered = sorted(languages.items(), key=lambda entry: (-entry[1], entry[0]))
    return Side(answer.bundle, stage, hits, figures.milliseconds(answer.took_ms), answer.cold, tuple(ordered[:5]))


def marked_gone(first: Side, second: Answer) -> Side:
    """Return `first` with the candidates that `second` lacks marked as gone."""
    kept = {candidate.candidate_id for candidate in second.candidates}
    hits = tuple(hit if hit.candidate_id in kept else replace(hit, change="gone") for hit in first.hits)
    return replace(first, hits=hits)


def compared(first: Answer, second: Answer) -> Comparison:
    """Return what two answers have in common."""
    before = {candidate.candidate_id: candidate.rank for candidate in first.candidates}
    moved = [before[c.candidate_id] - c.rank for c in second.candidates if c.candidate_id in before]
    asked = max(len(first.candidates), len(second.candidates))
    same = first.bundle == second.bundle
    return Comparison(
        both=len(moved),
        only_left=len(first.candidates) - len(moved),
        only_right=len(second.candidates) - len(moved),
        same_rank=moved.count(0),
        up=sum(by > 0 for by in moved),
        down=sum(by < 0 for by in moved),
        sentence="both sides are the same bundle" if same else f"{len(moved)} of {asked} candidates in common",
    )


def _hit(candidate: RetrievedCandidate, before: dict[str, int] | None) -> Hit:
    change, moved = "", 0
    if before is not None:
        rank = before.get(candidate.candidate_id)
        moved = 0 if rank is None else rank - candidate.rank
        change = "new" if rank is None else "same" if moved == 0 else "up" if moved > 0 else "down"
    return Hit(
        rank=candidate.rank,
        candidate_id=candidate.candidate_id,
        text=candidate.text,
        language=candidate.language,
        author_id=candidate.author_id,
        age=figures.duration(max(0.0, candidate.age_s)),
        score=f"{candidate.score:.3f}",
        change=change,
        moved=abs(moved),
    )


def words(text: str) -> tuple[str, ...]:
    """Return what a person typed as a list: separated by commas or spaces."""
    return tuple(word for word in text.replace(",", " ").split() if word)


def stage_of(bundles: Sequence[Choice], bundle: str) -> str:
    """Return a bundle's stage; empty when no node has it."""
    return next((choice.stage for choice in bundles if choice.bundle == bundle), "")
