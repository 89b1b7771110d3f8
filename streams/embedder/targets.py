"""Which bundles are written for now, and by which refresh policy: follows the rollouts log, loads towers off the live thread.

A bundle that cannot be loaded, whose topic fails, or whose towers fail while it is building, is set aside with its reason and tried
again; it never stops the others. Writes nothing.
"""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol

from schemas.bundle import read_bundle
from schemas.codec import decode
from schemas.errors import BrokerUnavailable, BundlesUnavailable, InvalidInput, RoostError
from schemas.records.control import BundleStage, Rollout, Stage
from schemas.rollout import STREAMING, fold, nothing_yet
from schemas.surfaces import Surface, Surfaces, refresh_fault
from schemas.topics import ROLLOUTS, embeddings_topic_name
from schemas.towers import Towers
from schemas.wire.inbound import InboundRecord
from schemas.wire.tail import TailReader
from streams.embedder.embed import Target
from streams.settings import EmbedderSettings

log = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.1
_RETRY_AFTER_S = 5.0


@dataclass(frozen=True, slots=True)
class Loaded:
    """A bundle ready to be written for. `ends` are the next offsets of its topic, by partition, when it was loaded."""

    target: Target
    ends: dict[int, int]


@dataclass(frozen=True, slots=True)
class Change:
    """Bundles that became ready to be written for, ids of those that left the streaming stages, surfaces of a new policy."""

    ready: tuple[Loaded, ...] = ()
    gone: frozenset[str] = frozenset()
    configured: frozenset[str] = frozenset()


_NO_CHANGE = Change()
_ANSWERING = (Stage.LIVE, Stage.CANARY)

Loader = Callable[[str, str], Loaded]
# by bundle id, its surface and how it stands there
_Wanted = dict[str, tuple[str, BundleStage]]


class Log(Protocol):
    """The rollouts log, as a `TailReader` reads it."""

    def poll(self, max_messages: int = ..., timeout_s: float = ...) -> list[InboundRecord]:
        """Return the next records."""
        ...

    def at_end(self) -> bool:
        """Tell whether the end was reached."""
        ...


