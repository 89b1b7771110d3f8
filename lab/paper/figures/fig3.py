"""Figure 3 of the paper: what training on biased data does (section 3.4), on MovieLens-100K. Knows no tower and no world.

All ratings are positives, as many random pairs are negatives. A model of all of it scores every pair; then only pairs it scores
above tau are kept, as if it had ranked what was served, and a second model is trained on those. The paper splits by user and feeds
"user and movie embeddings": a user of the test has no trained embedding, so here a user is age, gender and occupation.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, embedding

from lab.observed.columns import Columns
from lab.paper.intervals import seeds_range
from lab.replay.movielens import NAME, MovieLens
from trainer.metrics import roc_auc

TAUS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_TRAIN_SHARE = 0.8
_AGE_YEARS = 5
_FIELDS = 4


@dataclass(frozen=True, slots=True)
class Fig3Settings:
    """How the classifiers are trained; the paper says "an MLP classifier" and no more."""

    taus: tuple[float, ...] = TAUS
    embedding_dim: int = 16
    hidden: int = 64
    learning_rate: float = 3e-3
    epochs: int = 4
    batch_size: int = 1_024


@dataclass(frozen=True)
class Pairs(Columns):
    """Pairs of a user and a film: `ids` int64 [n, 4] (age band, gender, occupation, film), `positive` bool [n]."""

    ids: NDArray[np.int64]
    positive: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Parted:
    """Pairs of four in five users, those of the others, and how many ids each of the four fields has."""

    train: Pairs
    test: Pairs
    sizes: tuple[int, ...]


class Row(TypedDict):
    """One tau: accuracy and AUC of the model of biased data, on the biased test pairs and on all; None where one class is left."""

    tau: float
    biased_accuracy: float | None
    biased_auc: float | None
    full_accuracy: float | None
    full_auc: float | None
    kept_share: float
    kept_positive_share: float | None
    ci: dict[str, list[float] | None]


class Baseline(TypedDict):
    """The model of all training pairs on all test pairs: the paper's dotted line."""

    accuracy: float
    auc: float


class Figure(TypedDict):
    """`rows` are means over the seeds, their intervals from the lowest seed to the highest; None of one seed."""

    dataset: str
    seeds: list[int]
    baseline: Baseline
    rows: list[Row]
    per_seed: list[list[Row]]


_FIGURES = ("biased_accuracy", "biased_auc", "full_accuracy", "full_auc", "kept_share", "kept_positive_share")

# told: the seed, and the tau under way
OnProgress = Callable[[int, float], None]


def fig3(
    seeds: Sequence[int], data: MovieLens, settings: Fig3Settings | None = None, *, on_progress: OnProgress = lambda _s, _t: None
) -> Figure:
    """Run the experiment; seeds differ in the split by user, the random pairs and the training."""
    how = settings or Fig3Settings()
    baselines, per_seed = [], []
    for seed in seeds:
        parted = pairs(data, seed=seed)
        unbiased = Classifier.trained(parted.train, parted.sizes, how, seed=seed)
        scores = unbiased.scores(parted.test.ids)
        baselines.append(Baseline(accuracy=accuracy(scores, parted.test.positive), auc=roc_auc(scores, parted.test.positive)))
        rows = []
        for tau in how.taus:
            on_progress(seed, tau)
            rows.append(_row(tau, unbiased, parted, how, seed=seed))
        per_seed.append(rows)
    return Figure(
        dataset=NAME,
        seeds=list(seeds),
        baseline=Baseline(
            accuracy=float(np.mean([one["accuracy"] for one in baselines])), auc=float(np.mean([one["auc"] for one in baselines]))
        ),
        rows=[_mean(of_tau) for of_tau in zip(*per_seed, strict=True)],
        per_seed=per_seed,
    )


