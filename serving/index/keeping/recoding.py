"""Learning the codebook anew where it fits the rows no more, and recoding all of them by it: when, and the recoding under way.

Of codes that are scanned whole; those in cells get theirs with each grouping. Reads views and publishes nothing. One thread.
"""

import numpy as np

from serving.index.config import CompressedConfig
from serving.index.keeping.rebuild import ChunkedRebuild
from serving.index.protocol import FloatArray
from serving.index.tiers.arena import SlotArray
from serving.index.tiers.compressed import Codebook, CodesBuild, CompressedTier, extended, train_codebook
from serving.index.view import View

LOOK_ROWS = 2_048
NEWS_SHARE = 1.5
"""Of what a codebook lost when it was learned: rows that no codebook fits well are not coded anew over and over."""


class Recoding(ChunkedRebuild[CodesBuild]):
    """At most one recoding at a time: begun over all settled live rows, filled in chunks, taken with the rows settled meanwhile."""

    def __init__(self, settings: CompressedConfig, seed: int) -> None:
        super().__init__(settings.chunk_rows)
        self._settings = settings
        self._seed = seed
        # by the codebook learned last, of rows of then; of one that came otherwise it is not known
        self._lost = 0.0

    def coded(self, end: int) -> None:
        """Note that all rows settled before `end` were coded without a recoding."""
        self.abandon()
        self._built_to = end
        self._lost = 0.0

    def due(self, view: View, codebook: Codebook) -> bool:
        """Whether codes lose too much of the settled rows; looked at once in so many rows, since it is asked at every step."""
        least = max(1, int(self._settings.look_share * view.live))
        if not isinstance(view.compressed, CompressedTier) or view.fresh_from - self._built_to < least:
            return False
        if int(np.count_nonzero(view.arena.died[self._built_to : view.fresh_from] > view.sequence)) < least:
            return False
        if codebook.lost(self._sample(view, _settled(view), LOOK_ROWS)) > max(self._settings.most_lost, NEWS_SHARE * self._lost):
            return True
        self._built_to = view.fresh_from
        return False

    def begin(self, view: View) -> None:
        """Learn a codebook from a sample of the settled live rows."""
        slots = _settled(view)
        sample = self._sample(view, slots, self._settings.train_sample_rows)
        codebook = train_codebook(sample)
        self._lost = codebook.lost(sample[:LOOK_ROWS])
        self._begin(CodesBuild(codebook), slots, view.fresh_from)

    def _sample(self, view: View, slots: SlotArray, rows: int) -> FloatArray:
        chosen = np.random.default_rng(self._seed).choice(slots, min(rows, len(slots)), replace=False, shuffle=False)
        return view.arena.vectors.take(chosen, axis=0)

    def taken(self, view: View) -> CompressedTier:
        """The finished tier with the rows that `view` has settled since it was begun. Only when complete."""
        late = self._late(view)
        return extended(self._whole().sealed(self._slots), view.arena.vectors.take(late, axis=0), late, drop=None)


def _settled(view: View) -> SlotArray:
    return view.arena.live_slots(view.fresh_from, view.sequence)
