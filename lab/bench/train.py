"""What training costs beside the bare torch step, and where sparse gradients win. CPU time, one thread; judges no towers.

The trainer's loop (order, negatives, step, checks, progress) and the bare step take the same batches from the same seeds and end at
the same weights, so that the two differ in what surrounds the step alone.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  the name every torch reader knows
from numpy.typing import NDArray
from torch import Tensor

from lab.bench.freshness.towers import shown
from lab.bench.machine import commit, machine
from lab.bench.progress import OnProgress, untold
from schemas.features.catalog import CATALOG
from schemas.features.spec import FeatureSpec, Field
from schemas.surfaces import Surface
from trainer.data.cache import read_cache, write_cache
from trainer.data.columns import Corpus, Encoder, Examples
from trainer.data.windows import CorpusAt, LoggedExample, Window
from trainer.learning.fit import FitConfig, fit
from trainer.learning.negatives import Sampler
from trainer.learning.objectives import Task
from trainer.learning.towers import TowerConfig, TwoTowers
from trainer.recipes import PretrainConfig
from trainer.training import TrainingData

AUTHORS = (8_192, 32_768, 131_072, 524_288)
_SPARSE_STEPS = 40


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's input: ids of queries, of their own candidates and of shared negatives; weights [batch, negatives]."""

    queries: Tensor
    own: Tensor
    negatives: Tensor
    weight: Tensor


class BareStep:
    """Forward, cross-entropy, backward and Adam in plain torch, on batches that are ready."""

    def __init__(self, towers: TwoTowers, *, scale: float, bias: float, learning_rate: float) -> None:
        """Take over towers to train."""
        self._towers = towers
        self._scale = torch.tensor(scale, requires_grad=True)
        self._bias = torch.tensor(bias, requires_grad=True)
        dense = [*towers.query.parameters(), *towers.candidate.parameters(), self._scale, self._bias]
        if towers.config.sparse_gradients:
            table: torch.optim.Optimizer = torch.optim.SparseAdam([towers.table], learning_rate)
            self._optimisers = [torch.optim.Adam(dense, learning_rate, fused=True), table]
        else:
            self._optimisers = [torch.optim.Adam([towers.table, *dense], learning_rate, fused=True)]

    def __call__(self, batch: Batch) -> None:
        """Step once."""
        for optimiser in self._optimisers:
            optimiser.zero_grad()
        queries, own = self._towers.embed_queries(batch.queries), self._towers.embed_candidates(batch.own)
        negatives = self._towers.embed_candidates(batch.negatives)
        positive = self._scale * (queries * own).sum(dim=1) + self._bias
        negative = self._scale * (queries @ negatives.T) + self._bias
        loss = F.softplus(-positive).sum() + (batch.weight * F.softplus(negative)).sum()
        loss = loss / (len(own) + batch.weight.sum())
        loss.backward()  # type: ignore[no-untyped-call]
        for optimiser in self._optimisers:
            optimiser.step()


