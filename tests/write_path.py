"""The write path as a node sees it, played by a test on a real broker: rollouts, embeddings, user states. Holds no test."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from uuid import uuid4

from confluent_kafka import TopicPartition

from schemas.bundle import read_bundle
from schemas.codec import encode
from schemas.ids import Version
from schemas.positions import Header
from schemas.records.candidates import Embedding, embedding_subject
from schemas.records.control import CommandKind, Rollout, RolloutCommand
from schemas.records.users import UserState
from schemas.rollout import advance, answer, nothing_yet
from schemas.surfaces import Surface, load_surfaces
from schemas.topics import ROLLOUTS, USER_STATES, embeddings_topic, embeddings_topic_name, standard_topics
from schemas.towers import Towers
from schemas.wire.admin import create_topics, delete_topics, wait_for_broker
from schemas.wire.tail import TailReader
from streams.outbox import Outbox, raise_for
from tests.bundles import publish_bundle
from tests.posts import Post, deletion, embedding, now_ms

_SURFACE_TOML = """
[{name}]
candidate_topic = "tweets"
id_prefix = "t:"
feature_spec = "tweet-v1"
dim = 64
popularity = "engagements"
refresh = "write-time"
label_window_s = 1800
recency_window_s = {window_s}
"""


class WritePath:
    """One surface of its own on a shared broker: its rollout log, and embeddings by real towers."""

    def __init__(self, bootstrap: str, folder: Path, *, window_s: int = 172_800) -> None:
        self.bootstrap = bootstrap
        self.registry = folder / "registry"
        name = f"home-{uuid4().hex[:8]}"
        self.surfaces_file = folder / "surfaces.toml"
        self.surfaces_file.write_text(_SURFACE_TOML.format(name=name, window_s=window_s))
        self.surface: Surface = load_surfaces(self.surfaces_file)[name]
        self.admin = wait_for_broker(bootstrap, timeout_s=30)
        create_topics(self.admin, standard_topics())
        self._outbox = Outbox(bootstrap)
        self._rollout = nothing_yet(name)
        self._towers: dict[str, Towers] = {}

    def bundle(self, seed: int) -> str:
        """Publish a real bundle and return its id."""
        bundle = publish_bundle(self.registry, surface=self.surface.name, seed=seed)
        self._towers[bundle] = Towers(read_bundle(self.registry, self.surface.name, bundle))
        return bundle

    def towers(self, bundle: str) -> Towers:
        """Return the towers of a bundle made here."""
        return self._towers[bundle]

    @property
    def revision(self) -> int:
        """The newest revision appended."""
        return self._rollout.revision

    @property
    def state(self) -> Rollout:
        """What the log says now."""
        return self._rollout

    def command(self, kind: CommandKind, bundle: str | None = None, *, share_bp: int | None = None) -> None:
        """Answer a command as the controller would, and append the record."""
        command = RolloutCommand(uuid4().hex, self.surface.name, kind, bundle=bundle, share_bp=share_bp)
        after = answer(self._rollout, command, now_ms=now_ms())
        assert after.revision == self._rollout.revision + 1, after.reason
        self._append(after)

    def start(self, bundle: str) -> None:
        """Take it from registered to building, with the bundle's topic."""
        self.command(CommandKind.START, bundle)
        # as the controller does: what an earlier rollout left under the name goes first
        delete_topics(self.admin, [embeddings_topic_name(bundle)])
        create_topics(self.admin, [embeddings_topic(bundle, self.surface)])
        self._step(prepared=[bundle])

    def ready(self, bundle: str) -> None:
        """Take it from building to ready."""
        self._step(at_parity=[bundle])

    def go_live(self, bundle: str) -> None:
        """From nothing to live."""
        self.start(bundle)
        self.ready(bundle)
        self.command(CommandKind.PROMOTE, bundle)

    def abort(self, bundle: str) -> None:
        """Abort a bundle under way and delete its topic."""
        self.command(CommandKind.ABORT, bundle)
        delete_topics(self.admin, [embeddings_topic_name(bundle)])

    def restart(self, bundle: str) -> None:
        """Abort a bundle under way, and start it again with a new topic."""
        self.abort(bundle)
        self.start(bundle)

    def begin_another_log(self) -> None:
        """Delete the topic of the rollouts, of every surface on this broker, and create it anew, empty."""
        self.create_anew(ROLLOUTS)
        self._rollout = nothing_yet(self.surface.name)

    def create_anew(self, topic: str) -> None:
        """Delete a standard topic, of every surface on this broker, and create it anew, empty."""
        delete_topics(self.admin, [topic])
        create_topics(self.admin, standard_topics())

    def forget_all_but_the_last(self, bundle: str, *, count: int) -> None:
        """Let retention remove what came before the last `count` records of each partition of its topic."""
        topic = embeddings_topic_name(bundle)
        partitions = sorted(self.admin.list_topics(topic, timeout=10).topics[topic].partitions)
        with TailReader(self.bootstrap, topic, partitions) as reader:
            ends = reader.end_offsets()
        cut = [TopicPartition(topic, partition, max(0, end - count)) for partition, end in ends.items()]
        for future in self.admin.delete_records(cut).values():
            future.result(30)

    def _step(self, *, prepared: Iterable[str] = (), at_parity: Iterable[str] = ()) -> None:
        after = advance(self._rollout, prepared=set(prepared), at_parity=set(at_parity), now_ms=now_ms())
        assert after is not None
        self._append(after)

    def _append(self, record: Rollout) -> None:
        self.send(ROLLOUTS, record.surface.encode(), encode(record))
        self._rollout = record

    def embed(self, posts: Iterable[Post], *bundles: str) -> None:
        """Embed the posts by each bundle and wait for the acknowledgements."""
        batch = list(posts)
        for bundle in bundles:
            towers = self._towers[bundle]
            vectors = towers.embed_candidates([post.features for post in batch])
            for post, vector in zip(batch, vectors, strict=True):
                self._write(bundle, embedding(post, vector.tolist(), append_time_ms=now_ms()))
        self._flush()

    def embed_vector(self, post: Post, bundle: str, vector: list[float]) -> None:
        """Write an embedding that no tower made."""
        self.embed_vectors([post], bundle, [vector])

    def embed_vectors(self, posts: Iterable[Post], bundle: str, vectors: Iterable[list[float]]) -> None:
        """Write embeddings that no tower made, and wait for the acknowledgements."""
        for post, vector in zip(posts, vectors, strict=True):
            self._write(bundle, embedding(post, vector, append_time_ms=now_ms()))
        self._flush()

    def delete(self, post: Post, *bundles: str) -> None:
        """Write the delete of a post, one version later, to the bundles' topics."""
        event_time_ms, sequence = post.current_version
        for bundle in bundles:
            version = Version(event_time_ms, sequence + 1)
            dim = self._towers[bundle].dim
            self._write(bundle, deletion(post.candidate_id, version, dim=dim, append_time_ms=now_ms()))
        self._flush()

    def _write(self, bundle: str, record: Embedding) -> None:
        value = encode(record, subject=embedding_subject(self._towers[bundle].dim))
        self._outbox.produce(embeddings_topic_name(bundle), value, record.candidate_id.encode())

    def _flush(self) -> None:
        self._outbox.flush_all(timeout_s=30)
        raise_for(self._outbox.take_failures())

    def user(self, state: UserState | None, user_id: str) -> None:
        """Write a user's state; None forgets the user."""
        self.send(USER_STATES, user_id.encode(), None if state is None else encode(state))

    def send(self, topic: str, key: bytes, value: bytes | None, headers: Sequence[Header] = ()) -> None:
        """Write one record and wait for its acknowledgement."""
        self._outbox.produce(topic, value, key, headers=list(headers))
        self._flush()
