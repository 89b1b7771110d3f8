"""The snapshots of one bundle on one node: its index is restored from one at the start, and saved when there is news. No thread."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from serving.filling.filled import FilledIndex
from serving.health import SnapshotHealth
from serving.index import IndexClosed, LiveIndexError
from serving.snapshots.snapshot import MAX_AGE_MS, Snapshot, SnapshotOf
from serving.snapshots.store import SnapshotStore

log = logging.getLogger(__name__)

RENEW_MS = MAX_AGE_MS // 4
"""A snapshot is written again at this age even without news: one too old is of no use."""


class BundleSnapshots:
    """What a bundle's tail does with the store. `health` may be read on any thread."""

    def __init__(self, bundle: str, store: SnapshotStore, *, now_ms: Callable[[], int]) -> None:
        self._bundle = bundle
        self._store = store
        self._now_ms = now_ms
        self._saved_offsets: Mapping[int, int] = {}
        self._saved_ms = 0
        self.health = SnapshotHealth()

    def restore(self, filled: FilledIndex, topic_id: str) -> Mapping[int, int]:
        """Fill an empty index from the newest sound snapshot; returns where to read on, {} when there is none."""
        started_s = time.monotonic()
        found = self._store.newest(SnapshotOf(self._bundle, topic_id, filled.index.dim), now_ms=self._now_ms())
        if found is None:
            return {}
        try:
            filled.restore(found.contents, found.deleted_ms, found.newest_append_ms)
        except LiveIndexError as refusal:
            # written by a build that let such rows in; the topic has them too, and each is judged there
            log.warning("the snapshot of bundle %s is not taken: %s", self._bundle, refusal, extra={"bundle": self._bundle})
            return {}
        self._saved_offsets, self._saved_ms = found.offsets, found.written_ms
        self.health = replace(self.health, restored_rows=len(filled))
        took_s = time.monotonic() - started_s
        log.info("bundle %s: %d candidates restored in %.2f s", self._bundle, len(filled), took_s, extra={"bundle": self._bundle})
        return found.offsets

    def save(
        self, filled: FilledIndex, topic_id: str, offsets: Mapping[int, int], *, still: Callable[[], bool], lag_ms: int = 0
    ) -> None:
        """Write the index, unless nothing came since the last time.

        Args:
            offsets: next offset by partition of `topic_id`, read before this call.
            still: whether `filled` is the bundle's index even now, after its contents were taken.
            lag_ms: since when nothing may have come because the broker is away.
        """
        started_s, now_ms = time.monotonic(), self._now_ms()
        # written anew, what the broker has not confirmed is none the newer
        true_ms = now_ms - lag_ms
        if offsets == self._saved_offsets and true_ms - self._saved_ms < RENEW_MS:
            return
        try:
            newest_append_ms = filled.newest_append_ms
            contents, deleted_ms = filled.contents()
            if not still():
                return
            self._store.write(
                Snapshot(
                    SnapshotOf(self._bundle, topic_id, filled.index.dim), offsets, newest_append_ms, true_ms, contents, deleted_ms
                )
            )
        except IndexClosed:
            return
        except OSError as error:
            self._note(f"to {self._store.folder} ({error.strerror})", "free some space or name another folder in ROOST_SNAPSHOTS")
            return
        except MemoryError:
            self._note("for want of memory", "give the node more: it holds an index twice while it writes it")
            return
        self._saved_offsets, self._saved_ms = dict(offsets), true_ms
        took_s = time.monotonic() - started_s
        self.health = replace(self.health, written_ms=now_ms, rows=len(contents.rows), took_s=took_s, trouble=None)

    def _note(self, why: str, mend: str) -> None:
        trouble = (
            f"bundle {self._bundle}: no snapshot can be written {why}; the older stay, and a restart reads on from them; {mend}"
        )
        if trouble != self.health.trouble:
            log.error("%s", trouble, extra={"bundle": self._bundle})
        self.health = replace(self.health, trouble=trouble)

    def forget(self) -> None:
        """Remove them all: the bundle left, or its topic no longer holds what comes after them."""
        self._store.forget(self._bundle)
        self._saved_offsets, self._saved_ms = {}, 0
