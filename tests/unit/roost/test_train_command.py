"""`roost train pretrain` and `finetune`, on kept data: no broker is asked for anything."""

import errno
import json
import os
from pathlib import Path
from typing import Any, Self

import pytest

from roost import cli
from roost.cli import schedule
from schemas.bundle import list_bundles, read_bundle
from schemas.progress import OnProgress, untold
from schemas.records.control import CommandKind, Rollout, RolloutCommand
from schemas.rollout import nothing_yet
from schemas.surfaces import load_surfaces
from tests.tiny_world import START_MS, tiny_world
from trainer.data.cache import read_cache, write_cache
from trainer.data.windows import CorpusAt, LoggedExample, Window
from trainer.learning.ensemble_fit import EnsembleFit
from trainer.learning.fit import FitConfig
from trainer.learning.negatives import Negatives
from trainer.learning.objectives import Objective
from trainer.lineage import lineage_of
from trainer.reproduce import reproduce

HOME = "home-timeline"
WORLD = tiny_world(users=60, tweets=120, impressions=1_200)
# nothing of what a tiny world's towers are worth is asked
OPEN = {"MIN_AUC": "0", "MIN_SAMPLED_AUC": "0", "MAX_LANGUAGE_MISMATCH": "1", "MIN_POSITIVES": "1"}


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A folder of kept data."""
    logged = tuple(LoggedExample(n % 2, n // 2, example) for n, example in enumerate(WORLD.examples))
    corpus = CorpusAt(sorted(WORLD.corpus, key=lambda one: one.candidate_id), {0: 60, 1: 60}, START_MS)
    folder = tmp_path / "kept"
    write_cache(folder, HOME, Window(logged, {0: (0, 600), 1: (0, 600)}), corpus)
    return folder


def trained(command: str, *words: str, folder: Path) -> int:
    """Return the exit code of the command; its registry, and where it would keep a state, are under the folder."""
    places = ("--registry", str(folder / "registry"), "--data-dir", str(folder))
    return cli.run(["train", command, *words, *places, "--json"])


def test_a_bundle_of_the_papers_options_says_so_and_is_rebuilt_with_them(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An option that the lineage forgot would be rebuilt as another training, and called another bundle."""
    for name, value in OPEN.items():
        monkeypatch.setenv(f"ROOST_GATE_{name}", value)
    cache = ("--kept", str(kept), "--cache", str(tmp_path / "cache"))
    options = "--loss triplet --margin 0.2 --negatives mixed --mix uniform=0.5,in_batch=0.5 --ratio 8 --popularity-t 20"
    pace = "--learning-rate 0.002 --epochs 2 --batch-size 64 --min-steps 1 --sparse-gradients"
    assert trained("pretrain", *cache, *options.split(), *pace.split(), folder=tmp_path) == 0
    first = json.loads(capsys.readouterr().out)["id"]
    bundle = read_bundle(tmp_path / "registry", HOME, first)
    fit = lineage_of(bundle).fit
    assert isinstance(fit, FitConfig)
    mixed = Negatives("mixed", 8, {"uniform": 0.5, "in_batch": 0.5})
    assert fit.objectives == (Objective("triplet", mixed, margin=0.2, popularity_t=20.0),)
    assert (fit.learning_rate, fit.epochs, fit.batch_size, fit.min_steps) == (0.002, 2, 64, 1)
    assert json.loads(bundle.files["towers.json"])["sparse_gradients"] is True
    # what the environment says counts where no option is given
    monkeypatch.setenv("ROOST_FINETUNE_LOSS", "sampled_softmax")
    monkeypatch.setenv("ROOST_FINETUNE_EPOCHS", "7")
    words = ("--parent", first, "--negatives", "frequency", "--ratio", "4", "--epochs", "2", "--accept-window", "--replay", "0")
    assert trained("finetune", *cache, *words, folder=tmp_path) == 0
    second = json.loads(capsys.readouterr().out)["id"]
    fit = lineage_of(read_bundle(tmp_path / "registry", HOME, second)).fit
    assert isinstance(fit, FitConfig)
    assert (fit.objectives, fit.epochs) == ((Objective("sampled_softmax", Negatives("frequency", 4)),), 2)
    for made in (first, second):
        window, corpus = read_cache(tmp_path / "cache" / HOME / made, HOME)
        bundle = read_bundle(tmp_path / "registry", HOME, made)
        assert reproduce(load_surfaces()[HOME], bundle, window, corpus, registry=tmp_path / "registry").equal


