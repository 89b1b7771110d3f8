"""Candidates into the embedding records of one bundle. Knows no topics' positions, rollouts or state."""

from collections.abc import Sequence
from dataclasses import dataclass

from schemas.codec import encode_mapping
from schemas.records.candidates import Candidate, CandidateAttributes, CandidateFeatures, embedding_subject
from schemas.surfaces import Surface
from schemas.topics import embeddings_topic_name
from schemas.towers import Towers
from streams.state import OutboundRecord

_TOWER_BATCH = 512
# the branch of the union, named: the Avro writer need not try
_FEATURES_BRANCH = "roost.CandidateFeatures"


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

    def embed(self, candidates: Sequence[Candidate], *, now_ms: int) -> list[OutboundRecord]:
        """Return what the bundle's topic needs: vectors of live candidates, and deletes; stubs and the aged get none.

        Raises:
            BundleCorrupt: a vector is not finite.
        """
        records = [self._delete(candidate, now_ms) for candidate in candidates if candidate.deleted]
        live = [
            (candidate, candidate.attributes, features)
            for candidate in candidates
            if (features := candidate.features()) is not None
            and candidate.attributes is not None
            and self.surface.holds(candidate.attributes.created_ms, now_ms)
        ]
        for start in range(0, len(live), _TOWER_BATCH):
            batch = live[start : start + _TOWER_BATCH]
            vectors = self.towers.embed_candidates([features for _, _, features in batch]).astype("<f4", copy=False)
            records += [self._vector(*entry, vector.tobytes(), now_ms) for entry, vector in zip(batch, vectors, strict=True)]
        return records

    def _vector(
        self, candidate: Candidate, attributes: CandidateAttributes, features: CandidateFeatures, vector: bytes, now_ms: int
    ) -> OutboundRecord:
        return self._record(
            candidate,
            {
                "vector": vector,
                "deleted": False,
                "created_ms": attributes.created_ms,
                "text": attributes.text,
                "features": (_FEATURES_BRANCH, features.to_avro()),
            },
            now_ms,
        )

    def _delete(self, candidate: Candidate, now_ms: int) -> OutboundRecord:
        nothing = {"vector": bytes(4 * self.towers.dim), "deleted": True, "created_ms": 0, "text": "", "features": None}
        return self._record(candidate, nothing, now_ms)

    def _record(self, candidate: Candidate, content: dict[str, object], now_ms: int) -> OutboundRecord:
        values = {
            **content,
            "candidate_id": candidate.candidate_id,
            "event_time_ms": candidate.event_time_ms,
            "sequence": candidate.sequence,
            "append_time_ms": candidate.append_time_ms,
            "embedded_ms": now_ms,
        }
        value = encode_mapping(embedding_subject(self.towers.dim), values)
        return OutboundRecord(self.topic, candidate.candidate_id.encode(), value)
