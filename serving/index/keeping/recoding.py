"""Learning the codebook anew from the rows of today, and recoding all of them by it: when, and the recoding under way.

Of codes that are scanned whole; those in cells get theirs with each grouping. Reads views and publishes nothing. One thread.
"""

import numpy as np

from serving.index.config import CompressedConfig
from serving.index.keeping.rebuild import Rebuild
from serving.index.tiers.compressed import CodesBuild, CompressedTier, extended, train_codebook
from serving.index.view import View


class Recoding(Rebuild[CodesBuild]):
    """At most one recoding at a time: begun over all settled live rows, filled in chunks, taken with the rows settled meanwhile."""

    def __init__(self, settings: CompressedConfig, seed: int) -> None:
        super().__init__()
        self._settings = settings
        self._seed = seed

    @property
    def complete(self) -> bool:
        """Whether the one under way holds all that it was begun with."""
        return self._build is not None and len(self._build) == len(self._slots)

    def coded(self, end: int) -> None:
        """Note that the rows settled before `end` were coded by a codebook of them, without a recoding."""
        self.abandon()
        self._built_to = end

    def due(self, view: View) -> bool:
        """Whether most live rows settled after the codebook was learned."""
        if not isinstance(view.compressed, CompressedTier):
            return False
        least = max(self._settings.train_from_rows, int(self._settings.relearn_share * view.live))
        # counted only where it can be so: this is asked at every step
        if view.fresh_from - self._built_to < least:
            return False
        return int(np.count_nonzero(view.arena.died[self._built_to : view.fresh_from] > view.sequence)) >= least

    def begin(self, view: View) -> None:
        """Learn a codebook from a sample of the settled live rows."""
        slots = view.arena.live_slots(view.fresh_from, view.sequence)
        chosen = np.random.default_rng(self._seed).permutation(slots)[: self._settings.train_sample_rows]
        self._begin(CodesBuild(train_codebook(view.arena.vectors.take(chosen, axis=0))), slots, view.fresh_from)

    def advance(self, view: View) -> None:
        """Recode the next chunk of rows."""
        if self._build is not None:
            done = len(self._build)
            chunk = self._slots[done : done + self._settings.chunk_rows]
            # a row that died meanwhile and was compacted away is the grave's: it takes its place and is never returned
            self._build.add(view.arena.vectors.take(chunk, axis=0))

    def taken(self, view: View) -> CompressedTier:
        """The finished tier with the rows that `view` has settled since it was begun. Only when complete."""
        if self._build is None or not self.complete:
            raise RuntimeError("codes are published whole; take every chunk first")
        late = view.arena.live_slots(view.fresh_from, view.sequence)
        late = late[late >= self._begun_to]
        return extended(self._build.sealed(self._slots), view.arena.vectors.take(late, axis=0), late, drop=None)