def pairs(data: MovieLens, *, seed: int) -> Parted:
    """Return the pairs, split by user; the random ones may hold films the user rated, as in the paper."""
    rng = np.random.default_rng(seed)
    people, movies = sorted(data.people), sorted(data.movies)
    occupations = {name: n for n, name in enumerate(sorted({person.occupation for person in data.people.values()}))}
    genders = {name: n for n, name in enumerate(sorted({person.gender for person in data.people.values()}))}
    of_person = np.array(
        [
            (min(data.people[p].age, 99) // _AGE_YEARS, genders[data.people[p].gender], occupations[data.people[p].occupation])
            for p in people
        ],
        np.int64,
    )
    person_row = {person: row for row, person in enumerate(people)}
    movie_row = {movie: row for row, movie in enumerate(movies)}
    rated = np.array([(person_row[r.person_id], movie_row[r.movie_id]) for r in data.ratings], np.int64)
    drawn = np.stack([rng.integers(len(people), size=len(rated)), rng.integers(len(movies), size=len(rated))], axis=1)
    both = np.concatenate([rated, drawn])
    whole = Pairs(np.concatenate([of_person[both[:, 0]], both[:, 1:]], axis=1), np.arange(len(both)) < len(rated))
    trained_on = np.zeros(len(people), np.bool_)
    trained_on[rng.permutation(len(people))[: round(_TRAIN_SHARE * len(people))]] = True
    of_train = trained_on[both[:, 0]]
    sizes = (100 // _AGE_YEARS, len(genders), len(occupations), len(movies))
    return Parted(whole.take(of_train), whole.take(~of_train), sizes)


def accuracy(scores: NDArray[np.float32], positive: NDArray[np.bool_]) -> float:
    """Return the share of pairs on the right side of a probability of one half; NaN without pairs."""
    return float(((scores > 0.5) == positive).mean()) if len(scores) else float("nan")


class Classifier(nn.Module):
    """Embeddings of user and film, concatenated, through one hidden layer to a probability."""

    def __init__(self, sizes: Sequence[int], settings: Fig3Settings, *, seed: int) -> None:
        """Draw the weights; `sizes` are the numbers of ids of each field."""
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        width = settings.embedding_dim * _FIELDS
        self.starts = torch.tensor([0, *np.cumsum(sizes)[:-1].tolist()])
        self.table = nn.Parameter(0.1 * torch.randn(sum(sizes), settings.embedding_dim, generator=generator))
        self.hidden = nn.Parameter(torch.randn(width, settings.hidden, generator=generator) / width**0.5)
        self.hidden_bias = nn.Parameter(torch.zeros(settings.hidden))
        self.out = nn.Parameter(torch.randn(settings.hidden, generator=generator) / settings.hidden**0.5)
        self.bias = nn.Parameter(torch.zeros(()))

    @classmethod
    def trained(cls, train: Pairs, sizes: Sequence[int], settings: Fig3Settings, *, seed: int) -> "Classifier":
        """Return a classifier trained on pairs; without any it stays as it was drawn."""
        rng = np.random.default_rng(seed)
        model = cls(sizes, settings, seed=seed)
        optimiser = torch.optim.Adam(model.parameters(), settings.learning_rate)
        labels = train.positive.astype(np.float32)
        for _ in range(settings.epochs):
            order = rng.permutation(len(train))
            for start in range(0, len(order), settings.batch_size):
                rows = order[start : start + settings.batch_size]
                loss = binary_cross_entropy_with_logits(model(torch.from_numpy(train.ids[rows])), torch.from_numpy(labels[rows]))
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
        return model

    def forward(self, ids: Tensor) -> Tensor:
        """Return logits, float32 [n], of ids, int64 [n, 4]."""
        inputs = embedding(ids + self.starts, self.table).flatten(1)
        logits: Tensor = torch.relu(inputs @ self.hidden + self.hidden_bias) @ self.out + self.bias
        return logits

    @torch.no_grad()
    def scores(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return probabilities, float32 [n]."""
        found: NDArray[np.float32] = torch.sigmoid(self(torch.from_numpy(ids))).numpy()
        return found


def _row(tau: float, unbiased: Classifier, parted: Parted, settings: Fig3Settings, *, seed: int) -> Row:
    kept_train = parted.train.take(unbiased.scores(parted.train.ids) > tau)
    kept_test = parted.test.take(unbiased.scores(parted.test.ids) > tau)
    model = Classifier.trained(kept_train, parted.sizes, settings, seed=seed + 1)
    on_kept, on_all = model.scores(kept_test.ids), model.scores(parted.test.ids)
    figures = {
        "biased_accuracy": accuracy(on_kept, kept_test.positive),
        "biased_auc": roc_auc(on_kept, kept_test.positive),
        "full_accuracy": accuracy(on_all, parted.test.positive),
        "full_auc": roc_auc(on_all, parted.test.positive),
        "kept_share": len(kept_train) / max(len(parted.train), 1),
        "kept_positive_share": float(kept_train.positive.mean()) if len(kept_train) else float("nan"),
    }
    return _typed(tau, {name: value if np.isfinite(value) else None for name, value in figures.items()}, {})


def _mean(of_tau: Sequence[Row]) -> Row:
    values = {name: [row[name] for row in of_tau if row[name] is not None] for name in _FIGURES}  # type: ignore[literal-required]
    return _typed(
        of_tau[0]["tau"],
        {name: float(np.mean(found)) if found else None for name, found in values.items()},
        {name: seeds_range(found) for name, found in values.items() if found},
    )


def _typed(tau: float, figures: dict[str, float | None], ci: dict[str, list[float] | None]) -> Row:
    row: Row = {"tau": tau, **figures, "ci": ci}  # type: ignore[typeddict-item]
    return row
