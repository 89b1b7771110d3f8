"""Constructing a graph of the settled rows, and anew as rows turn over: when, and the construction under way.

Reads views and publishes nothing. One thread.
"""

import numpy as np

from serving.index.config import CompressedConfig, GraphConfig
from serving.index.keeping.rebuild import Rebuild
from serving.index.tiers.compressed import CompressedTier, extended
from serving.index.tiers.graph import GraphBuild, GraphTier
from serving.index.view import View

OUT_OF_REACH = 2**62


class GraphConstruction(Rebuild[GraphBuild]):
    """At most one graph at a time: begun over settled live rows, filled in chunks, taken with the codes of those it lacks.

    `codes` says what scanning the codes of the same rows costs; None where there are none.
    """

    def __init__(self, settings: GraphConfig, codes: CompressedConfig | None, seed: int) -> None:
        super().__init__()
        self._settings = settings
        self._codes = codes
        self._seed = seed

    @property
    def complete(self) -> bool:
        """Whether the one under way holds all that it was begun with."""
        return self._build is not None and self._build.complete

    def due(self, view: View) -> bool:
        """Whether so many rows settled after the last graph was begun that a new one pays."""
        return self._newcomers(view) >= self.due_at(view)

    def due_at(self, view: View) -> int:
        """How many newcomers make a graph due: out of reach while scanning codes costs less, also before they are learned."""
        settings = self._settings
        if self._codes is not None and not settings.pays(view.live, self._codes):
            return OUT_OF_REACH
        return max(settings.build_from_rows, min(int(settings.rebuild_share * view.live), settings.rebuild_rows_at_most))

    def debt_rows(self, view: View) -> int:
        """Live rows settled after the last graph was begun, or all before the first, beyond those that make the next one due."""
        return max(0, self._newcomers(view) - self.due_at(view))

    def _newcomers(self, view: View) -> int:
        begin = 0 if view.graph is None else self._built_to
        return int(np.count_nonzero(view.arena.died[begin : self._settled_to(view)] > view.sequence))

    def _settled_to(self, view: View) -> int:
        """The end of the rows a graph may take: with a compressed tier the fresh rows stay fresh, without one they settle here."""
        return view.fresh_to if self._codes is None or view.compressed is None else view.fresh_from

    def begin(self, view: View) -> bool:
        """Sort the settled live rows for insertion, without the oldest where codes hold them; returns whether it hurries."""
        settings, end = self._settings, self._settled_to(view)
        slots = view.arena.live_slots(end, view.sequence)
        if view.compressed is not None:
            slots = slots[settings.left_out(len(slots)) :]
        hurried = view.graph is not None and self._newcomers(view) > settings.hurry_share * view.live
        build = GraphBuild(
            view.arena.vectors[slots],
            links=settings.hurried_links if hurried else settings.links,
            construction_breadth=settings.hurried_construction_breadth if hurried else settings.construction_breadth,
            seed=self._seed,
        )
        self._begin(build, slots, end)
        return hurried

    def advance(self) -> None:
        """Insert the next chunk of rows."""
        if self._build is not None:
            self._build.add_chunk(self._settings.chunk_rows)

    def taken(self, view: View) -> tuple[GraphTier, CompressedTier | None]:
        """The finished graph, and of `view`'s codes those of live rows that it lacks. Only when complete."""
        if self._build is None:
            raise RuntimeError("no graph was begun")
        graph = self._build.sealed(self._slots)
        if not isinstance(view.compressed, CompressedTier):
            return graph, None
        covered = np.zeros(view.fresh_to, dtype=np.bool_)
        covered[graph.slots] = True
        gone = covered.take(view.compressed.slots) | ~view.arena.live(view.compressed.slots, view.sequence)
        return graph, extended(view.compressed, view.arena.vectors[:0], graph.slots[:0], drop=gone)
