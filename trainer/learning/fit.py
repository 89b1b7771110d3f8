"""The training loop: objectives pull one pair of towers, the same way from the same seed. Reads and writes no file."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from schemas.errors import Refused
from trainer.data.columns import Corpus, Examples
from trainer.learning.objectives import Objective, Task
from trainer.learning.towers import Frozen, TwoTowers


@dataclass(frozen=True, slots=True)
class FitConfig:
    """How long and how fast.

    Attributes:
        objectives: the first one's examples make an epoch; the others go round theirs at the same batch size.
        min_steps: epochs are added until this many steps are made: a small data set needs more of them.
        frozen: weights that stay as they are.
        seed: of batches and negatives; the towers' own seed is given when they are built.
    """

    objectives: tuple[Objective, ...]
    learning_rate: float
    epochs: int
    batch_size: int = 256
    min_steps: int = 0
    seed: int = 0
    frozen: Frozen = "nothing"


@dataclass(frozen=True, slots=True)
class FitProgress:
    """How far a fit is."""

    step: int
    steps: int
    loss: float
    examples_per_s: float
    eta_s: float


@dataclass(frozen=True, slots=True)
class FitReport:
    """What a fit did; `loss` is the mean over the last tenth of the steps."""

    steps: int
    examples: int
    loss: float
    seconds: float

    @property
    def examples_per_s(self) -> float:
        """Rows of the first objective a second."""
        return self.examples / max(self.seconds, 1e-9)


def fit(
    towers: TwoTowers,
    examples: Examples,
    corpus: Corpus,
    config: FitConfig,
    *,
    progress: Callable[[FitProgress], None] = lambda _: None,
) -> FitReport:
    """Train the towers in place. The same towers, data, configuration and machine give the same weights, bit for bit.

    Args:
        progress: called at most twice a second, and after the last step.

    Raises:
        Refused: no positives, no negatives to draw, or a loss that is no longer finite.
    """
    seeds = np.random.SeedSequence(config.seed).spawn(len(config.objectives))
    tasks = [
        Task(objective, examples, corpus, batch_size=config.batch_size, rng=np.random.default_rng(seed))
        for objective, seed in zip(config.objectives, seeds, strict=True)
    ]
    for task in tasks:
        task.calibrate(towers)
    steps_per_epoch = -(-len(tasks[0].rows) // config.batch_size)
    steps = max(config.epochs, -(-config.min_steps // steps_per_epoch)) * steps_per_epoch
    streams = [task.batches() for task in tasks]
    towers.freeze(config.frozen)
    optimisers = _optimisers(towers, tasks, config.learning_rate)
    begin = last_report = time.monotonic()
    losses: list[float] = []
    seen = 0
    for step in range(1, steps + 1):
        for optimiser in optimisers:
            optimiser.zero_grad()
        loss = torch.zeros(())
        for task, stream in zip(tasks, streams, strict=True):
            rows = next(stream)
            seen += len(rows) if task is tasks[0] else 0
            loss = loss + task.objective.weight * task.loss(towers, rows)
        loss.backward()  # type: ignore[no-untyped-call]
        for optimiser in optimisers:
            optimiser.step()
        losses.append(loss.item())
        if not np.isfinite(losses[-1]):
            raise Refused(f"the loss is {losses[-1]} at step {step} of {steps}; lower the learning rate ({config.learning_rate})")
        now = time.monotonic()
        if now - last_report > 0.5 or step == steps:
            last_report = now
            per_step = (now - begin) / step
            rate = seen / max(now - begin, 1e-9)
            progress(FitProgress(step, steps, losses[-1], rate, per_step * (steps - step)))
    towers.freeze("nothing")
    return FitReport(steps, seen, float(np.mean(losses[-max(1, steps // 10) :])), time.monotonic() - begin)


def _optimisers(towers: TwoTowers, tasks: list[Task], learning_rate: float) -> list[torch.optim.Optimizer]:
    dense = [
        *(p for tower in (towers.query, towers.candidate) for p in tower.parameters() if p.requires_grad),
        # the triplet loss trains neither scale nor bias
        *(p for task in tasks if task.objective.loss != "triplet" for p in task.parameters()),
    ]
    if not towers.table.requires_grad:
        return [torch.optim.Adam(dense, learning_rate, fused=True)]
    if towers.config.sparse_gradients:
        return [
            torch.optim.Adam(dense, learning_rate, fused=True),
            torch.optim.SparseAdam([towers.table], learning_rate),
        ]
    return [torch.optim.Adam([towers.table, *dense], learning_rate, fused=True)]
