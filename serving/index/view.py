"""One moment of an index, frozen, and the place where the current one is kept. Does no searching and no upkeep."""

import threading
from dataclasses import dataclass

from serving.index.ledger import Ledger
from serving.index.tiers.arena import Arena
from serving.index.tiers.cells import CelledTier
from serving.index.tiers.compressed import CompressedTier
from serving.index.tiers.graph import GraphTier

FIRST_CAPACITY_ROWS = 65_536


@dataclass(frozen=True, slots=True)
class View:
    """One consistent moment of an index.

    Rows from `fresh_from` on are scanned exactly. Those before are the settled ones: the compressed tier holds them all, and the
    graph together with the codes beside it holds them all again, so that a search may take whichever is cheaper for its k. While
    there is no compressed tier, the graph alone holds them.
    """

    sequence: int
    """Rises with every write; a row is live when it died later than this."""
    generation: int
    """Rises when the arena is rewritten and slots change their numbers."""
    arena: Arena
    fresh_from: int
    fresh_to: int
    compressed: CompressedTier | CelledTier | None
    compressed_dead: int
    """How many of the tier's rows were dead when last counted: it is searched that much more widely."""
    graph: GraphTier | None
    graph_dead: int
    beside_graph: CompressedTier | None
    """Codes of the settled rows the graph lacks; None without a graph or a compressed tier."""
    beside_dead: int
    live: int


class State:
    """What the writer and the upkeep share: the current view, the ledger, and the lock under which either is replaced."""

    def __init__(self, dim: int) -> None:
        arena = Arena(dim, FIRST_CAPACITY_ROWS)
        self.view = View(
            sequence=0,
            generation=0,
            arena=arena,
            fresh_from=arena.used,
            fresh_to=arena.used,
            compressed=None,
            compressed_dead=0,
            graph=None,
            graph_dead=0,
            beside_graph=None,
            beside_dead=0,
            live=0,
        )
        self.ledger = Ledger()
        self.write_lock = threading.Lock()
        self.rows_killed = 0
