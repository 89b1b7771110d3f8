"""A fit that is cut off goes on to the weights it would have had; a state that is not its own, or not whole, is not taken up."""

import errno
import hashlib
import io
import os
import pickle
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from schemas.errors import Refused
from schemas.features.catalog import TWEET
from tests.cut_off import CutOff, Cutting
from tests.unit.trainer.conftest import Encoded
from trainer.learning.checkpoint import STATE, Checkpoint
from trainer.learning.fit import FitConfig, FitReport, fit
from trainer.learning.negatives import Negatives
from trainer.learning.objectives import Objective
from trainer.learning.towers import TowerConfig, TwoTowers

ASKED = hashlib.sha256(b"a training").hexdigest()
MIXED = Objective("sampled_softmax", Negatives("mixed", 8, {"uniform": 0.5, "in_batch": 0.5}), popularity_t=20.0)
CONFIGS = {
    "pre-training": FitConfig((Objective(negatives=Negatives("uniform", 8)), MIXED), 3e-3, epochs=3, batch_size=32, seed=5),
    "fine-tuning": FitConfig(
        (Objective(negatives=Negatives("implicit")), Objective("triplet", Negatives("implicit", 4), weight=0.5)),
        3e-4,
        epochs=2,
        batch_size=64,
        frozen="embeddings",
    ),
}


def slot(tmp_path: Path, kind: type[Checkpoint] = Checkpoint, *, inputs: str = "these") -> Checkpoint:
    """Return a checkpoint that keeps the state after every step."""
    return kind.at(tmp_path, ASKED, every_s=0.0).of_inputs(inputs)


