"""Candidates' records into the embedding records of one bundle. Knows no topics' positions, rollouts or state."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from schemas.codec import encode, frame_head
from schemas.errors import BundleCorrupt
from schemas.records.candidates import Candidate, Embedding, embedding_subject
from schemas.surfaces import Surface
from schemas.topics import embeddings_topic_name
from schemas.towers import Towers
from schemas.writing import long_bytes
from streams.embedder.cut import SOURCES, Cut, cut_or_read
from streams.state import OutboundRecord

_TOWER_BATCH = 512


@dataclass(frozen=True, slots=True)
class Embedded:
    """What came of candidates: records for the bundle's topic, and by id why a tower yields no vector for a candidate."""

    records: list[OutboundRecord]
    failed: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Target:
    """A bundle that is written for: its surface and its towers."""

    surface: Surface
    towers: Towers

    @property
    def bundle(self) -> str:
        """The bundle's id."""
        return self.towers.bundle_id

    @property
    def topic(self) -> str:
        """The bundle's embeddings topic."""
        return embeddings_topic_name(self.bundle)

    def embed(self, states: Iterable[bytes], *, now_ms: int) -> Embedded:
        """Return what the bundle's topic needs: vectors of live candidates, and deletes; stubs and the aged get none.

        Args:
            states: the candidates' records, as they stand in the store.
        """
        records: list[OutboundRecord] = []
        live: list[Cut] = []
        for found in map(cut_or_read, states):
            if isinstance(found, Cut):
                if self.surface.holds(found.created_ms, now_ms):
                    live.append(found)
            elif found.deleted:
                records.append(self._delete(found, now_ms))
        failed: dict[str, str] = {}
        for start in range(0, len(live), _TOWER_BATCH):
            records += self._vectors(live[start : start + _TOWER_BATCH], now_ms, failed)
        return Embedded(records, failed)

    def _vectors(self, batch: Sequence[Cut], now_ms: int, failed: dict[str, str]) -> list[OutboundRecord]:
        try:
            columns = dict(zip(SOURCES, zip(*[one.values for one in batch], strict=True), strict=True))
            vectors = self.towers.embed_candidate_values(columns.__getitem__).astype("<f4", copy=False)
        except BundleCorrupt as error:
            if len(batch) == 1:
                failed[batch[0].key.decode()] = str(error)
                return []
            # halved until those that fail stand alone: the others must not go without vectors for their sake
            half = len(batch) // 2
            return [*self._vectors(batch[:half], now_ms, failed), *self._vectors(batch[half:], now_ms, failed)]
        topic, head, embedded_ms = self.topic, frame_head(self._subject), long_bytes(now_ms)
        return [
            OutboundRecord(topic, one.key, b"".join((head, vector.tobytes(), one.body, embedded_ms)))
            for one, vector in zip(batch, vectors, strict=True)
        ]

    def _delete(self, candidate: Candidate, now_ms: int) -> OutboundRecord:
        embedding = Embedding(
            bytes(4 * self.towers.dim),
            candidate.candidate_id,
            candidate.event_time_ms,
            candidate.sequence,
            0,
            candidate.append_time_ms,
            now_ms,
            deleted=True,
        )
        return OutboundRecord(self.topic, candidate.candidate_id.encode(), encode(embedding, subject=self._subject))

    @property
    def _subject(self) -> str:
        return embedding_subject(self.towers.dim)