def test_a_bundle_whose_data_are_kept_is_rebuilt_without_a_broker(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Years later the topics are gone; the command waited for a broker that it had nothing to ask."""
    for name, value in OPEN.items():
        monkeypatch.setenv(f"ROOST_GATE_{name}", value)
    cache = ("--cache", str(tmp_path / "cache"))
    assert trained("pretrain", "--kept", str(kept), *cache, "--epochs", "1", "--min-steps", "1", folder=tmp_path) == 0
    made = json.loads(capsys.readouterr().out)["id"]
    assert trained("reproduce", made, *cache, folder=tmp_path) == 0
    again = json.loads(capsys.readouterr().out)
    assert (again["equal"], again["data"]) == (True, str(tmp_path / "cache" / HOME / made))


@pytest.mark.usefixtures("impatient")
def test_what_is_wrong_with_a_cache_is_told_before_anything_is_trained(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that takes no data was found out after the training; one that is not there was passed over for a broker's topics."""
    for name, value in OPEN.items():
        monkeypatch.setenv(f"ROOST_GATE_{name}", value)
    # whoever asks for a broker fails
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("ROOST_BROKER_WAIT_S", "0.1")
    monkeypatch.setattr("roost.cli.target._BROKER_S", 0.0)
    (tmp_path / "file").write_bytes(b"")
    quick = ("--kept", str(kept), "--epochs", "1", "--min-steps", "1")
    assert trained("pretrain", *quick, "--cache", str(tmp_path / "file"), folder=tmp_path) == 1
    refused = f"no training's data can be kept in {tmp_path / 'file' / HOME} (Not a directory); name another folder"
    assert refused in capsys.readouterr().err
    assert list_bundles(tmp_path / "registry", HOME) == []
    monkeypatch.setenv("ROOST_TRAIN_CACHE", str(tmp_path / "file"))
    assert cli.run(["train", "schedule"]) == 1
    assert refused in capsys.readouterr().err
    monkeypatch.delenv("ROOST_TRAIN_CACHE")

    cache = tmp_path / "cache"
    assert trained("pretrain", *quick, "--cache", str(cache), folder=tmp_path) == 0
    made = json.loads(capsys.readouterr().out)["id"]
    assert trained("finetune", *quick[:2], "--parent", made, "--cache", str(tmp_path / "file"), folder=tmp_path) == 1
    assert refused in capsys.readouterr().err
    assert list_bundles(tmp_path / "registry", HOME) == [made]
    for missing in ("cahce", "file"):
        assert trained("reproduce", made, "--cache", str(tmp_path / missing), folder=tmp_path) == 1
        assert f"there is no folder {tmp_path / missing}; name the one" in capsys.readouterr().err
    # a folder of other bundles' data: the topics are asked, and the reader knows why
    assert trained("reproduce", made, "--cache", str(tmp_path), folder=tmp_path) == 1
    said = capsys.readouterr().err
    assert f"{tmp_path} holds no data of {made}: they are read from the topics" in said
    assert "no broker at 127.0.0.1:1" in said

    def never(*_: object, **__: object) -> None:
        raise AssertionError("it was trained on")

    monkeypatch.setattr("trainer.reproduce.fit", never)
    (cache / HOME / made / "examples.parquet").write_bytes(b"damaged")
    assert trained("reproduce", made, "--cache", str(cache), folder=tmp_path) == 1
    assert "differs from its SHA-256" in capsys.readouterr().err


class Sources:
    """Those of a topic of which half is read when they are asked for the window."""

    def __init__(self, *_: Any, on_progress: OnProgress = untold, **__: Any) -> None:
        """Connect to nothing."""
        self._on_progress = on_progress

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of nothing."""

    def rollout(self) -> Rollout:
        """See `TopicSources`."""
        return nothing_yet(HOME)

    def window(self, *_: Any, **__: Any) -> Window:
        """See `TopicSources`."""
        self._on_progress("examples", 600, 1_200)
        logged = tuple(LoggedExample(0, n, example) for n, example in enumerate(WORLD.examples))
        return Window(logged, {0: (0, len(logged))})

    def candidates(self, now_ms: int) -> CorpusAt:
        """See `TopicSources`."""
        return CorpusAt(WORLD.corpus, {0: 120}, now_ms)


def test_a_training_says_how_far_it_has_read_the_topics_and_then_how_far_its_towers_are_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the first step and behind the last a bar stood that did not move, minutes of a large topic or corpus."""
    for name, value in OPEN.items():
        monkeypatch.setenv(f"ROOST_GATE_{name}", value)
    monkeypatch.setattr("roost.cli.training.TopicSources", Sources)
    monkeypatch.setattr("roost.cli.train.broker_of", lambda *_: "")
    monkeypatch.setattr("roost.cli.reproduce.broker_of", lambda *_: "")
    reading = f"examples {'━' * 20}"
    assert trained("pretrain", "--accept-window", "--epochs", "1", "--min-steps", "1", folder=tmp_path) == 0
    told = capsys.readouterr()
    made = json.loads(told.out)["id"]
    assert reading in told.err
    (judged,) = (line for line in told.err.splitlines() if line.startswith("candidate tower"))
    assert " 120/120 " in judged

    assert trained("finetune", "--parent", made, "--accept-window", folder=tmp_path) == 0
    told = capsys.readouterr()
    assert reading in told.err

    def again(*_: object, on_progress: OnProgress, **__: object) -> tuple[Window, CorpusAt]:
        sources = Sources(on_progress=on_progress)
        return sources.window(), sources.candidates(START_MS)

    monkeypatch.setattr("roost.cli.training.read_again", again)
    trained("reproduce", made, folder=tmp_path)
    assert reading in capsys.readouterr().err


def test_an_ensemble_is_one_bundle_of_the_surfaces_dimension_and_is_rebuilt(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is served, fine-tuned and rebuilt as any other; a loss that its parts do not have is not left out in silence."""
    for name, value in OPEN.items():
        monkeypatch.setenv(f"ROOST_GATE_{name}", value)
    cache = ("--kept", str(kept), "--cache", str(tmp_path / "cache"))
    words = ("--weights", "implicit=0.75,random_in_batch=0.25", "--batch-size", "64", "--min-steps", "1")
    assert trained("ensemble", *cache, *words, folder=tmp_path) == 0
    made = json.loads(capsys.readouterr().out)["id"]
    bundle = read_bundle(tmp_path / "registry", HOME, made)
    fit = lineage_of(bundle).fit
    assert isinstance(fit, EnsembleFit)
    assert [(part.name, part.weight, part.fit.epochs) for part in fit.parts] == [
        ("implicit", 0.75, 4),
        ("random_in_batch", 0.25, 6),
    ]
    assert bundle.manifest.dim == load_surfaces()[HOME].dim
    window, corpus = read_cache(tmp_path / "cache" / HOME / made, HOME)
    again = reproduce(load_surfaces()[HOME], bundle, window, corpus, registry=tmp_path / "registry")
    assert again.equal
    assert set(again.hashes) == {"query.onnx", "candidate.onnx", "weights.npz"}
    tuning = ("--parent", made, "--accept-window", "--learning-rate", "0.0002")
    assert trained("finetune", *cache, *tuning, "--loss", "triplet", folder=tmp_path) == 1
    assert "each part of which keeps the loss and negatives" in " ".join(capsys.readouterr().err.split())
    assert trained("finetune", *cache, *tuning, folder=tmp_path) == 0
    second = json.loads(capsys.readouterr().out)["id"]
    bundle = read_bundle(tmp_path / "registry", HOME, second)
    assert lineage_of(bundle).fit.learning_rate == 0.0002
    assert (bundle.manifest.recipe, bundle.manifest.parent) == ("fine-tune", made)
    assert reproduce(load_surfaces()[HOME], bundle, window, corpus, registry=tmp_path / "registry").equal
    assert trained("ensemble", *cache, "--weights", "implicit=0.75", folder=tmp_path) == 2
    assert "must be positive and add up to 1" in " ".join(capsys.readouterr().err.split())


def test_a_bundle_whose_data_find_no_room_is_told_to_be_published(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The training was over and its bundle in the registry, and all that was said of it was that a disk is full."""
    for name, value in OPEN.items():
        monkeypatch.setenv(f"ROOST_GATE_{name}", value)

    def full(folder: Path, *_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))

    monkeypatch.setattr("roost.cli.training.write_cache", full)
    places = ("--kept", str(kept), "--cache", str(tmp_path / "cache"))
    assert trained("pretrain", *places, "--epochs", "1", "--min-steps", "1", folder=tmp_path) == 1
    (made,) = list_bundles(tmp_path / "registry", HOME)
    said = capsys.readouterr().err
    assert f"{made} is published, but its data cannot be kept in {tmp_path / 'cache' / HOME / made} (No space left" in said


def test_a_refused_training_gives_programs_the_figures_of_every_gate(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of those that passed too: whoever moves a limit wants to know how near the others were."""

    def refusal() -> dict[str, Any]:
        assert trained("pretrain", "--kept", str(kept), "--epochs", "1", "--min-steps", "1", folder=tmp_path) == 3
        told = capsys.readouterr()
        data: dict[str, Any] = json.loads(told.out)
        assert data["refused"] in told.err.replace("\n", "")
        return data

    # before the training, by the window alone
    monkeypatch.setenv("ROOST_GATE_MIN_EXAMPLES", "5000")
    data = refusal()
    assert data["surface"] == HOME
    assert data["gate_results"][0] == {
        "name": "train_examples",
        "value": 960.0,
        "limit": 5_000.0,
        "passed": False,
        "sentence": "train_examples 960 is below 5000 (wait for more examples)",
    }
    assert any(gate["passed"] for gate in data["gate_results"])
    # after it
    for name, value in {**OPEN, "MIN_EXAMPLES": "10", "MIN_SAMPLED_AUC": "1"}.items():
        monkeypatch.setenv(f"ROOST_GATE_{name}", value)
    gates = {gate["name"]: gate for gate in refusal()["gate_results"]}
    assert (gates["sampled_auc"]["passed"], gates["sampled_auc"]["limit"]) == (False, 1.0)
    assert gates["canary_vectors"]["passed"]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("pretrain --margin 0.2", "a margin is of the triplet loss"),
        ("pretrain --negatives in_batch --ratio 4", "all others of the batch"),
        ("pretrain --negatives mixed", "shares (mix) are needed"),
        ("pretrain --ratio 4001", "less than or equal to 4000"),
        ("pretrain --learning-rate 0", "greater than 0"),
        ("finetune --ratio 4", "reads served pairs"),
        ("finetune --loss hinge", "hinge"),
    ],
)
def test_options_that_do_not_fit_together_are_a_usage_error_before_a_topic_is_read(
    words: str, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Told at once, and not by a broker that is away or after a training of minutes."""
    command, *options = words.split()
    assert trained(command, *options, folder=tmp_path) == 2
    told = capsys.readouterr()
    assert why in " ".join(told.err.replace("│", " ").split())


def test_a_bundle_is_offered_by_one_command_however_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """What no controller answered in time is in the log all the same: it is answered once, and that is the answer."""
    sent: list[RolloutCommand] = []

    class Client:
        def __init__(self, bootstrap: str) -> None:
            pass

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def send(self, command: RolloutCommand, *, timeout_s: float) -> None:
            sent.append(command)

    monkeypatch.setattr(schedule, "RolloutClient", Client)
    for bundle in ("3f9a0c11d2e4b567", "3f9a0c11d2e4b567", "0123456789abcdef"):
        schedule._starting_rollouts("127.0.0.1:9092")(HOME, bundle)
    assert [(command.kind, command.bundle, command.automatic) for command in sent[1:]] == [
        (CommandKind.START, "3f9a0c11d2e4b567", True),
        (CommandKind.START, "0123456789abcdef", True),
    ]
    first, again, other = (command.command_id for command in sent)
    assert first == again != other


def test_of_several_processes_only_the_one_that_leads_prints_what_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under torchrun all of them share one stdout, and all of them fail."""
    for leads, printed in ((True, 1), (False, 0)):
        monkeypatch.setattr("roost.cli.training.leads", lambda leads=leads: leads)
        assert trained("pretrain", "--kept", str(tmp_path / "nowhere"), folder=tmp_path) == 1
        assert len(capsys.readouterr().out.splitlines()) == printed
