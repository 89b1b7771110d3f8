"""What TensorBoard shows of a training is what the training measured."""

import errno
import os
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from schemas.bundle import read_bundle
from schemas.errors import Refused
from schemas.surfaces import load_surfaces
from tests.tiny_world import tiny_world
from trainer.gates import GateLimits
from trainer.learning.fit import FitProgress
from trainer.learning.towers import TowerConfig
from trainer.recipes import FinetuneConfig, PretrainConfig, finetune, pretrain
from trainer.scalars import scalars_in
from trainer.training import TrainingData

SURFACE = load_surfaces()["home-timeline"]
WORLD = tiny_world(users=100, tweets=200, impressions=2_400)
DATA = TrainingData(WORLD.examples[:1_900], WORLD.examples[1_900:], WORLD.corpus, {"0": (0, 1_900)})
QUICK = PretrainConfig(TowerConfig(embedding_dim=8, hidden=(32,)), min_steps=60)


def scalars_of(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Read a training's event files back: step and figure by tag."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    tags = events.Tags()["scalars"]
    return {tag: [(one.step, one.value) for one in events.Scalars(tag)] for tag in tags}


def test_a_trainings_event_files_hold_each_step_and_what_came_of_it(tmp_path: Path) -> None:
    """Every step's loss, the learning rate, the speed; the manifest's metrics and gates; and of a refused training, which gate."""
    seen: list[tuple[float, float]] = []
    registry, folder = tmp_path / "registry", tmp_path / "scalars"
    first = pretrain(
        SURFACE, DATA, QUICK, registry=registry, progress=lambda at: seen.append((at.loss, at.examples_per_s)), tensorboard=folder
    )
    manifest = read_bundle(registry, SURFACE.name, first).manifest
    (run,) = (folder / SURFACE.name).glob("pretrain-*")
    scalars = scalars_of(run)
    steps = int(manifest.metrics["steps"])
    assert [step for step, _ in scalars["fit/loss"]] == list(range(1, steps + 1))
    assert scalars["fit/loss"][-1][1] == pytest.approx(seen[-1][0])
    assert [value for _, value in scalars["fit/learning_rate"]] == pytest.approx([QUICK.learning_rate] * steps)
    assert scalars["fit/examples_per_s"][-1][1] == pytest.approx(seen[-1][1])
    for name in ("auc", "per_user_auc", "sampled_auc", "language_mismatch", "popularity_correlation"):
        ((step, value),) = scalars[f"validation/{name}"]
        assert step == steps
        assert value == pytest.approx(manifest.metrics[name])
    assert manifest.gates
    for gate in manifest.gates:
        for figure, expected in {"value": gate.value, "limit": gate.limit, "passed": 1.0}.items():
            ((step, value),) = scalars[f"gates/{gate.name}/{figure}"]
            assert step == steps
            assert value == pytest.approx(expected)

    with pytest.raises(Refused, match="auc"):
        finetune(SURFACE, first, DATA, FinetuneConfig(limits=GateLimits(min_auc=1.1)), registry=registry, tensorboard=folder)
    (refused,) = (folder / SURFACE.name).glob("fine-tune-*")
    assert 0.0 in {figures[-1][1] for tag, figures in scalars_of(refused).items() if tag.endswith("/passed")}


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorBoard's writer makes a folder of its own where it is given none."""
    monkeypatch.chdir(tmp_path)
    pretrain(SURFACE, DATA, QUICK, registry=tmp_path / "registry")
    assert [path.name for path in tmp_path.iterdir()] == ["registry"]


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`No space left on device` alone says not whether it is that of the bundles, of the states or of these figures."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(SummaryWriter, "add_scalar", full)
    with pytest.raises(OSError, match="No space left on device") as raised, scalars_in(tmp_path) as scalars:
        scalars.step(FitProgress(1, 2, 0.5, 10.0, 1.0), learning_rate=0.1)
    assert raised.value.filename == str(tmp_path)
