"""The bundles that a bundle was fine-tuned from, by the parents that manifests name. Says nothing of how; see `trainer.lineage`."""

from collections import deque
from collections.abc import Iterator

from schemas.bundle import Bundle, read_bundle
from schemas.errors import BundleError, BundlesUnavailable
from schemas.registry.place import RegistryPlace


def line_of(registry: RegistryPlace, surface: str, newest: Bundle | None) -> Iterator[Bundle]:
    """Yield a bundle and those it was fine-tuned from, newest first; one that is gone, or can no longer be read, ends the line.

    Raises:
        BundlesUnavailable: the registry did not answer: nobody knows whether the line goes on.
    """
    while newest is not None:
        yield newest
        try:
            newest = read_bundle(registry, surface, newest.manifest.parent) if newest.manifest.parent else None
        except BundlesUnavailable:
            raise
        except BundleError:
            return


def anchor_of(registry: RegistryPlace, surface: str, parent: Bundle, *, fine_tunes: int) -> Bundle | None:
    """Return the bundle that fine-tunes of `parent` are held against, however many there were: an ancestor that stays the same.

    Args:
        fine_tunes: how many had been made of the pre-trained bundle when the anchor came of it; 0 is the pre-trained one itself.

    Returns:
        None while the line is shorter than that; the oldest that is left where its beginning is gone.

    Raises:
        BundlesUnavailable: as `line_of`.
    """
    oldest = deque(line_of(registry, surface, parent), maxlen=fine_tunes + 1)
    if oldest[-1].manifest.parent is not None:
        return oldest[-1]
    return oldest[0] if len(oldest) > fine_tunes else None
