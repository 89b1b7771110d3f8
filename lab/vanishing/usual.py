"""The usual way: one index, a writer that embeds its rows again in place, and an alias that says which query tower asks.

A swap is what it is with any vector database: the writer gets the new tower and walks through the rows, and when it is done the
alias moves. The index is Roost's own and outlives its writer, but scans exactly: codes learned from one tower's rows fit another's
badly, and that would be the index's fault, not the swap's.
"""

import multiprocessing
import threading
from dataclasses import dataclass, replace

from lab.vanishing.writer import Order, Written, write
from schemas.bundle import read_bundle
from schemas.records.users import QueryFeatures
from schemas.towers import Towers
from serving.index import EVERYTHING, EXACT_ONLY, Filter, Hits, LiveIndex

_SPAWN = multiprocessing.get_context("spawn")
_RESTART_S = 0.5


@dataclass(frozen=True, slots=True)
class UsualAnswer:
    """An answer; `mixed` when a row in it was embedded by another tower than the query."""

    hits: Hits
    mixed: bool


class UsualWay:
    """An index, its writer's process, and the alias. Queries come from any thread."""

    def __init__(self, order: Order, *, dim: int) -> None:
        """Start the writer on an empty index."""
        self._order = order
        self._index = LiveIndex(dim, EXACT_ONLY)
        self._towers = {order.bundle: self._load(order.bundle)}
        self._alias = order.bundle
        # of the order: whoever swaps and whoever applies what came must not undo each other's change
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self.walked_share = 0.0
        self.restarts = 0
        self._begin()
        self._thread = threading.Thread(target=self._run, name="usual-way", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        return len(self._index)

    @property
    def alias(self) -> str:
        """The bundle whose query tower asks."""
        return self._alias

    def ask(self, features: QueryFeatures, k: int, where: Filter = EVERYTHING) -> UsualAnswer:
        """Return the best k by the tower that the alias names."""
        asked_by = self._alias
        hits = self._index.search(self._towers[asked_by].embed_queries([features])[0], k, where)
        return UsualAnswer(hits, any(payload != asked_by.encode() for payload in hits.payloads))

    def swap_to(self, bundle: str) -> None:
        """Give the writer another tower; the alias moves once every row is embedded again."""
        self._towers[bundle] = self._load(bundle)
        with self._lock:
            self._order = replace(self._order, bundle=bundle, walk=True)
            self.walked_share = 0.0
        self._connection.send(bundle)

    def kill_writer(self) -> None:
        """SIGKILL; it is started again, as a supervisor would."""
        self._process.kill()

    def close(self) -> None:
        """Stop."""
        self._stopping.set()
        self._process.kill()
        self._thread.join()
        # the thread may just have started another one
        self._process.kill()
        self._process.join()
        self._connection.close()
        self._index.close()

    def _begin(self) -> None:
        self._connection, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=write, args=(theirs, self._order), daemon=True)
        self._process.start()
        theirs.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._apply(self._connection.recv())
            except (EOFError, OSError):
                self._process.join()
                if self._stopping.wait(_RESTART_S):
                    return
                self.restarts += 1
                self._begin()

    def _apply(self, written: Written) -> None:
        self._index.upsert(written.rows)
        with self._lock:
            self._order = replace(self._order, offsets=written.offsets)
            if written.walked:
                self.walked_share = written.walked / written.to_walk
                if written.walked == written.to_walk:
                    self._order = replace(self._order, walk=False)
                    self._alias = self._order.bundle

    def _load(self, bundle: str) -> Towers:
        return Towers(read_bundle(self._order.registry, self._order.surface, bundle))
