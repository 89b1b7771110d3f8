"""A synthetic stream of candidates whose clusters drift, are born and die; with queries from the same moment. No index, no clock.

Measuring an index on still data hides what churn does to it: codebooks age, graphs lose their live rows, old clusters empty.
Everything is a function of the seed and of how many rows were drawn.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.index import Rows

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]

LANGUAGES = ("en", "ja", "es", "pt", "ar", "fr", "ko", "tr", "de", "fi")
LANGUAGE_SHARES = np.array([0.36, 0.18, 0.12, 0.09, 0.08, 0.06, 0.05, 0.03, 0.02, 0.01])
AUTHORS = 20_000


@dataclass(frozen=True, slots=True)
class StreamShape:
    """How the data moves. `drift` is the angle (radians) a centre turns while one window's worth of rows is drawn."""

    dim: int = 64
    window_rows: int = 50_000
    clusters: int = 400
    spread_low: float = 0.5
    spread_high: float = 1.2
    drift: float = 0.6
    reborn_share: float = 0.25
    """Clusters replaced by new ones during one window."""
    clustered: bool = True
    spectrum_decay: float = 0.5
    """Direction i carries noise of scale (i+1)^-decay: trained towers use some directions more than others; 0 = isotropic."""
    burst_every_rows: int = 0
    """Every so many rows, a tenth of that many come from one brand-new narrow cluster, as when news breaks; 0 = never."""
    payload_bytes: int = 24


class DriftingStream:
    """Draws rows in order; row n is created at n ms. One language belongs to one cluster, as in real text."""

    def __init__(self, shape: StreamShape, seed: int) -> None:
        self.shape = shape
        self.rows_drawn = 0
        self._rng = np.random.default_rng(seed)
        self._centres = self._directions(shape.clusters)
        self._headings = self._directions(shape.clusters)
        self._spreads = self._rng.uniform(shape.spread_low, shape.spread_high, shape.clusters).astype(np.float32)
        weights = 1.0 / np.arange(1, shape.clusters + 1) ** 0.8
        self._weights = weights / weights.sum()
        scales = np.arange(1, shape.dim + 1, dtype=np.float32) ** -shape.spectrum_decay
        basis, _ = np.linalg.qr(self._rng.normal(size=(shape.dim, shape.dim)))
        # rows of unit expected length, whatever the spectrum
        self._noise_map = (basis * (scales / np.linalg.norm(scales))[:, None]).astype(np.float32)
        self._languages = self._rng.choice(len(LANGUAGES), size=shape.clusters, p=LANGUAGE_SHARES)

    def _directions(self, count: int) -> FloatArray:
        raw = self._rng.normal(size=(count, self.shape.dim))
        unit: FloatArray = (raw / np.linalg.norm(raw, axis=1, keepdims=True)).astype(np.float32)
        return unit

    def _advance(self, rows: int) -> None:
        """Turn every centre on along its heading and replace some clusters, in proportion to the rows drawn."""
        share = rows / self.shape.window_rows
        # along the great circle, not towards a point: there it would slow down and stay
        across = self._headings - (self._headings * self._centres).sum(axis=1, keepdims=True) * self._centres
        across /= np.linalg.norm(across, axis=1, keepdims=True)
        cos, sin = (np.float32(side(self.shape.drift * share)) for side in (np.cos, np.sin))
        turned, self._headings = cos * self._centres + sin * across, cos * across - sin * self._centres
        self._centres = turned / np.linalg.norm(turned, axis=1, keepdims=True)
        reborn = np.flatnonzero(self._rng.random(self.shape.clusters) < self.shape.reborn_share * share)
        if len(reborn):
            self._centres[reborn] = self._directions(len(reborn))
            self._headings[reborn] = self._directions(len(reborn))

    def _near(self, clusters: IntArray) -> FloatArray:
        noise = self._noise(len(clusters))
        if not self.shape.clustered:
            return noise
        moved: FloatArray = self._centres[clusters] + self._spreads[clusters, None] * noise
        return moved

    def _noise(self, count: int) -> FloatArray:
        noise: FloatArray = self._rng.normal(size=(count, self.shape.dim)).astype(np.float32) @ self._noise_map
        return noise

    def _clusters(self, rows: int) -> IntArray:
        drawn: IntArray = self._rng.choice(self.shape.clusters, size=rows, p=self._weights)
        every = self.shape.burst_every_rows
        if every and (self.rows_drawn % every) < every // 10:
            # the burst's cluster is the last one, reborn narrow at its start
            if self.rows_drawn % every < rows:
                self._centres[-1] = self._directions(1)[0]
                self._spreads[-1] = 0.35
            drawn[:] = self.shape.clusters - 1
        return drawn

    def create(self, rows: int) -> Rows:
        """The next `rows` new candidates."""
        clusters = self._clusters(rows)
        vectors = self._near(clusters)
        numbers = np.arange(self.rows_drawn, self.rows_drawn + rows, dtype=np.int64)
        self.rows_drawn += rows
        self._advance(rows)
        authors = self._rng.zipf(1.3, size=rows) % AUTHORS
        return Rows(
            candidate_ids=[f"t:{number}" for number in numbers.tolist()],
            vectors=vectors,
            versions=np.stack([numbers, np.zeros(rows, dtype=np.int64)], axis=1),
            created_ms=numbers,
            languages=[LANGUAGES[code] for code in self._languages[clusters].tolist()],
            author_ids=[f"a:{author}" for author in authors.tolist()],
            payloads=[bytes(self.shape.payload_bytes)] * rows,
        )

    def moved(self, vectors: FloatArray, *, step: float) -> FloatArray:
        """The same candidates re-embedded: each vector turned by about `step` radians in a random direction."""
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        turned: FloatArray = vectors + np.float32(np.tan(step)) * lengths * self._noise(len(vectors))
        return turned

    def queries(self, count: int) -> FloatArray:
        """Query vectors [count, dim] of length 1 from today's clusters: what users ask for now."""
        drawn: IntArray = self._rng.choice(self.shape.clusters, size=count, p=self._weights)
        near = self._near(drawn)
        unit: FloatArray = near / np.linalg.norm(near, axis=1, keepdims=True)
        return unit
