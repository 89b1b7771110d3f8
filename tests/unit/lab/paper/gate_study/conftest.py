"""One small world, played to the evening on which its candidates are trained."""

import pytest

from lab.paper.continual.study import ContinualSettings
from lab.paper.gate_study.scene import Scene, scene
from lab.world import WorldSettings
from trainer.learning.towers import TowerConfig

BASE = ContinualSettings(
    world=WorldSettings(users=150, authors=40, tweets_per_day=250, languages=4, willing_mean=1.0),
    warm_up_days=1,
    pretrain_days=1,
    finetune_days=1,
    test_users=40,
    towers=TowerConfig(dim=32, embedding_dim=8, hidden=(32,)),
)


@pytest.fixture(scope="session")
def base() -> ContinualSettings:
    """Settings of seconds."""
    return BASE


@pytest.fixture(scope="session")
def stage() -> Scene:
    """The evening of seed 3."""
    return scene(3, BASE)