def prepared(towers: TwoTowers, examples: Examples, corpus: Corpus, config: FitConfig) -> tuple[list[Batch], float]:
    """Return the batches that `fit` makes of the same arguments, epoch after epoch, and the bias that it begins with."""
    (objective,) = config.objectives
    (seed,) = np.random.SeedSequence(config.seed).spawn(1)
    rng = np.random.default_rng(seed)
    task = Task(objective, examples, corpus, batch_size=config.batch_size, rng=rng)
    task.calibrate(towers)
    sampler = Sampler(objective.negatives, examples, corpus)
    steps_per_epoch = -(-len(task.rows) // config.batch_size)
    steps = max(config.epochs, -(-config.min_steps // steps_per_epoch)) * steps_per_epoch
    return [_batch(task.next_rows(), sampler, rng, examples) for _ in range(steps)], task.bias.item()


def run(
    surface: Surface, *, seeds: Sequence[int], impressions: int, authors: Sequence[int] = AUTHORS, on_progress: OnProgress = untold
) -> dict[str, Any]:
    """Return one JSON-able object. Each seed is a world of its own; ratios are of one seed's run, medians over the seeds.

    `ratio` divides the rate of the whole training, from the Parquet cache on, by that of the bare step;
    `loop_ratio` that of the loop. `first_use_s` is what torch takes once a process, on its first steps, and is in neither.
    """
    torch.set_num_threads(1)
    recipe = PretrainConfig()
    begin = time.process_time()
    _warm_up(CATALOG[surface.feature_spec])
    first_use_s = time.process_time() - begin
    rows = []
    sparse: dict[int, list[tuple[float, float]]] = {size: [] for size in authors}
    for number, seed in enumerate(seeds):
        with tempfile.TemporaryDirectory() as folder:
            _keep(Path(folder) / "cache", surface, seed, impressions)
            rows.append(_loop_and_bare(Path(folder) / "cache", surface, recipe, seed, bare_first=bool(number % 2)))
            data = _read(Path(folder) / "cache", surface)
        for size in authors:
            sparse[size].append(_dense_and_sparse(_with_authors(CATALOG[surface.feature_spec], size), surface, data, recipe, seed))
        on_progress(number + 1, len(seeds))
    names = ("examples_per_s", "loop_examples_per_s", "bare_step_examples_per_s", "ratio", "loop_ratio")
    return {
        "bench": "train",
        "machine": {**machine(), "torch": torch.__version__},
        "commit": commit(),
        "config": {
            "impressions": impressions,
            "batch_size": recipe.batch_size,
            "epochs": recipe.epochs,
            "negatives": recipe.objectives[0].negatives.per_positive,
            "threads": 1,
            "time": "CPU",
        },
        "seed_list": list(seeds),
        **{name: median(row[name] for row in rows) for name in names},
        **{f"{name}_range": [min(row[name] for row in rows), max(row[name] for row in rows)] for name in ("ratio", "loop_ratio")},
        "first_use_s": first_use_s,
        "per_seed": rows,
        "sparse_vs_dense": [_compared(surface, size, found) for size, found in sparse.items()],
    }


def _warm_up(spec: FeatureSpec) -> None:
    """Step once on padding: torch imports and builds what it needs at its first backward pass and optimiser."""
    candidates = torch.zeros((2, spec.candidate_width), dtype=torch.int32)
    nothing = Batch(torch.zeros((2, spec.query_width), dtype=torch.int32), candidates, candidates, torch.ones((2, 2)))
    BareStep(TwoTowers(spec, TowerConfig(), seed=0), scale=1.0, bias=0.0, learning_rate=1e-3)(nothing)


def _loop_and_bare(cache: Path, surface: Surface, recipe: PretrainConfig, seed: int, *, bare_first: bool) -> dict[str, Any]:
    spec = CATALOG[surface.feature_spec]
    config = FitConfig(recipe.objectives, recipe.learning_rate, recipe.epochs, recipe.batch_size, recipe.min_steps, seed)
    towers = replace(recipe.towers, dim=surface.dim)

    def product() -> tuple[float, float, int]:
        begin = time.process_time()
        examples, corpus = _encoded(spec, surface, _read(cache, surface))
        fresh = TwoTowers(spec, towers, seed=seed)
        read_s = time.process_time() - begin
        begin = time.process_time()
        report = fit(fresh, examples, corpus, config)
        return read_s, time.process_time() - begin, report.examples

    def bare() -> float:
        fresh = TwoTowers(spec, towers, seed=seed)
        batches, bias = prepared(fresh, *_encoded(spec, surface, _read(cache, surface)), config)
        step = BareStep(fresh, scale=recipe.objectives[0].scale, bias=bias, learning_rate=recipe.learning_rate)
        return _cpu_s(step, batches)

    bare_s = bare() if bare_first else 0.0
    read_s, loop_s, seen = product()
    bare_s = bare_s or bare()
    return {
        "seed": seed,
        "examples": seen,
        "read_s": read_s,
        "loop_s": loop_s,
        "bare_s": bare_s,
        "examples_per_s": seen / (read_s + loop_s),
        "loop_examples_per_s": seen / loop_s,
        "bare_step_examples_per_s": seen / bare_s,
        "ratio": bare_s / (read_s + loop_s),
        "loop_ratio": bare_s / loop_s,
    }


def _dense_and_sparse(
    spec: FeatureSpec, surface: Surface, data: TrainingData, recipe: PretrainConfig, seed: int
) -> tuple[float, float]:
    """Return milliseconds a step with dense and with sparse gradients; the two take turns, batch by batch."""
    examples, corpus = _encoded(spec, surface, data)
    config = FitConfig(recipe.objectives, recipe.learning_rate, 1, recipe.batch_size, _SPARSE_STEPS, seed)
    steps = []
    for sparse in (False, True):
        towers = TwoTowers(spec, replace(recipe.towers, dim=surface.dim, sparse_gradients=sparse), seed=seed)
        batches, bias = prepared(towers, examples, corpus, config)
        steps.append(BareStep(towers, scale=recipe.objectives[0].scale, bias=bias, learning_rate=recipe.learning_rate))
        # the optimisers make their state at the first step
        steps[-1](batches[0])
    dense, sparse_ = zip(*([_cpu_s(step, [batch]) for step in steps] for batch in batches), strict=True)
    return 1e3 * median(dense), 1e3 * median(sparse_)


def _compared(surface: Surface, size: int, found: list[tuple[float, float]]) -> dict[str, Any]:
    spec = _with_authors(CATALOG[surface.feature_spec], size)
    ratios = [dense / sparse for dense, sparse in found]
    return {
        "authors": size,
        "rows": 1 + sum(spec.tables().values()),
        "embedding_dim": TowerConfig().embedding_dim,
        "dense_ms": median(dense for dense, _ in found),
        "sparse_ms": median(sparse for _, sparse in found),
        "dense_over_sparse": median(ratios),
        "dense_over_sparse_range": [min(ratios), max(ratios)],
    }


def _cpu_s(step: Callable[[Batch], None], batches: Sequence[Batch]) -> float:
    begin = time.process_time()
    for batch in batches:
        step(batch)
    return time.process_time() - begin


def _batch(rows: NDArray[np.int64], sampler: Sampler, rng: np.random.Generator, examples: Examples) -> Batch:
    draw = sampler.draw(rows, rng)
    return Batch(
        torch.from_numpy(examples.queries.ids[examples.query[rows]]),
        torch.from_numpy(examples.candidate_ids[rows]),
        torch.from_numpy(draw.candidate_ids),
        torch.from_numpy(draw.valid).to(torch.float32),
    )


def _keep(cache: Path, surface: Surface, seed: int, impressions: int) -> None:
    data = shown(surface, seed, impressions=impressions)
    logged = tuple(LoggedExample(0, offset, example) for offset, example in enumerate((*data.train, *data.evaluation)))
    write_cache(cache, surface.name, Window(logged, {0: (0, len(logged))}), CorpusAt(data.corpus))


def _read(cache: Path, surface: Surface) -> TrainingData:
    return TrainingData.of_window(*read_cache(cache, surface.name))


def _encoded(spec: FeatureSpec, surface: Surface, data: TrainingData) -> tuple[Examples, Corpus]:
    encoder = Encoder(spec, surface.popularity)
    return encoder.examples(data.train), encoder.corpus(data.corpus)


def _with_authors(spec: FeatureSpec, buckets: int) -> FeatureSpec:
    def sized(fields: tuple[Field, ...]) -> tuple[Field, ...]:
        return tuple(replace(field, buckets=buckets) if field.table_name == "author" else field for field in fields)

    return replace(spec, query=sized(spec.query), candidate=sized(spec.candidate))
