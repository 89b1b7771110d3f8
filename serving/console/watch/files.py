"""What the console reads from disk: manifests of bundles, results of experiments. Verifies bundles whole; runs no tower."""

import json
import logging
import threading
import time
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from math import isfinite
from pathlib import Path

from schemas.bundle import Manifest, list_bundles, read_bundle
from schemas.errors import BundleError, BundlesUnavailable
from schemas.registry.place import RegistryPlace

log = logging.getLogger(__name__)

MAX_RESULT_BYTES = 4 << 20
_WAIT_S = 1.0


class RegistryCatalog:
    """A registry, asked aside: one that takes its time holds no page up. A bundle never changes: its manifest is read once.

    On any thread. A page waits for a moment only, then shows what is known; what comes later is on the next one.
    """

    def __init__(self, registry: RegistryPlace, *, wait_s: float = _WAIT_S) -> None:
        self._registry = registry
        self._wait_s = wait_s
        self._bundles: dict[str, list[str]] = {}
        self._manifests: dict[tuple[str, str], Manifest] = {}
        # what is asked just now, when that began by the monotonic clock, and what tells of its end
        self._asking: dict[Hashable, tuple[float, threading.Event]] = {}
        self._lock = threading.Lock()

    def bundles(self, surface: str) -> list[str]:
        """See `Catalog.bundles`."""
        self._ask(surface, partial(self._list, surface))
        return self._bundles.get(surface, [])

    def manifest(self, surface: str, bundle: str) -> Manifest | None:
        """See `Catalog.manifest`."""
        if (surface, bundle) not in self._manifests:
            self._ask((surface, bundle), partial(self._read, surface, bundle))
        return self._manifests.get((surface, bundle))

    def _list(self, surface: str) -> None:
        try:
            self._bundles[surface] = list_bundles(self._registry, surface)
        except BundlesUnavailable as error:
            # the page shows what the log of rollouts names all the same
            log.warning("%s", error)
            self._bundles.pop(surface, None)

    def _read(self, surface: str, bundle: str) -> None:
        try:
            self._manifests[surface, bundle] = read_bundle(self._registry, surface, bundle).manifest
        except BundleError as error:
            log.debug("%s", error)

    def _ask(self, what: Hashable, ask: Callable[[], None]) -> None:
        """Ask on a thread of its own, and wait for a moment; while an earlier question is late, neither."""
        with self._lock:
            now_s = time.monotonic()
            if any(now_s - since_s >= self._wait_s for since_s, _ in self._asking.values()):
                return
            asked = self._asking.get(what)
            if asked is None:
                # one that hangs must not keep the process from ending
                threading.Thread(target=self._answer, args=(what, ask), name="console-registry", daemon=True).start()
                asked = self._asking[what] = now_s, threading.Event()
        asked[1].wait(self._wait_s)

    def _answer(self, what: Hashable, ask: Callable[[], None]) -> None:
        try:
            ask()
        finally:
            with self._lock:
                _, told = self._asking.pop(what)
            told.set()


class ResultFiles:
    """A folder of JSON files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self) -> Mapping[str, object]:
        """See `ResultsFolder.read`."""
        found: dict[str, object] = {}
        for path in sorted(self.folder.glob("*.json")):
            try:
                if path.stat().st_size <= MAX_RESULT_BYTES:
                    found[path.stem] = _parsed(path.read_text("utf-8"))
            # RecursionError: brackets without end
            except (OSError, ValueError, RecursionError):
                # a run that is being written, or no JSON: its page says what is there
                continue
        return found


def _parsed(text: str) -> object:
    """Return what a text of JSON holds; a number that JSON does not have, or too large for a float, counts as missing."""
    return json.loads(text, parse_float=_finite, parse_int=_whole, parse_constant=_finite)


def _whole(digits: str) -> int | None:
    return None if _finite(digits) is None else int(digits)


def _finite(digits: str) -> float | None:
    value = float(digits)
    return value if isfinite(value) else None
