"""What the console reads from disk: manifests of bundles, results of experiments. Verifies bundles whole; runs no tower."""

import json
import logging
from collections.abc import Mapping
from math import isfinite
from pathlib import Path

from schemas.bundle import Manifest, list_bundles, read_bundle
from schemas.errors import BundleError, BundlesUnavailable
from schemas.registry.place import RegistryPlace

log = logging.getLogger(__name__)

MAX_RESULT_BYTES = 4 << 20


class RegistryCatalog:
    """A registry. A bundle never changes: its manifest is read once."""

    def __init__(self, registry: RegistryPlace) -> None:
        self._registry = registry
        self._manifests: dict[tuple[str, str], Manifest] = {}

    def bundles(self, surface: str) -> list[str]:
        """See `Catalog.bundles`."""
        try:
            return list_bundles(self._registry, surface)
        except BundlesUnavailable as error:
            # the page shows what the log of rollouts names all the same
            log.warning("%s", error)
            return []

    def manifest(self, surface: str, bundle: str) -> Manifest | None:
        """See `Catalog.manifest`."""
        found = self._manifests.get((surface, bundle))
        if found is None:
            try:
                found = self._manifests[surface, bundle] = read_bundle(self._registry, surface, bundle).manifest
            except BundleError:
                return None
        return found


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
