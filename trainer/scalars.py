"""A training's figures as TensorBoard's scalars; the one module that knows its writer. Measures and judges nothing."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from schemas.manifest import Gate
from trainer.learning.fit import FitProgress


class Scalars:
    """Writes figures by the step they belong to; nothing without a writer."""

    def __init__(self, writer: SummaryWriter | None) -> None:
        self._writer = writer

    def step(self, at: FitProgress, *, learning_rate: float) -> None:
        """Note one step of a fit."""
        figures = {"loss": at.loss, "learning_rate": learning_rate, "examples_per_s": at.examples_per_s}
        self._add("fit", figures, at.step)

    def judged(self, metrics: Mapping[str, float], gates: Sequence[Gate], *, step: int) -> None:
        """Note what the towers of a step were found to be, and what each gate said, 1 for passed, beside figure and limit."""
        self._add("validation", metrics, step)
        for gate in gates:
            self._add(f"gates/{gate.name}", {"value": gate.value, "limit": gate.limit, "passed": float(gate.passed)}, step)

    def _add(self, group: str, figures: Mapping[str, float], step: int) -> None:
        if self._writer is not None:
            with _named(self._writer.log_dir):
                for name, figure in figures.items():
                    self._writer.add_scalar(f"{group}/{name}", figure, step)


def folder_of(root: Path | None, surface: str, recipe: str) -> Path | None:
    """Return the folder of a training that begins now, among all that TensorBoard shows side by side."""
    if root is None:
        return None
    return root / surface / f"{recipe}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{time.time_ns() % 10**6:06d}"


@contextmanager
def scalars_in(folder: Path | None) -> Iterator[Scalars]:
    """Yield what writes into a folder, and into none for None; its file is whole at the end.

    Raises:
        OSError: the disk is full, or failed; it names the folder.
    """
    if folder is None:
        yield Scalars(None)
        return
    with _named(folder):
        writer = SummaryWriter(str(folder))
    try:
        yield Scalars(writer)
    finally:
        with _named(folder):
            writer.close()


@contextmanager
def _named(folder: Path | str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # that of a write names no file, and there are several disks
        raise OSError(error.errno, error.strerror, str(folder)) from error
