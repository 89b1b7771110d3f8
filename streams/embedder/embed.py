"""Candidates into the embedding records of one bundle. Knows no topics' positions, rollouts or state."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from schemas.codec import encode
from schemas.errors import BundleCorrupt
from schemas.records.candidates import Candidate, CandidateAttributes, CandidateFeatures, Embedding, embedding_subject
from schemas.surfaces import Surface
from schemas.topics import embeddings_topic_name
from schemas.towers import Towers
from streams.state import OutboundRecord

_TOWER_BATCH = 512

_Live = tuple[Candidate, CandidateAttributes, CandidateFeatures]


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

    def embed(self, candidates: Sequence[Candidate], *, now_ms: int) -> Embedded:
        """Return what the bundle's topic needs: vectors of live candidates, and deletes; stubs and the aged get none."""
        records = [self._delete(candidate, now_ms) for candidate in candidates if candidate.deleted]
        live: list[_Live] = [
            (candidate, candidate.attributes, features)
            for candidate in candidates
            if (features := candidate.features()) is not None
            and candidate.attributes is not None
            and self.surface.holds(candidate.attributes.created_ms, now_ms)
        ]
        failed: dict[str, str] = {}
        for start in range(0, len(live), _TOWER_BATCH):
            records += self._vectors(live[start : start + _TOWER_BATCH], now_ms, failed)
        return Embedded(records, failed)

    def _vectors(self, batch: Sequence[_Live], now_ms: int, failed: dict[str, str]) -> list[OutboundRecord]:
        try:
            vectors = self.towers.embed_candidates([features for _, _, features in batch]).astype("<f4", copy=False)
        except BundleCorrupt as error:
            if len(batch) == 1:
                failed[batch[0][0].candidate_id] = str(error)
                return []
            # halved until those that fail stand alone: the others must not go without vectors for their sake
            half = len(batch) // 2
            return [*self._vectors(batch[:half], now_ms, failed), *self._vectors(batch[half:], now_ms, failed)]
        return [self._vector(*entry, vector.tobytes(), now_ms) for entry, vector in zip(batch, vectors, strict=True)]

    def _vector(
        self, candidate: Candidate, attributes: CandidateAttributes, features: CandidateFeatures, vector: bytes, now_ms: int
    ) -> OutboundRecord:
        return self._record(
            Embedding(
                vector,
                candidate.candidate_id,
                candidate.event_time_ms,
                candidate.sequence,
                attributes.created_ms,
                candidate.append_time_ms,
                now_ms,
                text=attributes.text,
                features=features,
            )
        )

    def _delete(self, candidate: Candidate, now_ms: int) -> OutboundRecord:
        return self._record(
            Embedding(
                bytes(4 * self.towers.dim),
                candidate.candidate_id,
                candidate.event_time_ms,
                candidate.sequence,
                0,
                candidate.append_time_ms,
                now_ms,
                deleted=True,
            )
        )

    def _record(self, embedding: Embedding) -> OutboundRecord:
        value = encode(embedding, subject=embedding_subject(self.towers.dim))
        return OutboundRecord(self.topic, embedding.candidate_id.encode(), value)
