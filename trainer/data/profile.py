"""A training window in a few figures, kept in the bundle so that later windows can be held against it. Judges nothing."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from schemas.bundle import Bundle
from schemas.errors import BundleMismatch
from schemas.records.feedback import Example, Label, Provenance
from schemas.registry.place import RegistryPlace
from trainer.ancestry import line_of
from trainer.data.tables import Rows

WINDOW = "window.json"
_SHORTEST_H = 1 / 3_600
# a single clock that is wrong must not stretch the window
_OUTER_PERCENT = 1.0


@dataclass(frozen=True, slots=True)
class WindowProfile:
    """What is normal is what was trained on before.

    Attributes:
        examples: how many.
        per_hour: examples in an hour of event time; 0 for none.
        label_rate: positives among positives and implicit negatives; 0 for none.
        languages: share of the served candidates by language; adds up to 1.
        unresolved: share of examples that could not be joined to what was served: their features are the labeler's own view.
    """

    examples: int
    per_hour: float
    label_rate: float
    languages: Mapping[str, float]
    unresolved: float

    @classmethod
    def of(cls, examples: Sequence[Example]) -> "WindowProfile":
        """Return the figures of a window's examples."""
        times_ms, labels, languages, provenances = _figures(examples)
        return cls.counted(
            times_ms,
            positives=labels[Label.POSITIVE],
            implicit_negatives=labels[Label.IMPLICIT_NEGATIVE],
            languages=languages,
            unresolved=len(examples) - provenances[Provenance.SERVED],
        )

    @classmethod
    def counted(
        cls,
        times_ms: NDArray[np.int64],
        *,
        positives: int,
        implicit_negatives: int,
        languages: Mapping[str, int],
        unresolved: int,
    ) -> "WindowProfile":
        """Return the figures of a window of which somebody has counted the rest.

        Args:
            times_ms: int64 [examples], event times.
            languages: examples by their candidate's language.
        """
        examples = len(times_ms)
        if not examples:
            return cls(0, 0.0, 0.0, {}, 0.0)
        low, high = np.percentile(times_ms, (_OUTER_PERCENT, 100 - _OUTER_PERCENT))
        hours = max((high - low) / 3.6e6, _SHORTEST_H)
        served = positives + implicit_negatives
        return cls(
            examples=examples,
            per_hour=float(examples * (1 - 2 * _OUTER_PERCENT / 100) / hours),
            label_rate=positives / served if served else 0.0,
            languages={name: count / examples for name, count in sorted(languages.items())},
            unresolved=unresolved / examples,
        )

    def to_bytes(self) -> bytes:
        """Return the bundle's file."""
        return json.dumps(asdict(self), sort_keys=True).encode()

    def mix_distance(self, others: Sequence["WindowProfile"]) -> float:
        """Return half the summed differences of language shares, 0 to 1, between this window and the mean of others."""
        names = {name for one in (self, *others) for name in one.languages}
        means = {name: sum(one.languages.get(name, 0.0) for one in others) / len(others) for name in names}
        return sum(abs(self.languages.get(name, 0.0) - means[name]) for name in names) / 2


def _figures(examples: Sequence[Example]) -> tuple[NDArray[np.int64], Counter[str], Counter[str], Counter[str]]:
    """Return event times, and how many examples have each label, language of the candidate, and provenance."""
    if isinstance(examples, Rows):
        columns = examples.columns("event_time_ms", "label", "candidate", "provenance")
        labels, languages, provenances = (columns.words(name) for name in ("label", "candidate.language", "provenance"))
        return columns.counts("event_time_ms"), labels, languages, provenances
    return (
        np.array([one.event_time_ms for one in examples], np.int64),
        Counter(one.label for one in examples),
        Counter(one.candidate.language for one in examples),
        Counter(one.provenance for one in examples),
    )


def profile_of(bundle: Bundle) -> WindowProfile | None:
    """Return the profile of the window a bundle was trained on; None where it carries none."""
    if WINDOW not in bundle.files:
        return None
    try:
        return WindowProfile(**json.loads(bundle.files[WINDOW]))
    except (ValueError, TypeError) as error:
        raise BundleMismatch(f"{WINDOW} of bundle {bundle.id} cannot be read ({error}); use the release that wrote it") from error


def last_profiles(registry: RegistryPlace, surface: str, newest: Bundle | None, *, count: int) -> list[WindowProfile]:
    """Return the profiles of a bundle and of those it was fine-tuned from, newest first, at most `count` of them.

    A forebear that is gone, or can no longer be read, ends the line; raises `BundlesUnavailable` as that does.
    """
    found = (profile_of(bundle) for bundle in line_of(registry, surface, newest))
    return list(islice((profile for profile in found if profile is not None), count))
