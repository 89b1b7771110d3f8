"""Grouping the codes into cells, and anew as the data drift away from centroids and codebook: when, and the grouping under way.

Reads views and publishes nothing. One thread.
"""

import numpy as np

from serving.index.config import CellsConfig, CompressedConfig
from serving.index.keeping.rebuild import ChunkedRebuild
from serving.index.tiers.cells import SAMPLE_ROWS_PER_CELL, CelledTier, CellsBuild, extended_cells
from serving.index.tiers.compressed import train_codebook
from serving.index.view import View


class Grouping(ChunkedRebuild[CellsBuild]):
    """At most one grouping at a time: begun over all settled live rows, filled in chunks, taken with the rows settled meanwhile."""

    def __init__(self, codes: CompressedConfig, settings: CellsConfig, seed: int) -> None:
        super().__init__(settings.chunk_rows)
        self._codes = codes
        self._settings = settings
        self._seed = seed

    def due(self, view: View) -> bool:
        """Whether the settled codes should be in cells and are not, or are in cells of long ago."""
        if view.compressed is None or view.live < self._settings.group_from_rows:
            return False
        if not isinstance(view.compressed, CelledTier):
            return True
        return self.debt_rows(view) > 0 or view.compressed_dead > self._settings.regroup_share * len(view.compressed)

    def outgrown(self, view: View) -> bool:
        """Whether so few rows are left that scanning all of their codes costs less."""
        return isinstance(view.compressed, CelledTier) and view.live < self._settings.group_from_rows // 2

    def debt_rows(self, view: View) -> int:
        """Live rows settled after the last grouping was begun, or all before the first, beyond those that make the next one due."""
        grouped = isinstance(view.compressed, CelledTier)
        begin, due_at = (
            (self._built_to, int(self._settings.regroup_share * view.live)) if grouped else (0, self._settings.group_from_rows)
        )
        return max(0, int(np.count_nonzero(view.arena.died[begin : view.fresh_from] > view.sequence)) - due_at)

    def covers(self, view: View) -> bool:
        """Whether the codes are in cells, or will be: then a graph of them would never be walked."""
        return isinstance(view.compressed, CelledTier) or view.live >= self._settings.group_from_rows

    def begin(self, view: View) -> None:
        """Learn centroids and a codebook from a sample of the settled live rows; a second or so of processor time at 300,000."""
        slots = view.arena.live_slots(view.fresh_from, view.sequence)
        cells = max(1, len(slots) // self._settings.rows_per_cell)
        chosen = np.random.default_rng(self._seed).permutation(slots)[: SAMPLE_ROWS_PER_CELL * cells]
        sample = view.arena.vectors.take(chosen, axis=0)
        codebook = train_codebook(sample[: self._codes.train_sample_rows])
        build = CellsBuild(sample, codebook, cells=cells, seed=self._seed)
        self._begin(build, slots, view.fresh_from)

    def taken(self, view: View) -> CelledTier:
        """The finished tier with the rows that `view` has settled since it was begun. Only when complete."""
        late = self._late(view)
        return extended_cells(self._whole().sealed(self._slots), view.arena.vectors.take(late, axis=0), late)