def trained(
    small: Encoded, shape: TowerConfig, config: FitConfig, checkpoint: Checkpoint | None = None
) -> tuple[dict[str, Any], FitReport]:
    """Fit fresh towers; return their weights and the report."""
    towers = TwoTowers(TWEET, shape, seed=1)
    report = fit(towers, small.train, small.corpus, config, checkpoint=checkpoint)
    return towers.weights(), report


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("recipe", CONFIGS)
def test_a_fit_that_was_cut_off_twice_ends_at_the_same_bytes(
    recipe: str, small: Encoded, small_towers: TowerConfig, tmp_path: Path, *, sparse: bool
) -> None:
    """Weights, optimisers, the order of a round and the place in it, generators: one that was lost would show in the last bits."""
    shape, config = replace(small_towers, sparse_gradients=sparse), CONFIGS[recipe]
    expected, whole = trained(small, shape, config)
    for steps in (1, whole.steps // 2):
        Cutting.left = steps
        with pytest.raises(CutOff):
            trained(small, shape, config, slot(tmp_path, Cutting))
    progress: list[int] = []
    towers = TwoTowers(TWEET, shape, seed=1)
    report = fit(towers, small.train, small.corpus, config, progress=lambda at: progress.append(at.step), checkpoint=slot(tmp_path))
    assert progress[0] > 1 + whole.steps // 2, "it began anew"
    assert (report.steps, report.examples, report.loss) == (whole.steps, whole.examples, whole.loss)
    for name, weights in towers.weights().items():
        assert weights.tobytes() == expected[name].tobytes(), name


def test_a_state_of_other_data_is_not_gone_on_with(
    small: Encoded, small_towers: TowerConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Half of the steps on one window and half on another are the weights of neither."""
    config = CONFIGS["pre-training"]
    Cutting.left = 5
    with pytest.raises(CutOff):
        trained(small, small_towers, config, slot(tmp_path, Cutting, inputs="others"))
    weights, _ = trained(small, small_towers, config, slot(tmp_path))
    assert "was of other data; this one begins anew" in caplog.text
    expected, _ = trained(small, small_towers, config)
    np.testing.assert_equal(weights, expected)


@pytest.mark.parametrize("damage", ["torn", "flipped", "empty"])
def test_a_torn_or_flipped_state_is_said_and_not_read(damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Torch reads a flipped weight in silence."""
    slot(tmp_path).save({"towers": {"table": torch.ones(100)}})
    assert slot(tmp_path).load() is not None
    path = slot(tmp_path).folder / STATE
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes({"torn": path.read_bytes()[:-100], "flipped": bytes(content), "empty": b""}[damage])
    assert not slot(tmp_path).exists()
    assert slot(tmp_path).load() is None
    assert "its bytes are not those that were written); the training begins anew" in caplog.text


def test_a_state_is_read_once_between_the_look_and_the_fit(tmp_path: Path) -> None:
    """Towers of gigabytes are read and verified in seconds; nor may somebody else's write get between the two."""
    slot(tmp_path).save({"step": 1})
    checkpoint = slot(tmp_path)
    assert checkpoint.exists()
    (checkpoint.folder / STATE).unlink()
    assert checkpoint.of_inputs("these").load() == {"step": 1}
    assert checkpoint.load() is None, "it is let go of with the fit that takes it"


@pytest.mark.parametrize("key", ["format", "asked"])
def test_a_state_of_another_release_or_training_is_said_and_not_read(
    key: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder that was copied to another's name, or left by a release that wrote states otherwise."""
    held = {"format": 1, "asked": ASKED, "inputs": "these", "state": {}} | {key: 0}
    _write(slot(tmp_path), held)
    assert slot(tmp_path).load() is None
    assert "another training's, or another release's" in caplog.text


def test_a_state_that_carries_code_is_not_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever can write a folder should not thereby run as the trainer."""
    _write(slot(tmp_path), _Touching(tmp_path / "ran"))
    assert slot(tmp_path).load() is None
    assert "the training begins anew" in caplog.text
    assert not (tmp_path / "ran").exists()


def test_a_crash_while_a_state_is_written_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state every half minute is written over the last one's name; between the two there must always be one."""
    slot(tmp_path).save({"step": 1})

    def crash(_: int) -> None:
        raise CutOff

    monkeypatch.setattr(os, "fsync", crash)
    with pytest.raises(CutOff):
        slot(tmp_path).save({"step": 2})
    assert slot(tmp_path).load() == {"step": 1}


def test_a_full_disk_is_named_and_costs_neither_the_state_before_nor_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`No space left on device` alone says not which; and each try left as large a file behind as had found room."""
    slot(tmp_path).save({"step": 1})
    before = sorted(tmp_path.rglob("*"))

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device") as raised:
        slot(tmp_path).save({"step": 2})
    assert raised.value.filename == str(slot(tmp_path).folder / STATE)
    assert sorted(tmp_path.rglob("*")) == before
    assert slot(tmp_path).load() == {"step": 1}


def test_it_is_gone_after_a_bundle_or_a_refusal_and_stays_after_anything_else(tmp_path: Path) -> None:
    """A refused training that was gone on with would be refused once more; one that was stopped is to be gone on with."""
    for error, stays in ((None, False), (Refused("by a gate"), False), (KeyboardInterrupt(), True), (OSError("disk full"), True)):
        slot(tmp_path).save({})
        try:
            with slot(tmp_path).until_ended():
                if error is not None:
                    raise error
        except (Refused, KeyboardInterrupt, OSError):
            pass
        assert slot(tmp_path).exists() == stays, error


def test_data_are_kept_before_the_first_state_and_only_then(tmp_path: Path) -> None:
    """A training of seconds writes nothing; a state without its data could not be gone on from once the topics have moved on."""
    kept: list[bool] = []

    def keep(folder: Path) -> None:
        kept.append(slot(tmp_path).exists())
        folder.mkdir()

    checkpoint = replace(slot(tmp_path), keep_data=keep)
    assert not checkpoint.folder.exists()
    checkpoint.save({})
    checkpoint.save({})
    assert kept == [False]


def test_a_training_that_ends_while_another_one_begins_does_not_end_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of processes that train together one removed what was a week old while the next looked how old it was."""
    other = Checkpoint.at(tmp_path, hashlib.sha256(b"another training").hexdigest(), every_s=0.0)
    other.save({})
    looked = Path.is_dir

    def look(path: Path) -> bool:
        found = looked(path)
        if path == other.folder:
            other.remove()
        return found

    monkeypatch.setattr(Path, "is_dir", look)
    assert not slot(tmp_path).exists()


def test_what_nobody_went_on_with_is_named_and_after_a_week_removed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It holds what users were shown. Until then it may be wanted: by the release that wrote it, say."""
    other = Checkpoint.at(tmp_path, "b" * 64, every_s=0.0)
    other.save({})
    slot(tmp_path)
    assert f"{other.folder} holds a training with other options, code or torch" in caplog.text
    old_s = time.time() - 8 * 86_400
    os.utime(other.folder, (old_s, old_s))
    slot(tmp_path)
    assert not other.folder.exists()


class _Touching:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


def _write(checkpoint: Checkpoint, held: Any) -> None:
    buffer = io.BytesIO()
    torch.save(held, buffer, pickle_module=pickle)
    checkpoint.folder.mkdir(parents=True)
    (checkpoint.folder / STATE).write_bytes(hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue())
