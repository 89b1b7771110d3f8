"""One surface on this node: folds its rollout, keeps a tail for each streaming bundle, and flips the routing. Answers nothing."""

import logging
import threading
from collections.abc import Callable, Mapping

from schemas.features.hashing import canary_bucket
from schemas.records.control import BundleStage, Rollout, Stage
from schemas.rollout import STREAMING, fold, nothing_yet
from schemas.surfaces import Surface
from serving.node.bundle_tail import BundleTail
from serving.query.epochs import Canary, Epoch, Routing, RoutingTable, epoch_name

log = logging.getLogger(__name__)

MakeTail = Callable[[Surface, str, Callable[[], None]], BundleTail]


class SurfaceKeeper:
    """Brings what this node holds in line with the rollout, and the routing with what it holds."""

    def __init__(self, surface: Surface, routings: RoutingTable, make_tail: MakeTail) -> None:
        self.surface = surface
        self._routings = routings
        self._make_tail = make_tail
        self._rollout = nothing_yet(surface.name)
        self._tails: dict[str, tuple[str, BundleTail]] = {}
        self._retiring: list[threading.Thread] = []
        self._lock = threading.RLock()
        self._known = False
        self._closed = False

    @property
    def rollout(self) -> Rollout:
        """The rollout as folded so far."""
        return self._rollout

    @property
    def known(self) -> bool:
        """Whether the rollouts were read, so that `tails` are all the bundles in use."""
        return self._known

    @property
    def tails(self) -> Mapping[str, BundleTail]:
        """The tails by bundle."""
        with self._lock:
            return {bundle: tail for bundle, (_, tail) in self._tails.items()}

    @property
    def routing(self) -> Routing:
        """The routing in force."""
        return self._routings.get(self.surface.name)

    def fold(self, record: Rollout) -> None:
        """Take in one record of `rollouts`; nothing is started or stopped before `reconcile`."""
        with self._lock:
            self._rollout = fold(self._rollout, record)

    def reconcile(self) -> None:
        """Start tails of bundles that now stream, stop those of bundles that no longer do, and route anew."""
        with self._lock:
            if self._closed:
                return
            self._known = True
            streaming = {entry.bundle: entry for entry in self._rollout.in_stage(*STREAMING)}
            # the salt is the start command's id: a bundle aborted and started again is another rollout, with another topic
            dropped = [
                tail for bundle, (salt, tail) in self._tails.items() if bundle not in streaming or streaming[bundle].salt != salt
            ]
            for tail in dropped:
                del self._tails[tail.bundle]
            for entry in streaming.values():
                if entry.bundle not in self._tails:
                    self._start(entry)
            self.route()
            self._retiring = [thread for thread in self._retiring if thread.is_alive()]
            for tail in dropped:
                self._retire(tail)

    def _retire(self, tail: BundleTail) -> None:
        fields = {"bundle": tail.bundle, "surface": self.surface.name}
        log.info("bundle %s left %s; its index is dropped", tail.bundle, self.surface.name, extra=fields)
        # aside: it waits for its threads, which may wait for a registry or a disk; the next flip must not wait with them
        thread = threading.Thread(target=tail.retire, name=f"retire-{tail.bundle}", daemon=True)
        self._retiring.append(thread)
        thread.start()

    def _start(self, entry: BundleStage) -> None:
        fields = {"bundle": entry.bundle, "surface": self.surface.name, "stage": str(entry.state)}
        log.info("bundle %s is %s on %s; filling its index", entry.bundle, entry.state, self.surface.name, extra=fields)
        tail = self._make_tail(self.surface, entry.bundle, self.route)
        self._tails[entry.bundle] = (entry.salt, tail)
        tail.start()

    def route(self) -> None:
        """Put the routing in force that the rollout and the filled indices allow: one assignment."""
        with self._lock:
            if self._closed or not self._known:
                return
            before = self.routing
            after = self._routing(before)
            for bundle, tail in self.tails.items():
                tail.is_live = after.live is not None and after.live.bundle == bundle
                tail.answers = tail.is_live or any(canary.epoch.bundle == bundle for canary in after.canaries)
            self._routings.put(after)
        was, now = _name(before.live), _name(after.live)
        if was != now:
            fields = {
                "surface": self.surface.name,
                "bundle": now,
                "revision": after.revision,
                "epoch": epoch_name(now, after.revision),
            }
            log.info("%s flips from %s to %s at revision %d", self.surface.name, was, now, after.revision, extra=fields)

    def _routing(self, before: Routing) -> Routing:
        held = {bundle: tail.epoch for bundle, tail in self.tails.items()}
        whole = {bundle: epoch for bundle, epoch in held.items() if epoch is not None}
        wanted = self._rollout.live
        live = self._live(whole, before, wanted)
        canaries = tuple(
            Canary(whole[entry.bundle], entry.salt, entry.share_bp)
            for entry in self._rollout.in_stage(Stage.CANARY)
            if entry.bundle in whole and _salt_hashes(entry.salt)
        )
        in_force = _name(live) == wanted and len(canaries) == len(self._rollout.in_stage(Stage.CANARY))
        return Routing(
            self.surface,
            revision=self._rollout.revision if in_force else before.revision,
            live=live,
            canaries=canaries,
            held=whole,
            waiting_for=self._waiting_for(wanted),
        )

    def _live(self, whole: Mapping[str, Epoch], before: Routing, wanted: str | None) -> Epoch | None:
        # a node that starts would answer a canary's users from the live bundle, by no revision that the log knows
        if before.live is None and self._canary_to_come() is not None:
            return None
        if wanted is None or wanted in whole:
            return whole.get(wanted or "")
        # the bundle that was live keeps answering until the new one's index is whole here
        if before.live is not None and before.live.bundle in whole:
            return whole[before.live.bundle]
        tail = self.tails.get(wanted)
        # a node that starts waits for the live bundle; one that answers, or never will from that one, falls back on the previous
        if before.live is not None or (tail is not None and tail.refusal is not None):
            fallback = [entry.bundle for entry in self._rollout.in_stage(Stage.DRAINING) if entry.bundle in whole]
            return whole[fallback[-1]] if fallback else None
        return None

    def _canary_to_come(self) -> str | None:
        tails = {entry.bundle: self.tails.get(entry.bundle) for entry in self._rollout.in_stage(Stage.CANARY)}
        return next(
            (bundle for bundle, tail in tails.items() if tail is None or (tail.epoch is None and tail.refusal is None)), None
        )

    def _waiting_for(self, wanted: str | None) -> str:
        if wanted is None:
            return Routing(self.surface).waiting_for
        tail = self.tails.get(wanted)
        if tail is not None and tail.refusal is not None:
            return tail.refusal
        canary = self._canary_to_come()
        if canary is not None and tail is not None and tail.epoch is not None:
            return f"the index of canary {canary} is still being filled on this node; /readyz says how far it is"
        return f"the index of live bundle {wanted} is still being filled on this node; /readyz says how far it is"

    @property
    def not_ready(self) -> str | None:
        """Why the surface does not answer as its rollout says, or None."""
        with self._lock:
            if not self._known:
                return "the rollouts are still being read"
            wanted = self._rollout.live
            # a canary keeps from being ready only a node that answers nobody yet
            canary = self._canary_to_come() if self.routing.live is None else None
            needed = {
                f"{kind} bundle {bundle}": self.tails.get(bundle)
                for kind, bundle in (("live", wanted), ("canary", canary))
                if bundle
            }
        if wanted is None:
            return f"{self.surface.name}: {Routing(self.surface).waiting_for}"
        reasons = (f"{name} is about to be loaded" if tail is None else tail.not_ready for name, tail in needed.items())
        return next((reason for reason in reasons if reason is not None), None)

    def close(self) -> None:
        """Stop every tail; returns when those that left before have ended too."""
        with self._lock:
            self._closed = True
            tails, retiring = list(self.tails.values()), self._retiring
            self._tails = {}
            # the routing would keep every index in memory
            self._routings.put(Routing(self.surface, waiting_for="the node is stopping"))
        # outside the lock: a tail that is ending may be asking for it
        for tail in tails:
            tail.stop()
        for thread in retiring:
            thread.join()


def _name(epoch: Epoch | None) -> str | None:
    return None if epoch is None else epoch.bundle


def _salt_hashes(salt: str) -> bool:
    try:
        canary_bucket(salt, "")
    # a salt over 64 bytes is no hash key: such a canary gets nobody, rather than every query failing
    except ValueError:
        log.warning("canary salt %r… is longer than 64 bytes; its canary gets no user", salt[:32])
        return False
    return True
