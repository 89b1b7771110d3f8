"""What the trainer's tests share: one thread for torch, and a tiny world encoded once."""

from dataclasses import dataclass

import pytest
import torch

from schemas.features.catalog import TWEET
from tests.tiny_world import TinyWorld, tiny_world
from trainer.data.columns import Corpus, Encoder, Examples
from trainer.learning.towers import TowerConfig


@dataclass(frozen=True)
class Encoded:
    """A tiny world as columns: the first four fifths to train on, the rest to evaluate."""

    world: TinyWorld
    train: Examples
    evaluation: Examples
    corpus: Corpus


def encoded(world: TinyWorld) -> Encoded:
    """Return a tiny world, encoded."""
    encoder = Encoder(TWEET)
    cut = len(world.examples) * 4 // 5
    return Encoded(
        world, encoder.examples(world.examples[:cut]), encoder.examples(world.examples[cut:]), encoder.corpus(world.corpus)
    )


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Two cores are shared with whatever else runs."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def small() -> Encoded:
    """A world just large enough to step on."""
    return encoded(tiny_world(users=60, tweets=200, impressions=1_000))


@pytest.fixture(scope="session")
def small_towers() -> TowerConfig:
    """Towers that train in no time."""
    return TowerConfig(dim=32, embedding_dim=8, hidden=(32,))
