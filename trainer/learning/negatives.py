"""Where negatives come from, as named options (paper, sections 3.3, 5.1 and 5.3). Computes no loss and embeds nothing.

    uniform     every candidate of the corpus equally often
    frequency   as often as it was served: a row of the served traffic, uniformly
    in_batch    the positives of the batch's other queries
    implicit    what the same user was served and did not engage with
    mixed       shares of uniform, frequency and in_batch

All but `implicit` are drawn once a batch and set against each of its queries: R negatives for each positive cost R candidate
embeddings a batch, not R a positive, which is what makes thousands of them affordable.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from schemas.errors import Refused
from trainer.data.columns import IMPLICIT_NEGATIVE, Corpus, Examples

Kind = Literal["uniform", "frequency", "in_batch", "implicit", "mixed"]
Source = Literal["uniform", "frequency", "in_batch"]


@dataclass(frozen=True, slots=True)
class Negatives:
    """Which negatives, and how many.

    Attributes:
        per_positive: negatives each positive is set against; `in_batch` alone takes all others of the batch.
        mix: for `mixed`, each source's share of `per_positive`; shares sum to 1, and each is of one negative at least.
    """

    kind: Kind = "uniform"
    per_positive: int = 256
    mix: Mapping[Source, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn, with `ValueError`."""
        if self.kind not in get_args(Kind):
            raise ValueError(f"there are no {self.kind!r} negatives; choose one of {', '.join(get_args(Kind))}")
        if not 1 <= self.per_positive <= 4_000:
            raise ValueError(f"{self.per_positive} negatives for each positive; choose 1 to 4,000")
        if (self.kind == "mixed") != bool(self.mix):
            raise ValueError("shares (mix) are needed by, and only by, mixed negatives")
        if unknown := self.mix.keys() - set(get_args(Source)):
            raise ValueError(
                f"negatives are not mixed from {', '.join(sorted(unknown))}; choose from {', '.join(get_args(Source))}"
            )
        if self.mix and (abs(sum(self.mix.values()) - 1.0) > 1e-6 or min(self.mix.values()) <= 0.0):
            raise ValueError(f"the shares of mixed negatives must be positive and sum to 1, not {dict(self.mix)}")
        if none := [source for source, count in self.counts.items() if not count]:
            raise ValueError(
                f"of {self.per_positive} negatives the share of {', '.join(none)} is none; raise per_positive or the share"
            )

    @property
    def shares(self) -> Mapping[Source, float]:
        """Each source's share of the shared negatives; empty for implicit ones."""
        if self.kind == "mixed":
            # in one order, whatever order they were written in: they are drawn one after the other from one generator
            return dict(sorted(self.mix.items()))
        return {} if self.kind == "implicit" else {self.kind: 1.0}

    @property
    def counts(self) -> Mapping[Source, int]:
        """How many of `per_positive` each source gives; together they are all of them."""
        # differences of rounded sums: shares rounded one by one need not add up
        ends = [round(self.per_positive * share) for share in accumulate(self.shares.values())]
        return dict(zip(self.shares, (end - begin for begin, end in pairwise([0, *ends])), strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """The negatives of one batch.

    Attributes:
        shared: every row is a negative of every query; else rows [i * R, (i + 1) * R) are those of query i.
        candidate_ids: int32 [rows, candidate width].
        popularity: int64 [rows].
        log_q: float32 [rows], see `Sampler.log_q`.
        valid: bool [batch, R]: false where the negative is the query's own candidate, or none could be found.
    """

    shared: bool
    candidate_ids: NDArray[np.int32]
    popularity: NDArray[np.int64]
    log_q: NDArray[np.float32]
    valid: NDArray[np.bool_]


class Sampler:
    """Draws negatives for batches of positives."""

    def __init__(self, negatives: Negatives, examples: Examples, corpus: Corpus) -> None:
        """Prepare to draw.

        Raises:
            Refused: the corpus, the served traffic or the implicit negatives that the option draws from are empty.
        """
        self._negatives = negatives
        self._examples = examples
        self._corpus = corpus
        shares = negatives.shares
        if shares.get("uniform") and not len(corpus):
            raise Refused("uniform negatives need candidates in the corpus, and it is empty; wait for candidates or name in_batch")
        if shares.get("frequency") and not len(examples):
            raise Refused("frequency negatives need served examples, and there are none; wait for examples or name uniform")
        if negatives.kind == "implicit":
            self._by_user = _implicit_rows_by_user(examples)
        self._log_q = np.log(self._probabilities(shares)).astype(np.float32)

    def log_q(self, items: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return the logarithm of the probability with which one draw yields each item.

        It is 0 of all items where negatives are implicit: what a user was served is no draw from items, and nothing is corrected.
        """
        return self._log_q[items]

    def draw(self, positives: NDArray[np.int64], rng: np.random.Generator) -> Draw:
        """Draw negatives for the examples at rows `positives`."""
        if self._negatives.kind == "implicit":
            return self._draw_implicit(positives, rng)
        parts = [self._draw_source(source, count, positives, rng) for source, count in self._negatives.counts.items()]
        ids, items, popularity = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        return Draw(
            shared=True,
            candidate_ids=ids,
            popularity=popularity,
            log_q=self.log_q(items),
            valid=self._examples.items[positives][:, None] != items[None, :],
        )

    def _draw_source(
        self, source: Source, count: int, positives: NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
        if source == "uniform":
            rows = rng.integers(len(self._corpus), size=count)
            return self._corpus.candidate_ids[rows], self._corpus.items[rows], self._corpus.popularity[rows]
        if source == "frequency":
            rows = rng.integers(len(self._examples), size=count)
        else:
            rows = positives if self._negatives.kind == "in_batch" else rng.choice(positives, size=count)
        return self._examples.candidate_ids[rows], self._examples.items[rows], self._examples.popularity[rows]

    def _draw_implicit(self, positives: NDArray[np.int64], rng: np.random.Generator) -> Draw:
        per_positive = self._negatives.per_positive
        users = self._examples.users[positives]
        order, first, count = self._by_user
        offsets = (rng.random((len(positives), per_positive)) * count[users][:, None]).astype(np.int64)
        # a user without implicit negatives: any row will do, marked as not valid
        rows = order[np.minimum(first[users][:, None] + offsets, len(order) - 1)].ravel()
        return Draw(
            shared=False,
            candidate_ids=self._examples.candidate_ids[rows],
            popularity=self._examples.popularity[rows],
            log_q=self.log_q(self._examples.items[rows]),
            valid=np.repeat(count[users][:, None] > 0, per_positive, axis=1),
        )

    def _probabilities(self, shares: Mapping[Source, float]) -> NDArray[np.float64]:
        items = 1 + int(max(self._examples.items.max(initial=-1), self._corpus.items.max(initial=-1)))
        if not shares:
            return np.ones(items)
        drawn_from = {
            "uniform": self._corpus.items,
            "frequency": self._examples.items,
            "in_batch": self._examples.items[self._examples.positives],
        }
        probability = np.zeros(items)
        for source, share in shares.items():
            counts = np.bincount(drawn_from[source], minlength=items)
            probability += share * counts / max(len(drawn_from[source]), 1)
        drawn = probability > 0
        # an item that is never drawn (served, but no longer in the corpus) counts as one drawn more rarely than any
        return np.where(drawn, probability, probability[drawn].min(initial=1.0) / 2)


def _implicit_rows_by_user(examples: Examples) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    rows = np.flatnonzero(examples.labels == IMPLICIT_NEGATIVE)
    if not len(rows):
        raise Refused("no implicit negative among the examples; wait until served candidates go without engagement")
    users = examples.users[rows]
    order = rows[np.argsort(users, kind="stable")]
    count = np.bincount(users, minlength=int(examples.queries.users.max()) + 1)
    return order, np.cumsum(count) - count, count
