"""Fitting an ensemble: its parts one after the other, then its heads, as one training. Knows no file: a checkpoint does."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from trainer.data.columns import Corpus, Examples
from trainer.learning.checkpoint import Checkpoint
from trainer.learning.ensemble import Ensemble
from trainer.learning.fit import FitConfig, FitProgress, FitReport, fit, steps_of
from trainer.learning.ranks import leads
from trainer.learning.towers import TwoTowers


@dataclass(frozen=True, slots=True)
class Part:
    """One pair of towers of an ensemble: how it is fitted, and the weight of its cosine."""

    name: str
    weight: float
    fit: FitConfig


@dataclass(frozen=True, slots=True)
class EnsembleFit:
    """How an ensemble is fitted.

    Attributes:
        seed: of the samples that its heads are made from; None leaves it those that it has.
    """

    parts: tuple[Part, ...]
    seed: int | None = 0

    @property
    def learning_rate(self) -> float:
        """Of the first part."""
        return self.parts[0].fit.learning_rate


def fit_ensemble(
    ensemble: Ensemble,
    examples: Examples,
    corpus: Corpus,
    config: EnsembleFit,
    *,
    progress: Callable[[FitProgress], None] = lambda _: None,
    on_step: Callable[[FitProgress], None] = lambda _: None,
    checkpoint: Checkpoint | None = None,
) -> FitReport:
    """Fit the parts in place, and join them unless the heads stay; arguments, errors and what is equal are `fit`'s.

    Returns:
        Steps, examples and seconds of all parts; the loss is the last one's.
    """
    steps = [steps_of(part.fit, examples) for part in config.parts]
    kept = None if checkpoint is None else _Kept(checkpoint, ensemble.parts)
    reports: list[FitReport] = [] if kept is None else kept.reports
    begin_s = time.monotonic()
    while len(reports) < len(config.parts):
        towers, part = ensemble.parts[len(reports)], config.parts[len(reports)]
        whole = _Whole(begin_s, sum(steps[: len(reports)]), sum(steps))
        report = fit(
            towers, examples, corpus, part.fit, progress=whole.told(progress), on_step=whole.told(on_step), checkpoint=kept
        )
        reports.append(report)
        if kept is not None:
            kept.part_ended()
    if config.seed is not None:
        ensemble.join([part.weight for part in config.parts], examples, corpus, seed=config.seed)
    return FitReport(
        sum(report.steps for report in reports),
        sum(report.examples for report in reports),
        reports[-1].loss,
        sum(report.seconds for report in reports),
    )


@dataclass(frozen=True, slots=True)
class _Whole:
    """Where a part stands in the whole training: after so many steps, of so many."""

    begin_s: float
    before: int
    steps: int

    def told(self, tell: Callable[[FitProgress], None]) -> Callable[[FitProgress], None]:
        """Return what a part tells its progress to."""

        def told(at: FitProgress) -> None:
            step = self.before + at.step
            eta_s = (time.monotonic() - self.begin_s) / step * (self.steps - step)
            tell(replace(at, step=step, steps=self.steps, eta_s=eta_s))

        return told


class _Kept:
    """One checkpoint for all parts: the towers of those that have ended, and the state of the fit under way."""

    def __init__(self, checkpoint: Checkpoint, parts: Sequence[TwoTowers]) -> None:
        self._checkpoint = checkpoint
        self._parts = parts
        self.every_s = checkpoint.every_s
        found = checkpoint.load() or {"ended": [], "reports": [], "under_way": None}
        for towers, state in zip(parts, found["ended"], strict=False):
            towers.load_state_dict(state)
        self.reports = [FitReport(**report) for report in found["reports"]]
        self._under_way: dict[str, Any] | None = found["under_way"]

    def load(self) -> dict[str, Any] | None:
        """Return the state that the next part's fit goes on from; None from its beginning."""
        state, self._under_way = self._under_way, None
        return state

    def save(self, state: dict[str, Any] | None) -> None:
        """Keep the state of the fit under way, with what has ended."""
        ended = [towers.state_dict() for towers in self._parts[: len(self.reports)]]
        reports = [asdict(report) for report in self.reports]
        self._checkpoint.save({"ended": ended, "reports": reports, "under_way": state})

    def part_ended(self) -> None:
        """Keep what a part has come to."""
        if leads():
            self.save(None)
