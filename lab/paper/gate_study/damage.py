"""What can be wrong with the data of a training, as functions of a seed's scene. Train nothing.

What breaks upstream of the trainer damages all of a window; what breaks in the training alone leaves the held-out share sound.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lab.observed.columns import Bools
from lab.paper.continual.gated import Window
from lab.paper.gate_study.scene import Scene
from schemas.features.spec import Side
from trainer.data.columns import EXPLICIT_NEGATIVE, IMPLICIT_NEGATIVE, POSITIVE, Corpus, Examples


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """What one training gets.

    Attributes:
        window: its examples, and what it is judged on.
        corpus: what random negatives are drawn from; by default what it is judged on.
    """

    window: Window
    corpus: Corpus | None = None

    @property
    def training(self) -> Window:
        """The window as the fit sees it."""
        return self.window if self.corpus is None else replace(self.window, corpus=self.corpus)


Damage = Callable[[Scene, np.random.Generator], Data]
_Change = Callable[[Examples, Scene, np.random.Generator], Examples]


def sound(scene: Scene, _rng: np.random.Generator) -> Data:
    """Return the window as it is."""
    return Data(scene.window)


def stale(scene: Scene, _rng: np.random.Generator) -> Data:
    """Train once more on what the live towers were tuned on, judged on today."""
    old = scene.yesterday
    return Data(replace(scene.window, train=old.train, profile=old.profile), old.corpus)


def part(share: float) -> Damage:
    """Train on so large a share of the window, drawn at random."""

    def change(examples: Examples, _scene: Scene, rng: np.random.Generator) -> Examples:
        return examples.take(_some(len(examples), share, rng))

    return _changed(change, all_of_it=False)


def one_language(rank: int, *, all_of_it: bool) -> Damage:
    """Keep what is in the language of a rank by size, 0 the largest."""

    def change(examples: Examples, scene: Scene, _rng: np.random.Generator) -> Examples:
        # a visit of which nothing is left is in no window
        return examples.take(_of_language(examples, scene, rank)).without_idle_queries()

    return _changed(change, all_of_it=all_of_it)


def flipped(rank: int, *, all_of_it: bool) -> Damage:
    """Turn labels round for candidates in the language of a rank."""

    def change(examples: Examples, scene: Scene, _rng: np.random.Generator) -> Examples:
        return _turned(examples, _of_language(examples, scene, rank))

    return _changed(change, all_of_it=all_of_it)


def mislabelled(share: float, *, all_of_it: bool) -> Damage:
    """Turn so many labels round, at random."""

    def change(examples: Examples, _scene: Scene, rng: np.random.Generator) -> Examples:
        return _turned(examples, _some(len(examples), share, rng))

    return _changed(change, all_of_it=all_of_it)


def unjoined(share: float) -> Damage:
    """Lose so many of the engagements: their impressions look like implicit negatives."""

    def change(examples: Examples, _scene: Scene, rng: np.random.Generator) -> Examples:
        lost = (examples.labels == POSITIVE) & _some(len(examples), share, rng)
        return replace(examples, labels=np.where(lost, np.int8(IMPLICIT_NEGATIVE), examples.labels))

    return _changed(change, all_of_it=True)


def wrong_candidate(share: float) -> Damage:
    """Join so many of the impressions to another candidate's features."""

    def change(examples: Examples, _scene: Scene, rng: np.random.Generator) -> Examples:
        rows = np.flatnonzero(_some(len(examples), share, rng))
        ids = examples.candidate_ids.copy()
        ids[rows] = ids[rng.permutation(rows)]
        return replace(examples, candidate_ids=ids)

    return _changed(change, all_of_it=True)


def late_counters(scene: Scene, _rng: np.random.Generator) -> Data:
    """Take counters as of the evening instead of as they were served: they hold the engagements that are to be predicted."""
    window = scene.window
    train, evaluation = (
        replace(examples, candidate_ids=ids)
        for examples, ids in zip((window.train, window.evaluation), scene.late_ids, strict=True)
    )
    return Data(replace(window, train=train, evaluation=evaluation))


def zeroed(side: Side, field: str, *, all_of_it: bool) -> Damage:
    """Leave one feature out: padding stands where it was."""

    def damaged(scene: Scene, _rng: np.random.Generator) -> Data:
        columns, window = scene.live.spec.columns(side, field), scene.window
        corpus = window.corpus
        if side == "candidate":
            corpus = replace(corpus, candidate_ids=_blank(corpus.candidate_ids, columns))
        train = _without(window.train, side, columns)
        if not all_of_it:
            return Data(replace(window, train=train), corpus)
        return Data(replace(window, train=train, evaluation=_without(window.evaluation, side, columns), corpus=corpus))

    return damaged


def _changed(change: _Change, *, all_of_it: bool) -> Damage:
    def damaged(scene: Scene, rng: np.random.Generator) -> Data:
        window = scene.window
        train = change(window.train, scene, rng)
        return Data(scene.with_examples(train, change(window.evaluation, scene, rng) if all_of_it else window.evaluation))

    return damaged


def _turned(examples: Examples, rows: Bools) -> Examples:
    labels = examples.labels
    turned = np.where(labels == POSITIVE, IMPLICIT_NEGATIVE, POSITIVE).astype(np.int8)
    return replace(examples, labels=np.where(rows & (labels != EXPLICIT_NEGATIVE), turned, labels))


def _some(count: int, share: float, rng: np.random.Generator) -> Bools:
    chosen: Bools = rng.random(count) < share
    return chosen


def _of_language(examples: Examples, scene: Scene, rank: int) -> Bools:
    # languages of a world are in order of size
    chosen: Bools = scene.item_languages[examples.items] == rank
    return chosen


def _without(examples: Examples, side: Side, columns: slice) -> Examples:
    if side == "candidate":
        return replace(examples, candidate_ids=_blank(examples.candidate_ids, columns))
    return replace(examples, queries=replace(examples.queries, ids=_blank(examples.queries.ids, columns)))


def _blank(ids: NDArray[np.int32], columns: slice) -> NDArray[np.int32]:
    blanked = ids.copy()
    blanked[:, columns] = 0
    return blanked
