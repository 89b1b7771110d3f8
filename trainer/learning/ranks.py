"""Processes that fit one pair of towers together, as torchrun starts them. Knows no loss.

All draw the same batches and negatives from the same seeds. Each embeds its share of a batch, all gather the vectors, and each
computes the whole loss, scale and bias included: negatives of the batch are those of the whole one, and no loss knows of processes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.distributed as dist
import torch.nn.functional as F  # noqa: N812  the name every torch reader knows
from torch import Tensor

from schemas.errors import Refused
from trainer.learning.towers import TwoTowers

T = TypeVar("T")


@contextmanager
def together() -> Iterator[None]:
    """Meet the other processes that torchrun started, over gloo; nothing where it did not start this one."""
    if not dist.is_torchelastic_launched():
        yield
        return
    dist.init_process_group("gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def processes() -> int:
    """Return how many there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def leads() -> bool:
    """Whether this is the one that writes and shows."""
    return not dist.is_initialized() or dist.get_rank() == 0


def on_leader(work: Callable[[], T]) -> T:
    """Do what must be done once, and return what came of it in each process; raises the leader's `Refused` in each."""
    if processes() == 1:
        return work()
    told: list[tuple[T | None, str]] = [(None, "")]
    refusal: Refused | None = None
    if leads():
        try:
            told = [(work(), "")]
        except Refused as error:
            refusal, told = error, [(None, str(error))]
    dist.broadcast_object_list(told, src=0)
    result, sentence = told[0]
    if sentence:
        raise refusal or Refused(sentence)
    return result  # type: ignore[return-value]  # None only where it is what the work returned


class SharedTowers:
    """The towers as a loss sees them: it hands over a whole batch and gets its vectors, of which this process embeds its share."""

    def __init__(self, towers: TwoTowers) -> None:
        """Wrap towers whose weights are the same in all processes."""
        self._towers = towers
        self.config = towers.config

    def embed_queries(self, ids: Tensor) -> Tensor:
        """Return vectors, float32 [batch, dim], of query ids, integers [batch, query width]."""
        return _shared(self._towers.embed_queries, ids)

    def embed_candidates(self, ids: Tensor) -> Tensor:
        """Return vectors, float32 [batch, dim], of candidate ids, integers [batch, candidate width]."""
        return _shared(self._towers.embed_candidates, ids)

    def add_up_gradients(self) -> None:
        """After the backward pass: each process has the gradient through its own rows' vectors, and the sum is the batch's."""
        for weights in self._towers.parameters():
            if weights.grad is not None:
                gradient = weights.grad.coalesce() if weights.grad.is_sparse else weights.grad
                dist.all_reduce(gradient)
                weights.grad = gradient


def _shared(embed: Callable[[Tensor], Tensor], ids: Tensor) -> Tensor:
    count, rank = dist.get_world_size(), dist.get_rank()
    share = -(-len(ids) // count)
    # all shares are of one size: rows of padding at the end, whose vectors nobody gets
    padded = F.pad(ids, (0, 0, 0, share * count - len(ids)))
    own = embed(padded[rank * share : (rank + 1) * share])
    parts = [torch.empty_like(own) for _ in range(count)]
    dist.all_gather(parts, own.detach())
    # the one through which this process's gradient flows; the others' flow through theirs
    parts[rank] = own
    return torch.cat(parts)[: len(ids)]
