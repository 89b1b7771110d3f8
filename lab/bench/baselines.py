"""What one could pick instead of the live index: hnswlib in place or with replacement, a rebuilt graph, faiss indexes.

`lab.bench.query` asks what their answers cost (`rebuilt_graph`, `faiss_alternatives`), `lab.bench.ingest` what writes do.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import faiss
import numpy as np
from numpy.typing import NDArray

from lab.bench.stream import FloatArray
from serving.index.tiers.graph import GraphBuild, plain_graph

Labels = NDArray[np.int64]

LINKS = 16
CONSTRUCTION_BREADTH = 100
BREADTHS = (200, 256, 320, 400, 500, 640, 800, 1_000, 1_300)
"""Search breadths tried until a graph reaches the recall asked for."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """A searchable alternative: `nearest(query, k)` gives row numbers, best first."""

    name: str
    nearest: Callable[[FloatArray, int], Labels]


def unit(vectors: FloatArray) -> FloatArray:
    """Rows scaled to length 1."""
    scaled: FloatArray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return scaled


def rebuilt_graph(vectors: FloatArray, seed: int) -> Callable[[int], Alternative]:
    """A full HNSW rebuild over `vectors`, cluster-sorted as ours are; give it a search breadth."""
    build = GraphBuild(vectors, links=LINKS, construction_breadth=CONSTRUCTION_BREADTH, seed=seed)
    while not build.complete:
        build.add_chunk(4_096)
    graph = build.sealed(np.arange(len(vectors)))

    def at_breadth(breadth: int) -> Alternative:
        def nearest(query: FloatArray, k: int) -> Labels:
            found = graph.nearest(query, max(k, breadth))
            return np.arange(0) if found is None else found[:k]

        return Alternative(f"rebuilt hnswlib, breadth {breadth}", nearest)

    return at_breadth


def faiss_alternatives(vectors: FloatArray, seed: int) -> list[Alternative]:
    """The HNSW of faiss, int8 flat and IVF, filled with `vectors` [n, dim]."""
    return [_faiss(name, index, vectors) for name, index in _faiss_indexes(vectors, seed).items()]


def _faiss_indexes(vectors: FloatArray, seed: int) -> dict[str, faiss.Index]:
    """Empty ones at settings that reach about .99 recall@200 at 50,000 rows, trained on `vectors`."""
    faiss.omp_set_num_threads(1)
    count, dim = vectors.shape
    hnsw = faiss.IndexHNSWFlat(dim, LINKS, faiss.METRIC_INNER_PRODUCT)
    hnsw.hnsw.efConstruction = CONSTRUCTION_BREADTH
    hnsw.hnsw.efSearch = 640
    int8 = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
    cells = int(np.sqrt(count))
    ivf = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, cells, faiss.METRIC_INNER_PRODUCT)
    ivf.cp.seed, ivf.cp.niter = seed, 8
    ivf.nprobe = max(1, cells // 5)
    indexes = {"faiss HNSW": hnsw, "int8 flat": int8, "IVF flat": ivf}
    for index in indexes.values():
        index.train(vectors)
    return indexes


def _faiss(name: str, index: faiss.Index, vectors: FloatArray) -> Alternative:
    index.add(vectors)

    def nearest(query: FloatArray, k: int) -> Labels:
        found: Labels = index.search(query[None, :], k)[1][0]
        return found

    return Alternative(name, nearest)


class Window(Protocol):
    """A full index of a fixed number of rows, the oldest of which leave as new ones come."""

    @property
    def name(self) -> str:
        """What it is, in a report's words."""
        ...

    def write(self, vectors: FloatArray) -> None:
        """Take so many new rows [n, dim] for the oldest."""
        ...


def windows(vectors: FloatArray, seed: int) -> list[Window]:
    """Every alternative that takes rows one batch at a time, full of `vectors` [n, dim], the oldest first."""
    return [
        InPlaceGraph(vectors, seed),
        ReplacingGraph(vectors, seed),
        *(FaissWindow(name, index, vectors) for name, index in _faiss_indexes(vectors, seed).items()),
    ]


class InPlaceGraph:
    """One hnswlib graph whose oldest rows are overwritten label by label: `updatePoint`, five to ten inserts each."""

    name = "hnswlib in-place update"

    def __init__(self, vectors: FloatArray, seed: int) -> None:
        count, dim = vectors.shape
        self._graph = plain_graph(dim, count, links=LINKS, construction_breadth=CONSTRUCTION_BREADTH, seed=seed)
        self._graph.add_items(vectors, np.arange(count), num_threads=1)
        self._count = count
        self._oldest = 0

    def write(self, vectors: FloatArray) -> None:
        """See `Window.write`."""
        labels = (self._oldest + np.arange(len(vectors))) % self._count
        self._graph.add_items(vectors, labels, num_threads=1)
        self._oldest = int(labels[-1] + 1) % self._count


class ReplacingGraph:
    """One hnswlib graph where the oldest rows are marked deleted and their nodes given to new rows."""

    name = "hnswlib mark_deleted + replace_deleted"

    def __init__(self, vectors: FloatArray, seed: int) -> None:
        count, dim = vectors.shape
        self._graph = plain_graph(dim, count, links=LINKS, construction_breadth=CONSTRUCTION_BREADTH, seed=seed)
        self._graph.add_items(vectors, np.arange(count), num_threads=1)
        self._oldest, self._next = 0, count

    def write(self, vectors: FloatArray) -> None:
        """See `Window.write`."""
        for label in range(self._oldest, self._oldest + len(vectors)):
            self._graph.mark_deleted(label)
        labels = np.arange(self._next, self._next + len(vectors))
        self._graph.add_items(vectors, labels, num_threads=1, replace_deleted=True)
        self._oldest += len(vectors)
        self._next += len(vectors)


class FaissWindow:
    """One index of faiss. Its HNSW cannot delete: old rows stay, and what it costs to be rid of them one day is not counted."""

    def __init__(self, name: str, index: faiss.Index, vectors: FloatArray) -> None:
        self.name = name
        self._deletes = not isinstance(index, faiss.IndexHNSW)
        # its own labels are positions, which move when rows leave
        self._index = faiss.IndexIDMap(index) if isinstance(index, faiss.IndexScalarQuantizer) else index
        self._oldest = self._next = 0
        self._add(vectors)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def write(self, vectors: FloatArray) -> None:
        """See `Window.write`."""
        if self._deletes:
            self._index.remove_ids(faiss.IDSelectorRange(self._oldest, self._oldest + len(vectors)))
            self._oldest += len(vectors)
        self._add(vectors)

    def _add(self, vectors: FloatArray) -> None:
        if self._deletes:
            self._index.add_with_ids(vectors, np.arange(self._next, self._next + len(vectors)))
            self._next += len(vectors)
        else:
            self._index.add(vectors)
