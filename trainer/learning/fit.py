"""The training loop: objectives pull one pair of towers, the same way from the same seed. Knows no file: a checkpoint does."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch

from schemas.errors import Refused
from trainer.data.columns import Corpus, Examples
from trainer.learning.objectives import Objective, Task
from trainer.learning.ranks import SharedTowers, leads, processes
from trainer.learning.towers import Frozen, TwoTowers

log = logging.getLogger(__name__)


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
    """What a fit did, before it was cut off too; `loss` is the mean over the last tenth of the steps."""

    steps: int
    examples: int
    loss: float
    seconds: float

    @property
    def examples_per_s(self) -> float:
        """Rows of the first objective a second."""
        return self.examples / max(self.seconds, 1e-9)


class Kept(Protocol):
    """Where a fit's state is kept; see `trainer.learning.checkpoint`."""

    @property
    def every_s(self) -> float:
        """Seconds between two states."""
        ...

    def load(self) -> dict[str, Any] | None:
        """Return the state to go on from."""
        ...

    def save(self, state: dict[str, Any]) -> None:
        """Keep a state."""
        ...


@dataclass(slots=True)
class _Run:
    """A fit as far as it has come: all that its further steps depend on."""

    towers: TwoTowers
    tasks: list[Task]
    optimisers: list[torch.optim.Optimizer]
    shared: SharedTowers | None = None
    losses: list[float] = field(default_factory=list)
    seen: int = 0
    begin_s: float = field(default_factory=time.monotonic)

    def step(self) -> None:
        for optimiser in self.optimisers:
            optimiser.zero_grad()
        loss = torch.zeros(())
        for task in self.tasks:
            rows = task.next_rows()
            self.seen += len(rows) if task is self.tasks[0] else 0
            loss = loss + task.objective.weight * task.loss(self.shared or self.towers, rows)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.shared is not None:
            self.shared.add_up_gradients()
        for optimiser in self.optimisers:
            optimiser.step()
        self.losses.append(loss.item())

    def state(self) -> dict[str, Any]:
        return {
            "towers": self.towers.state_dict(),
            "tasks": [task.state_dict() for task in self.tasks],
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "losses": self.losses,
            "seen": self.seen,
            "seconds": time.monotonic() - self.begin_s,
        }

    def take_up(self, state: dict[str, Any]) -> None:
        self.towers.load_state_dict(state["towers"])
        for task, its_state in zip(self.tasks, state["tasks"], strict=True):
            task.load_state_dict(its_state)
        for optimiser, its_state in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(its_state)
        self.losses, self.seen = state["losses"], state["seen"]
        self.begin_s -= state["seconds"]


def fit(
    towers: TwoTowers,
    examples: Examples,
    corpus: Corpus,
    config: FitConfig,
    *,
    progress: Callable[[FitProgress], None] = lambda _: None,
    on_step: Callable[[FitProgress], None] = lambda _: None,
    checkpoint: Kept | None = None,
) -> FitReport:
    """Train the towers in place. The same towers, data, configuration and machine give the same weights, bit for bit.

    Within `trainer.learning.ranks.together` all processes call this with the same arguments, and end at the same weights: those of
    one process but for the order in which sums are taken.

    Args:
        progress: called at most twice a second, and after the last step.
        on_step: called after each step.
        checkpoint: gone on from, where it holds a state of these inputs, and kept up to date; whoever takes the weights removes it.

    Raises:
        Refused: no positives, no negatives to draw, or a loss that is no longer finite.
    """
    seeds = np.random.SeedSequence(config.seed).spawn(len(config.objectives))
    tasks = [
        Task(objective, examples, corpus, batch_size=config.batch_size, rng=np.random.default_rng(seed))
        for objective, seed in zip(config.objectives, seeds, strict=True)
    ]
    steps = steps_of(config, examples)
    towers.freeze(config.frozen)
    run = _Run(towers, tasks, _optimisers(towers, tasks, config.learning_rate))
    run.shared = SharedTowers(towers) if processes() > 1 else None
    state = None if checkpoint is None else checkpoint.load()
    if state is None:
        for task in tasks:
            task.calibrate(towers)
    else:
        run.take_up(state)
        log.warning("going on with a training that was cut off, at step %d of %d", len(run.losses), steps)
    last_report = saved_s = time.monotonic()
    for step in range(len(run.losses) + 1, steps + 1):
        run.step()
        if not np.isfinite(run.losses[-1]):
            raise Refused(
                f"the loss is {run.losses[-1]} at step {step} of {steps}; lower the learning rate ({config.learning_rate})"
            )
        now = time.monotonic()
        took_s = max(now - run.begin_s, 1e-9)
        at = FitProgress(step, steps, run.losses[-1], run.seen / took_s, took_s / step * (steps - step))
        on_step(at)
        if now - last_report > 0.5 or step == steps:
            last_report = now
            progress(at)
        if checkpoint is not None and leads() and now - saved_s >= checkpoint.every_s:
            checkpoint.save(run.state())
            saved_s = time.monotonic()
    towers.freeze("nothing")
    return FitReport(steps, run.seen, float(np.mean(run.losses[-max(1, steps // 10) :])), time.monotonic() - run.begin_s)


def steps_of(config: FitConfig, examples: Examples) -> int:
    """Return how many steps a fit makes."""
    steps_per_epoch = max(1, -(-len(config.objectives[0].rows(examples)) // config.batch_size))
    return max(config.epochs, -(-config.min_steps // steps_per_epoch)) * steps_per_epoch


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
