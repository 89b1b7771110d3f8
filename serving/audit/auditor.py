"""The thread that audits a node's indexes within a share of one processor. Judges nothing itself."""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from serving.audit.bundle_audit import BundleAudit
from serving.filling.filled import FilledIndex
from serving.index import IndexClosed
from serving.query.epochs import Epoch
from serving.query.tap import QueryTap

log = logging.getLogger(__name__)

IDLE_S = 0.25
AFTER_FAULT_S = 5.0
STOP_WAIT_S = 5.0


class Auditable(Protocol):
    """A bundle's tail."""

    @property
    def bundle(self) -> str:
        """Its id."""
        ...

    @property
    def epoch(self) -> Epoch | None:
        """What answers from it; None while its index is not whole."""
        ...

    @property
    def filled(self) -> FilledIndex | None:
        """Its index."""
        ...


class Auditor:
    """Goes round the bundles. After work that cost c seconds of processor time it rests, so that it takes `cpu_share` of one."""

    def __init__(
        self, tails: Callable[[], Iterable[Auditable]], tap: QueryTap, *, cpu_share: float, now_ms: Callable[[], int]
    ) -> None:
        self._tails = tails
        self._tap = tap
        self._cpu_share = cpu_share
        self._now_ms = now_ms
        self._audits: dict[str, BundleAudit] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)

    def start(self) -> None:
        """Begin; once."""
        self._thread.start()

    def stop(self) -> None:
        """End after the audit in hand."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOP_WAIT_S)

    def of(self, bundle: str) -> BundleAudit | None:
        """Return what was found of a bundle; None before its first audit."""
        return self._audits.get(bundle)

    def round(self) -> bool:
        """Audit one live query and probe a new candidate of each whole bundle; False when there was nothing to do."""
        worked = False
        tails = list(self._tails())
        self._audits = {tail.bundle: self._audits[tail.bundle] for tail in tails if tail.bundle in self._audits}
        for tail in tails:
            epoch, filled = tail.epoch, tail.filled
            if epoch is None or filled is None or epoch.index is not filled.index:
                continue
            audit = self._audits.setdefault(tail.bundle, BundleAudit(now_ms=self._now_ms))
            try:
                if (query := self._tap.take(tail.bundle)) is not None:
                    audit.audit(filled.index, query)
                    worked = True
                worked = audit.probe(filled) or worked
            except IndexClosed:
                log.debug("bundle %s left while it was audited", tail.bundle)
        return worked

    def _run(self) -> None:
        pause_s = IDLE_S
        while not self._stopping.wait(pause_s):
            before_s = time.thread_time()
            try:
                worked = self.round()
            # a fault of the audit must not end the audits, nor touch what answers
            except Exception:
                log.exception("an audit failed; going on in %.0f s", AFTER_FAULT_S)
                pause_s = AFTER_FAULT_S
                continue
            cost_s = time.thread_time() - before_s
            pause_s = max(cost_s * (1 - self._cpu_share) / self._cpu_share, 0.0 if worked else IDLE_S)