class Targets:
    """The bundles of all surfaces in a streaming stage, as far as they could be loaded."""

    def __init__(self, rollouts: Log, loader: Loader, surfaces: Surfaces) -> None:
        """Take the log to follow.

        Args:
            loader: loads the bundle of (surface, bundle id); raises `RoostError` when it cannot. Called in another thread.
        """
        self._rollouts = rollouts
        self._loader = loader
        self._surfaces = surfaces
        self._state: dict[str, Rollout] = {}
        # of the bundles in a streaming stage; asked of at every batch, and changed by a record only
        self._wanted: _Wanted = {}
        # by surface, the revision that changed its refresh policy last
        self.configured_at: dict[str, int] = {}
        self._active: dict[str, Loaded] = {}
        # with the salt of its rollout: a bundle that is rolled out again has another topic under the same name
        self._loading: dict[str, tuple[str, Future[Loaded]]] = {}
        self._retry_at_s: dict[str, float] = {}
        self._streaming: dict[str, str] = {}
        self._next_look_s = 0.0
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="bundle-loader")
        # by bundle, why it cannot be used, and why it could not be loaded yet although nothing is known against it
        self.errors: dict[str, str] = {}
        self.waiting: dict[str, str] = {}

    def start(self, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Read the log to its end and load what streams before any traffic is folded: nothing may be missed by a live bundle.

        Args:
            should_stop: gives up, with nothing loaded, once it is true: without a broker the end never comes.
        """
        self._read_log(1.0)
        while not self._rollouts.at_end():
            if should_stop():
                return
            self._read_log(1.0)
        self._streaming = _salts(self._wanted)
        self._begin()
        for _, future in list(self._loading.values()):
            # wait for it; its error, if any, is taken up below
            future.exception()
        self._finish()

    def look(self) -> Change:
        """Follow the log, at most ten times a second; return what changed since the last call."""
        now_s = time.monotonic()
        if now_s < self._next_look_s:
            return _NO_CHANGE
        self._next_look_s = now_s + _LOOK_EVERY_S
        configured_at = dict(self.configured_at)
        self._read_log(0.0)
        configured = frozenset(name for name, revision in self.configured_at.items() if configured_at.get(name) != revision)
        before, self._streaming = self._streaming, _salts(self._wanted)
        # one look may find a bundle retired and building again
        gone = frozenset(bundle for bundle, salt in before.items() if self._streaming.get(bundle) != salt)
        for bundle in gone:
            self._active.pop(bundle, None)
            log.info("bundle %s is no longer written for", bundle, extra={"bundle": bundle})
        for memory in (self.errors, self.waiting, self._retry_at_s):
            for bundle in [bundle for bundle in memory if bundle not in self._wanted or bundle in gone]:
                del memory[bundle]
        self._begin()
        return Change(tuple(self._finish()), gone, configured)

    def active(self, surface: str | None = None) -> list[Loaded]:
        """Return the bundles written for, of one surface or of all."""
        return [loaded for loaded in self._active.values() if surface in (None, loaded.target.surface.name)]

    def wanted(self) -> dict[str, str]:
        """Return the surface of every bundle in a streaming stage, loaded or not, by bundle id."""
        return {bundle: surface for bundle, (surface, _) in self._wanted.items()}

    def is_building(self, bundle: str) -> bool:
        """Tell whether a bundle is still being built: its corpus may never have been written whole."""
        return bundle not in self._wanted or self._wanted[bundle][1].state is Stage.BUILDING

    def answers(self, bundle: str) -> bool:
        """Tell whether users are answered from a bundle: live, or in a canary."""
        return bundle in self._wanted and self._wanted[bundle][1].state in _ANSWERING

    def configured(self, surface: Surface) -> Surface:
        """Return a surface of the file with the refresh policy in force: what the log says goes before the file."""
        refresh = self._state[surface.name].refresh if surface.name in self._state else None
        return surface if refresh is None or refresh_fault(refresh) else replace(surface, refresh=refresh)

    @property
    def revisions(self) -> dict[str, int]:
        """The rollout revision folded so far, by surface."""
        return {surface: state.revision for surface, state in self._state.items()}

    def fail(self, bundle: str, reason: str) -> None:
        """Set a bundle aside; it is loaded again, and built again from its corpus, after a while."""
        self._active.pop(bundle, None)
        self._retry_at_s[bundle] = time.monotonic() + _RETRY_AFTER_S
        self.waiting.pop(bundle, None)
        if self.errors.get(bundle) != reason:
            log.error("bundle %s is set aside: %s", bundle, reason, extra={"bundle": bundle})
        self.errors[bundle] = reason

    def _wait(self, bundle: str, reason: str) -> None:
        """Load a bundle later: it was not the bundle's fault."""
        self.errors.pop(bundle, None)
        self._retry_at_s[bundle] = time.monotonic() + _RETRY_AFTER_S
        if self.waiting.get(bundle) != reason:
            log.warning("bundle %s cannot be loaded yet: %s", bundle, reason, extra={"bundle": bundle})
        self.waiting[bundle] = reason

    def close(self) -> None:
        """End the loading thread."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _read_log(self, timeout_s: float) -> None:
        records = self._rollouts.poll(1_000, timeout_s)
        for record in records:
            if record.value is None:
                continue
            try:
                rollout = decode(Rollout, record.value)
            except InvalidInput as error:
                log.warning("skipped %s/%d: %s", ROLLOUTS, record.offset, error, extra=record.place)
                continue
            before = self._state.get(rollout.surface, nothing_yet(rollout.surface))
            after = self._state[rollout.surface] = fold(before, rollout)
            if after.refresh != before.refresh:
                self.configured_at[after.surface] = after.revision
                if after.refresh is not None and (fault := refresh_fault(after.refresh)):
                    log.error("%s revision %d: %s; upgrade this embedder", after.surface, after.revision, fault, extra=record.place)
        if records:
            self._wanted = {
                entry.bundle: (surface, entry) for surface, state in self._state.items() for entry in state.in_stage(*STREAMING)
            }

    def _begin(self) -> None:
        now_s = time.monotonic()
        for bundle, (surface, entry) in self._wanted.items():
            if bundle in self._active or bundle in self._loading or now_s < self._retry_at_s.get(bundle, 0.0):
                continue
            if surface not in self._surfaces:
                self.fail(bundle, f"surface {surface!r} is not in this embedder's surfaces; give every role the same file")
                continue
            self._loading[bundle] = entry.salt, self._pool.submit(self._loader, surface, bundle)

    def _finish(self) -> list[Loaded]:
        ready = []
        for bundle, (salt, future) in list(self._loading.items()):
            if not future.done():
                continue
            del self._loading[bundle]
            if self._streaming.get(bundle) != salt:
                # its ends are of a topic that is no more
                continue
            try:
                loaded = future.result()
            except (BundlesUnavailable, BrokerUnavailable) as error:
                self._wait(bundle, str(error))
                continue
            except RoostError as error:
                self.fail(bundle, str(error))
                continue
            self._active[bundle] = loaded
            self.errors.pop(bundle, None)
            self.waiting.pop(bundle, None)
            ready.append(loaded)
            surface = loaded.target.surface.name
            log.info("writing embeddings of bundle %s for %s", bundle, surface, extra={"bundle": bundle, "surface": surface})
        return ready


def _salts(wanted: _Wanted) -> dict[str, str]:
    return {bundle: entry.salt for bundle, (_, entry) in wanted.items()}


def registry_loader(settings: EmbedderSettings, surfaces: Surfaces, topic_exists: Callable[[str], bool]) -> Loader:
    """Return the loader that reads verified bundles from the registry folder and asks their topics for their ends.

    Args:
        topic_exists: asks the broker with the client that will write to the topic.
    """

    def load(surface: str, bundle: str) -> Loaded:
        verified = read_bundle(settings.registry, surface, bundle)
        verified.manifest.check_indexed(bundle)
        towers = Towers(verified, threads=settings.tower_threads)
        topic = embeddings_topic_name(bundle)
        # one that looked between two rollouts of a bundle, while there was no topic, would refuse the new one's first records
        topic_exists(topic)
        with TailReader(settings.bootstrap, topic, range(settings.partitions)) as reader:
            return Loaded(Target(surfaces[surface], towers), reader.end_offsets())

    return load
