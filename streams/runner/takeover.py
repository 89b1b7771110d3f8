"""What a group has left of partitions, for the member that takes them over: state, and where inputs go on. Assigns none."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient

from schemas.positions import Place
from schemas.wire.ends import beyond_end, log_ends
from schemas.wire.tail import TailReader
from streams.runner.changelog import ChangelogStore, take_in
from streams.runner.resume import awaited_ids, committed_of

_RESTORE_BATCH = 10_000
_RESTORE_POLL_S = 1.0


class StoppedRestoring(Exception):
    """The process is to end before the state of its partitions was read."""


@dataclass(frozen=True, slots=True)
class Takeover:
    """What was found of a member's partitions.

    Attributes:
        ids: Kafka's ids of the inputs, by name.
        stores: the state of those partitions that it did not have before.
        starts: next offset of each place; None where the log is read from its beginning.
        ends: where each log ended when the state had been read; 0 for that of a topic created anew, of which no state tells.
    """

    ids: Mapping[str, str]
    stores: Mapping[int, ChangelogStore]
    starts: Mapping[Place, int | None]
    ends: Mapping[Place, int]


class Surveyor:
    """Asks a broker what a group has left of partitions. Topics are co-partitioned: a partition is one of each."""

    def __init__(
        self,
        bootstrap: str,
        admin: AdminClient,
        topics: Collection[str],
        changelog: str,
        *,
        crash_point: Callable[[str], None],
        timeout_s: float,
    ) -> None:
        """Ask nothing yet.

        Args:
            changelog: compacted topic with the inputs' partition count that holds the state.
            crash_point: see `BatchRunner`.
            timeout_s: how long the broker may take for each answer.
        """
        self._bootstrap = bootstrap
        self._admin = admin
        self._topics = topics
        self._changelog = changelog
        self._crash_point = crash_point
        self._timeout_s = timeout_s

    def find(
        self, consumer: Consumer, places: Collection[Place], known: Collection[int], should_stop: Callable[[], bool]
    ) -> Takeover:
        """Return what there is of `places`, of which the state of the partitions in `known` is not read again.

        Raises:
            BrokerUnavailable: no answer in time.
            TopicMismatch: one of the topics does not exist.
            StoppedRestoring: `should_stop` came true.
        """
        # before the offsets: of a topic that is deleted in between they are taken for its own, and never for the next one's
        ids = awaited_ids(self._admin, self._topics, timeout_s=self._timeout_s)
        starts, gone = committed_of(consumer, places, ids, timeout_s=self._timeout_s)
        stores = self._restore(sorted({partition for _, partition in places} - set(known)), should_stop)
        # after the state: whoever had the partitions may have gone on until just now
        ends = log_ends(self._admin, starts, timeout_s=self._timeout_s)
        anew = gone.union(beyond_end(starts, ends))
        return Takeover(ids, stores, {**starts, **dict.fromkeys(anew)}, {**ends, **dict.fromkeys(anew, 0)})

    def _restore(self, partitions: Sequence[int], should_stop: Callable[[], bool]) -> dict[int, ChangelogStore]:
        if not partitions:
            return {}
        values: dict[int, dict[str, bytes]] = {partition: {} for partition in partitions}
        with TailReader(self._bootstrap, self._changelog, partitions, read_committed=True, once=True) as reader:
            while not reader.at_end():
                # without a broker the end never comes
                if should_stop():
                    raise StoppedRestoring
                for record in reader.poll(_RESTORE_BATCH, _RESTORE_POLL_S):
                    take_in(values[record.partition], record)
                self._crash_point("mid-restore")
        return {partition: ChangelogStore(restored) for partition, restored in values.items()}
