"""The kept trainings of one surface: each is written once its bundle is out, and removed when its time has come. Trains nothing."""

import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from trainer.data.cache import prune, remove_erased, write_cache
from trainer.data.windows import CorpusAt, Window

log = logging.getLogger(__name__)


class KeptTrainings:
    """A folder of caches, one a bundle. No disk's trouble is raised: it is logged, and keeps nobody from training."""

    def __init__(
        self, surface: str, cache: Path, *, newest: int, kept_s: float, wall_clock_s: Callable[[], float] = time.time
    ) -> None:
        """Look at nothing yet.

        Args:
            cache: folder of all surfaces' trainings.
            newest: so many are kept.
            kept_s: how long they are kept at the most, in seconds.
            wall_clock_s: Unix seconds.
        """
        self._surface = surface
        self._folder = cache / surface
        self._newest = newest
        self._kept_s = kept_s
        self._wall_clock_s = wall_clock_s
        self._stay: set[str] = set()
        self._forgotten_ms: Mapping[str, int] = {}

    def keep(self, bundle: str, window: Window, corpus: CorpusAt) -> None:
        """Keep what a bundle was trained on, and remove what it pushes out."""
        try:
            write_cache(self._folder / bundle, self._surface, window, corpus)
        except OSError as error:
            # the bundle is published all the same, and can be rebuilt as long as the topics hold its data
            log.error(  # noqa: TRY400  the sentence says it all
                "the training of %s cannot be kept in %s (%s); make room there, or name another folder by ROOST_TRAIN_CACHE",
                bundle,
                self._folder,
                error.strerror,
                extra={"surface": self._surface, "bundle": bundle},
            )
        self.clear({})

    def clear(self, erased_ms: Mapping[str, int]) -> None:
        """Remove those whose time has come; that one cannot be is said once, and keeps no other.

        Args:
            erased_ms: by deleted user, Unix ms of the delete; what holds, or may hold, an example of before goes too.
        """
        stay = set()
        for remove in (partial(self._forget_erased, erased_ms), self._prune):
            try:
                remove()
            except OSError as error:
                stay.add(f"the kept training {error.filename} is due to be removed and stays ({error.strerror}); remove it")
        for sentence in sorted(stay - self._stay):
            log.error("%s: %s", self._surface, sentence)
        self._stay = stay

    def _forget_erased(self, erased_ms: Mapping[str, int]) -> None:
        if erased_ms.items() <= self._forgotten_ms.items():
            return
        remove_erased(self._folder, erased_ms, on_removed=self._say_erased)
        self._forgotten_ms = erased_ms

    def _prune(self) -> None:
        prune(self._folder, keep=self._newest, since_s=self._wall_clock_s() - self._kept_s)

    def _say_erased(self, bundle: str) -> None:
        fields = {"surface": self._surface, "bundle": bundle}
        log.info("the kept training of %s held a deleted user's examples and is removed", bundle, extra=fields)
