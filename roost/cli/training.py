"""What a training command works on: one surface's records, from the topics, a kept folder, or a training that was cut off.

Loads torch, which takes seconds: commands import it when they run.
"""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import typer

from roost.cli.checked import surface_named, surfaces_of
from roost.cli.output import owe_object
from roost.cli.phases_bar import phases_bar
from schemas.bundle import Bundle
from schemas.errors import RoostError
from schemas.features.catalog import CATALOG
from trainer.data.cache import CacheUnusable, read_cache, remove_erased, require_writable, write_cache
from trainer.data.skew import audit
from trainer.data.topics import TopicSources, read_again
from trainer.data.windows import CorpusAt, Window, next_offsets
from trainer.learning.checkpoint import Checkpoint
from trainer.learning.ranks import leads, processes, together
from trainer.lineage import examples_topic_of, lineage_of
from trainer.settings import SKEW_SAMPLE
from trainer.training import TrainingData

log = logging.getLogger(__name__)


class Job:
    """One surface's records on one broker, as the recipes want them."""

    def __init__(self, surface: str, surfaces_file: Path | None, bootstrap: str) -> None:
        surfaces = surfaces_of(surfaces_file)
        self.surface = surface_named(surface, surfaces)
        self.checkpoint: Checkpoint | None = None
        self.leads = True
        self._surfaces = surfaces
        self._bootstrap = bootstrap
        self._read: tuple[Window, CorpusAt] = Window(), CorpusAt(())

    def live(self) -> str | None:
        """Return the live bundle."""
        with TopicSources(self._bootstrap, self.surface, self._surfaces) as sources:
            return sources.rollout().live

    @contextmanager
    def checkpointed(self, root: Path, asked: str, *, every_s: float) -> Iterator[None]:
        """Keep the state of the training that is run here, and remove it at the end.

        Args:
            asked: as `trainer.lineage.training_digest` gives it.
        """
        self.checkpoint = Checkpoint.at(root / self.surface.name, asked, every_s=every_s)
        with self.checkpoint.until_ended():
            yield

    def data(self, since: Bundle | None = None, *, served_by: str | None, audited: bool) -> TrainingData:
        """Return what the topics hold since a bundle was trained, or what a training that was cut off had read of them."""
        if processes() > 1:
            raise typer.BadParameter("several processes must read the same data; name a folder of them with --kept")
        with (
            phases_bar() as progress,
            TopicSources(self._bootstrap, self.surface, self._surfaces, on_progress=progress) as sources,
        ):
            window = sources.window() if since is None else window_since(sources, since)
            window = window if served_by is None else window.of_arm(served_by)
            self._read = self._cut_off(window.erased_ms) or (window, sources.candidates(time.time_ns() // 1_000_000))
            data = TrainingData.of_window(*self._read)
            if not audited:
                # whoever has accepted the window need not wait for all states and engagements to be read
                return data
            evidence = sources.evidence(self._read[0].examples(), sample=SKEW_SAMPLE)
            return replace(data, skew=audit(evidence, CATALOG[self.surface.feature_spec]))

    def data_in(self, folder: Path, *, served_by: str | None = None) -> TrainingData:
        """Return what was kept in a folder."""
        window, corpus = read_cache(folder, self.surface.name)
        self._read = window if served_by is None else window.of_arm(served_by), corpus
        return TrainingData.of_window(*self._read)

    def require_room(self, cache: Path | None) -> None:
        """Raise `CacheUnusable` where `keep` could write nothing: before a training, not after it."""
        if cache is not None and self.leads:
            require_writable(cache, self.surface.name)

    def keep(self, cache: Path | None, bundle: str) -> None:
        """Keep what a bundle was trained on, where that is asked for; raises `RoostError` where there is no room for it."""
        if cache is None or not self.leads:
            return
        folder = cache / self.surface.name / bundle
        try:
            write_cache(folder, self.surface.name, *self._read)
        except OSError as error:
            raise RoostError(
                f"{bundle} is published, but its data cannot be kept in {folder} ({error.strerror}); make room there, or name "
                "another folder: this bundle can be rebuilt only as long as the topics hold them"
            ) from error

    def again(self, bundle: Bundle, kept: Path | None) -> tuple[Window, CorpusAt, str]:
        """Return what a bundle was trained on, of the folder in which it was kept or of the topics, and which it was."""
        if kept is not None:
            return *read_cache(kept, self.surface.name), str(kept)
        lineage = lineage_of(bundle)
        with phases_bar() as progress:
            read = read_again(
                self._bootstrap,
                self.surface,
                self._surfaces,
                examples=bundle.manifest.examples,
                candidates=lineage.corpus_offsets,
                at_ms=lineage.corpus_at_ms,
                read_to=lineage.read_to,
                on_progress=progress,
            )
        return *read, "topics"

    def _cut_off(self, erased_ms: Mapping[str, int]) -> tuple[Window, CorpusAt] | None:
        """Return what a training that was cut off had read, unless a user in it has been deleted since.

        From here on the checkpoint keeps what this one reads.
        """
        if self.checkpoint is None:
            return None
        self.checkpoint = replace(self.checkpoint, keep_data=lambda folder: write_cache(folder, self.surface.name, *self._read))
        remove_erased(self.checkpoint.folder, erased_ms)
        if self.checkpoint.exists():
            try:
                return read_cache(self.checkpoint.data, self.surface.name)
            except CacheUnusable as error:
                log.warning("%s; the training begins anew", error)
        self.checkpoint.remove()
        return None


@contextmanager
def job_of(surface: str, surfaces_file: Path | None, bootstrap: str) -> Iterator[Job]:
    """Yield the job of a surface on a broker, together with the processes that torchrun started.

    No broker is connected to before something is asked for.
    """
    job = Job(surface, surfaces_file, bootstrap)
    with together():
        job.leads = leads()
        if not job.leads:
            # the leading process prints it
            owe_object(False)
        yield job


def window_since(sources: TopicSources, bundle: Bundle) -> Window:
    """Return the examples that came after those that a bundle was trained on; raises as `TopicSources.window`."""
    return sources.window(next_offsets(bundle.manifest.examples), of=examples_topic_of(bundle))
