"""One surface on this node: folds its rollout, keeps a tail for each streaming bundle, and flips the routing. Answers nothing."""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from schemas.features.hashing import canary_bucket
from schemas.records.control import BundleStage, Rollout, Stage
from schemas.rollout import STREAMING, fold, nothing_yet
from schemas.surfaces import Surface
from serving.node.bundle_tail import BundleTail
from serving.query.epochs import Canary, Epoch, Routing, RoutingTable, epoch_name

log = logging.getLogger(__name__)

CATCH_UP_S = 0.5
"""A flip waits at most so long for what the bundle's topic holds by then."""

MakeTail = Callable[[Surface, str, Callable[[], None]], BundleTail]


class SurfaceKeeper:
    """Brings what this node holds in line with the rollout, and the routing with what it holds."""

    def __init__(self, surface: Surface, routings: RoutingTable, make_tail: MakeTail) -> None:
        self.surface = surface
        self._routings = routings
        self._make_tail = make_tail
        self._rollout = nothing_yet(surface.name)
        self._tails: dict[str, tuple[str, BundleTail]] = {}
        self._kept: BundleTail | None = None
        self._aside: list[threading.Thread] = []
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
    def kept(self) -> BundleTail | None:
        """What answers although the log, another one than before, does not know it: until a bundle of its own is live and whole."""
        return self._kept

    @property
    def routing(self) -> Routing:
        """The routing in force."""
        return self._routings.get(self.surface.name)

    def fold(self, record: Rollout) -> None:
        """Take in one record of `rollouts`; nothing is started or stopped before `reconcile`."""
        with self._lock:
            self._rollout = fold(self._rollout, record)

    def start_over(self) -> None:
        """Fold another log from nothing. What answers goes on answering, but by no revision of the log that is gone."""
        with self._lock:
            self._rollout = nothing_yet(self.surface.name)
            # half read it would seem to want what it only came by
            self._known = False
            self._routings.put(replace(self.routing, revision=0))

    def reconcile(self) -> None:
        """Start tails of bundles that now stream, stop those of bundles that no longer do, and route anew."""
        with self._lock:
            if self._closed:
                return
            another_log, self._known = not self._known, True
            streaming = {entry.bundle: entry for entry in self._rollout.in_stage(*STREAMING)}
            # the salt is the start command's id: a bundle aborted and started again is another rollout, with another topic
            dropped = [
                tail for bundle, (salt, tail) in self._tails.items() if bundle not in streaming or streaming[bundle].salt != salt
            ]
            known = {(entry.bundle, entry.salt) for entry in self._rollout.bundles}
            for tail in dropped:
                salt, _ = self._tails.pop(tail.bundle)
                if another_log and tail.is_live and (tail.bundle, salt) not in known:
                    self._keep(tail)
            kept = self._kept
            try:
                for entry in streaming.values():
                    if entry.bundle not in self._tails:
                        self._start(entry)
            # where one cannot be started, the others leave all the same: nobody else knows of them any more
            finally:
                self.route()
                for tail in dropped:
                    if tail is not kept:
                        self._retire(tail)

    def _keep(self, tail: BundleTail) -> None:
        """Let what answers answer on, although the log does not even know that it ended."""
        log.warning(
            "another log of rollouts does not know bundle %s, which answers on %s; it goes on, with the candidates that it has, "
            "until a bundle of that log is live",
            tail.bundle,
            self.surface.name,
            extra={"bundle": tail.bundle, "surface": self.surface.name},
        )
        self._kept = tail
        # its topic is emptied should that log start the same bundle
        self._set_aside(tail.hold, f"hold-{tail.bundle}")

    def _retire(self, tail: BundleTail) -> None:
        fields = {"bundle": tail.bundle, "surface": self.surface.name}
        log.info("bundle %s left %s; its index is dropped", tail.bundle, self.surface.name, extra=fields)
        self._set_aside(partial(self._end, tail), f"retire-{tail.bundle}")

    def _end(self, tail: BundleTail) -> None:
        tail.stop()
        with self._lock:
            # that took its time; started again meanwhile, the disk holds what is that rollout's
            is_gone = not self._closed and tail.bundle not in self._tails
        if is_gone:
            tail.forget()

    def _set_aside(self, end: Callable[[], None], name: str) -> None:
        # it waits for the tail's threads, which may wait for a registry or a disk; the next flip must not wait with them
        thread = threading.Thread(target=end, name=name, daemon=True)
        self._aside = [*(other for other in self._aside if other.is_alive()), thread]
        thread.start()

    def _start(self, entry: BundleStage) -> None:
        fields = {"bundle": entry.bundle, "surface": self.surface.name, "stage": str(entry.state)}
        log.info("bundle %s is %s on %s; filling its index", entry.bundle, entry.state, self.surface.name, extra=fields)
        tail = self._make_tail(self.surface, entry.bundle, self.route)
        # before it is kept: one whose thread cannot be started is made anew the next time. It waits for the lock to route
        tail.start()
        self._tails[entry.bundle] = (entry.salt, tail)

    def route(self) -> None:
        """Put the routing in force that the rollout and the filled indices allow: one assignment."""
        with self._lock:
            if self._closed or not self._known:
                return
            before = self.routing
            after = self._routing(before)
            self._catch_up(before.live, after.live)
            for bundle, tail in self.tails.items():
                tail.is_live = after.live is not None and after.live is tail.epoch
                tail.answers = tail.is_live or any(canary.epoch.bundle == bundle for canary in after.canaries)
            self._routings.put(after)
            if self._kept is not None and after.live is not self._kept.epoch:
                self._retire(self._kept)
                self._kept = None
        was, now = _name(before.live), _name(after.live)
        if was != now:
            fields = {
                "surface": self.surface.name,
                "bundle": now,
                "revision": after.revision,
                "epoch": epoch_name(now, after.revision),
            }
            log.info("%s flips from %s to %s at revision %d", self.surface.name, was, now, after.revision, extra=fields)

    def _catch_up(self, was: Epoch | None, now: Epoch | None) -> None:
        """See to it that what was found before a flip is found after it: a bundle that answers nobody gathers what comes."""
        if was is not None and now is not None and now is not was:
            tail, before = self.tails.get(now.bundle), self.tails.get(was.bundle)
            if tail is not None and not tail.catch_up({} if before is None else before.as_of(), CATCH_UP_S):
                fields = {"bundle": now.bundle, "surface": self.surface.name}
                log.warning("bundle %s answers before it has caught up", now.bundle, extra=fields)

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
        # of a bundle that another log started again, the one kept is not what is wanted
        as_wanted = wanted is None or (_name(live) == wanted and live is whole.get(wanted))
        in_force = as_wanted and len(canaries) == len(self._rollout.in_stage(Stage.CANARY))
        return Routing(
            self.surface,
            revision=self._rollout.revision if in_force else before.revision,
            live=live,
            canaries=canaries,
            held=whole if live is None else {live.bundle: live, **whole},
            waiting_for=self._waiting_for(wanted),
        )

    def _live(self, whole: Mapping[str, Epoch], before: Routing, wanted: str | None) -> Epoch | None:
        # a node that starts would answer a canary's users from the live bundle, by no revision that the log knows
        if before.live is None and self._canary_to_come() is not None:
            return None
        if wanted is not None and wanted in whole:
            return whole[wanted]
        if self._kept is not None:
            return self._kept.epoch
        if wanted is None:
            return None
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
            return None if self.routing.live is not None else f"{self.surface.name}: {Routing(self.surface).waiting_for}"
        reasons = (f"{name} is about to be loaded" if tail is None else tail.not_ready for name, tail in needed.items())
        return next((reason for reason in reasons if reason is not None), None)

    def close(self) -> None:
        """Stop every tail; returns when those that left before have ended too."""
        with self._lock:
            self._closed = True
            tails, aside = list(self.tails.values()), self._aside
            if self._kept is not None:
                tails.append(self._kept)
            self._tails, self._kept = {}, None
            # the routing would keep every index in memory
            self._routings.put(Routing(self.surface, waiting_for="the node is stopping"))
        # outside the lock: a tail that is ending may be asking for it
        for tail in tails:
            tail.stop()
        for thread in aside:
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
