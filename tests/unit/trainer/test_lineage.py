"""Where a bundle comes from, and that it comes from there again: the same bytes, or a sentence that says what differs."""

import errno
import hashlib
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest
from pyarrow import parquet

from schemas.bundle import Bundle, Gate, read_bundle, write_bundle
from schemas.errors import BundleError, BundleMismatch, BundlesUnavailable, Refused
from schemas.records.control import BundleStage, Rollout, Stage
from schemas.records.feedback import Label
from schemas.registry.remote import RemoteRegistry
from schemas.surfaces import load_surfaces
from tests.bundles import published
from tests.gate_limits import ANY_QUALITY
from tests.tiny_world import START_MS, tiny_world
from trainer.ancestry import anchor_of
from trainer.data.cache import CORPUS, EXAMPLES, CacheUnusable, prune, read_cache, remove_erased, write_cache
from trainer.data.passed_over import PassedOver, WindowStart
from trainer.data.windows import CorpusAt, LoggedExample, Window
from trainer.gates import GateLimits
from trainer.learning.ensemble_fit import EnsembleFit
from trainer.learning.fit import FitConfig, FitProgress
from trainer.learning.negatives import Negatives
from trainer.learning.objectives import Objective
from trainer.learning.towers import TowerConfig
from trainer.lineage import LINEAGE, code_version, examples_topic_of, lineage_of
from trainer.recipes import (
    PARTS,
    EnsembleConfig,
    FinetuneConfig,
    PartConfig,
    PretrainConfig,
    ensemble,
    finetune,
    pretrain,
)
from trainer.reproduce import reproduce
from trainer.training import TrainingData

SURFACE = load_surfaces()["home-timeline"]
WORLD = tiny_world(users=100, tweets=200, impressions=2_400)
WINDOW = Window(
    tuple(LoggedExample(n % 2, n // 2, example) for n, example in enumerate(WORLD.examples)), {0: (0, 1_200), 1: (0, 1_200)}
)
CORPUS_AT = CorpusAt(sorted(WORLD.corpus, key=lambda one: one.candidate_id), {0: 90, 1: 110}, START_MS)
MIXED = Objective("sampled_softmax", Negatives("mixed", 8, {"uniform": 0.5, "in_batch": 0.5}), popularity_t=20.0)
QUICK = PretrainConfig(TowerConfig(embedding_dim=8, hidden=(32,)), (Objective(negatives=Negatives("uniform", 8)), MIXED), epochs=2)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry for the bundles of this module."""
    return tmp_path_factory.mktemp("registry")


@pytest.fixture(scope="module")
def first(registry: Path) -> str:
    """A pre-trained bundle, of two objectives."""
    return pretrain(SURFACE, TrainingData.of_window(WINDOW, CORPUS_AT), QUICK, registry=registry)


@pytest.fixture(scope="module")
def tuned(registry: Path, first: str) -> str:
    """Its fine-tune, on the same window, with its embeddings frozen."""
    config = FinetuneConfig(replay=1.0, frozen="embeddings", seed=4)
    return finetune(SURFACE, first, TrainingData.of_window(WINDOW, CORPUS_AT), config, registry=registry)


def test_a_bundle_is_rebuilt_byte_for_byte_from_what_it_names(registry: Path, first: str, tuned: str) -> None:
    """The audit's question: is this what came of those data? Answered by doing it again, for both recipes."""
    for bundle in (first, tuned):
        made = reproduce(SURFACE, read_bundle(registry, SURFACE.name, bundle), WINDOW, CORPUS_AT, registry=registry)
        assert made.equal, made
        assert set(made.hashes) == {"query.onnx", "candidate.onnx", "weights.npz"}
        assert made.code == (code_version(), code_version())


def test_the_anchor_stays_the_same_bundle_however_long_the_line_gets(tmp_path: Path) -> None:
    """An anchor that moved along would let the line drift as far as it likes, only more slowly."""
    line = [published(tmp_path)]
    for seed in (1, 2, 3):
        line.append(published(tmp_path, seed=seed, recipe="fine-tune", parent=line[-1].id))

    def anchors(fine_tunes: int) -> list[str | None]:
        found = [anchor_of(tmp_path, SURFACE.name, parent, fine_tunes=fine_tunes) for parent in line]
        return [None if anchor is None else anchor.id for anchor in found]

    root, first, second, _ = (bundle.id for bundle in line)
    assert anchors(0) == [root] * 4
    assert anchors(1) == [None, first, first, first]
    assert anchors(2) == [None, None, second, second]
    # a registry that was tidied up: the oldest that is left
    shutil.rmtree(tmp_path / SURFACE.name / root)
    shutil.rmtree(tmp_path / SURFACE.name / first)
    assert anchors(1)[2:] == [second, second]


class Nothing:
    """Keeps nothing of what was refused."""

    def passed_over(self) -> PassedOver:
        """See `Kept`."""
        return PassedOver()

    def pass_over(self, passed_over: PassedOver) -> None:
        """See `Kept`."""


def test_a_registry_that_does_not_answer_does_not_shorten_the_line(remote: RemoteRegistry, tmp_path: Path) -> None:
    """Its parent would be taken for the anchor, and whatever the line had drifted before was no longer seen."""
    line = [published(remote)]
    for seed in (1, 2):
        line.append(published(remote, seed=seed, recipe="fine-tune", parent=line[-1].id))
    fsspec.filesystem("memory").rm("/bucket", recursive=True)
    elsewhere = RemoteRegistry(remote.url, cache=tmp_path / "another")
    with pytest.raises(BundlesUnavailable):
        anchor_of(elsewhere, SURFACE.name, line[-1], fine_tunes=1)


def test_a_registry_that_does_not_answer_hides_no_bundle_that_was_tried(remote: RemoteRegistry, tmp_path: Path) -> None:
    """Taken for deleted, and remembered so, its examples were trained on once more while the rollout stood still."""
    parent = published(remote)
    made = published(remote, seed=1, recipe="fine-tune", parent=parent.id)
    tried = write_bundle(remote, replace(made.manifest, examples={"0": (0, 8)}, metrics={"train_examples": 8.0}), made.files)
    stages = (BundleStage(parent.id, Stage.LIVE), BundleStage(tried, Stage.ABORTED))
    state = Rollout(SURFACE.name, 3, bundles=stages)
    fsspec.filesystem("memory").mv("/bucket", "/away", recursive=True)
    elsewhere = RemoteRegistry(remote.url, cache=tmp_path / "another")
    start = WindowStart(SURFACE.name, Nothing(), elsewhere, topic_of=examples_topic_of)
    with pytest.raises(BundlesUnavailable):
        start.of(parent, state)
    fsspec.filesystem("memory").mv("/away", "/bucket", recursive=True)
    assert start.of(parent, state).offsets == {0: 8}


def test_other_data_are_refused_before_they_are_trained_on(registry: Path, first: str) -> None:
    """One label, one candidate's counter, or one candidate less: a rebuild would differ, and nobody would know why."""
    bundle = read_bundle(registry, SURFACE.name, first)
    entry = WINDOW.logged[7]
    label = Label.POSITIVE if entry.example.label == Label.IMPLICIT_NEGATIVE else Label.IMPLICIT_NEGATIVE
    relabelled = replace(entry, example=replace(entry.example, label=label))
    other_label = replace(WINDOW, logged=(*WINDOW.logged[:7], relabelled, *WINDOW.logged[8:]))
    popular = replace(CORPUS_AT.candidates[3], counters=replace(CORPUS_AT.candidates[3].counters, favorite=10**6))
    other_counter = replace(CORPUS_AT, candidates=[*CORPUS_AT.candidates[:3], popular, *CORPUS_AT.candidates[4:]])
    fewer = replace(CORPUS_AT, candidates=CORPUS_AT.candidates[1:])
    more = replace(WINDOW, logged=(replace(entry, example=replace(entry.example, example_id="of a deleted user")), *WINDOW.logged))
    for window, corpus, why in (
        (other_label, CORPUS_AT, "in another state than then"),
        (WINDOW, other_counter, "in another state than then"),
        (WINDOW, fewer, f"of 1920 and {len(CORPUS_AT)} .* has taken some"),
        (more, CORPUS_AT, "without those of users who were deleted by then"),
    ):
        with pytest.raises(Refused, match=rf"are not what .* was trained on: .*{why}"):
            reproduce(SURFACE, bundle, window, corpus, registry=registry)
    short = Window(WINDOW.logged[100:], {0: (50, 1_200), 1: (50, 1_200)})
    with pytest.raises(Refused, match="offsets 0 to 960 of partition 0 are needed, and 50 to 1200 are there"):
        reproduce(SURFACE, bundle, short, CORPUS_AT, registry=registry)


def test_another_seed_in_the_lineage_gives_other_towers_and_they_are_not_called_equal(registry: Path, first: str) -> None:
    """The comparison can fail: equal hashes are not the only thing it knows to say."""
    bundle = read_bundle(registry, SURFACE.name, first)
    lineage = lineage_of(bundle)
    assert isinstance(lineage.fit, FitConfig)
    other = replace(lineage, fit=replace(lineage.fit, seed=99))
    altered = replace(bundle, files={**bundle.files, LINEAGE: other.to_bytes()})
    assert not reproduce(SURFACE, altered, WINDOW, CORPUS_AT, registry=registry).equal


def test_the_lineage_reads_back_what_was_written_and_a_bundle_without_one_says_so(
    registry: Path, tuned: str, tmp_path: Path
) -> None:
    """One made elsewhere can be served and not rebuilt."""
    lineage = lineage_of(read_bundle(registry, SURFACE.name, tuned))
    assert lineage.towers_seed is None
    assert isinstance(lineage.fit, FitConfig)
    assert lineage.fit.frozen == "embeddings"
    assert (lineage.corpus_at_ms, lineage.corpus_offsets) == (START_MS, {"0": 90, "1": 110})
    assert lineage.read_to == {"0": 1_200, "1": 1_200}
    assert json.loads(lineage.to_bytes())["fit"]["seed"] == 4
    with pytest.raises(BundleMismatch, match="too little"):
        lineage_of(published(tmp_path))


def test_a_training_on_one_arm_is_rebuilt_from_the_log_of_both(registry: Path, first: str, tmp_path: Path) -> None:
    """The topic holds both arms' examples, and the manifest's offsets bound both: only the lineage says whose were trained on."""
    arms = (first, "b" * 16)
    # by user, as a canary splits them
    both = replace(
        WINDOW,
        logged=tuple(
            replace(entry, example=replace(entry.example, bundle=arms[int(entry.example.user_id[1:]) % 2]))
            for entry in WINDOW.logged
        ),
    )
    own = both.of_arm(first)
    assert 0 < len(own.logged) < len(both.logged)
    data = TrainingData.of_window(own, CORPUS_AT)
    assert {example.bundle for example in (*data.train, *data.evaluation)} == {first}
    config = FinetuneConfig(replay=1.0, accept_window=True)
    bundle = read_bundle(registry, SURFACE.name, finetune(SURFACE, first, data, config, registry=registry))
    assert lineage_of(bundle).served_by == first
    assert reproduce(SURFACE, bundle, both, CORPUS_AT, registry=registry).equal
    write_cache(tmp_path / "own", SURFACE.name, own, CORPUS_AT)
    kept, corpus = read_cache(tmp_path / "own", SURFACE.name)
    assert replace(kept, logged=tuple(kept.logged)) == own
    assert reproduce(SURFACE, bundle, kept, corpus, registry=registry).equal
    undiverted = replace(lineage_of(bundle), served_by=None)
    altered = replace(bundle, files={**bundle.files, LINEAGE: undiverted.to_bytes()})
    with pytest.raises(Refused, match=r"are not what .* was trained on"):
        reproduce(SURFACE, altered, both, CORPUS_AT, registry=registry)


def test_towers_that_were_drawn_back_are_rebuilt_from_both_ends_of_the_way(registry: Path, first: str) -> None:
    """What the fit came to is half of the answer: without the other end a rebuild would be another bundle, and nobody knew why."""
    name = "popularity_correlation_against_anchor"
    data = TrainingData.of_window(WINDOW, CORPUS_AT)
    free = GateLimits(
        language_mismatch_rise=2.0,
        popularity_correlation_rise=2.0,
        anchor_language_mismatch_rise=2.0,
        anchor_popularity_correlation_rise=2.0,
    )
    config = FinetuneConfig(learning_rate=3e-3, anchor_fine_tunes=0, accept_window=True, against_live=False, draw_back_steps=10)

    def tune(limits: GateLimits) -> Bundle:
        config_of = replace(config, limits=replace(limits, popularity_correlation_free=-1.0, auc_regression=1.0))
        return read_bundle(registry, SURFACE.name, finetune(SURFACE, first, data, config_of, registry=registry))

    def gate(bundle: Bundle) -> Gate:
        return next(one for one in bundle.manifest.gates if one.name == name)

    whole = tune(free)
    begin, end = gate(whole).limit - 2.0, gate(whole).value
    assert end > begin, "the fine-tune makes popular candidates more frequent"
    half = tune(replace(free, anchor_popularity_correlation_rise=(end - begin) / 2))
    lineage = lineage_of(half)
    assert lineage.drawn_back_to == first
    assert 0 < lineage.share < 1
    assert half.manifest.metrics["tuned_share"] == lineage.share
    assert (lineage_of(whole).drawn_back_to, lineage_of(whole).share) == (None, 1.0)
    assert reproduce(SURFACE, half, WINDOW, CORPUS_AT, registry=registry).equal
    other = replace(lineage, share=lineage.share + 0.05)
    altered = replace(half, files={**half.files, LINEAGE: other.to_bytes()})
    assert not reproduce(SURFACE, altered, WINDOW, CORPUS_AT, registry=registry).equal
    gone = replace(half, files={**half.files, LINEAGE: replace(lineage, drawn_back_to="0" * 16).to_bytes()})
    steps: list[FitProgress] = []
    with pytest.raises(BundleError, match="0" * 16):
        reproduce(SURFACE, gone, WINDOW, CORPUS_AT, registry=registry, progress=steps.append)
    assert steps == [], "told before the fit"


def test_an_ensembles_fine_tune_is_rebuilt_with_its_parents_heads_and_its_parts_own_negatives(tmp_path: Path) -> None:
    """Drawn back too: towers and lineage are an ensemble's all along the line."""
    data = TrainingData.of_window(WINDOW, CORPUS_AT)
    parts = tuple(PartConfig(part.name, part.objective, epochs=1, weight=part.weight) for part in PARTS)
    config = EnsembleConfig(QUICK.towers, parts, min_steps=1, limits=ANY_QUALITY)
    first = ensemble(SURFACE, data, config, registry=tmp_path)
    tune = FinetuneConfig(replay=1.0, accept_window=True, limits=ANY_QUALITY, anchor_fine_tunes=0, seed=4)
    second = finetune(SURFACE, first, data, tune, registry=tmp_path)
    never = replace(ANY_QUALITY, anchor_popularity_correlation_rise=-2.0, popularity_correlation_free=-1.0)
    with pytest.raises(Refused, match="popularity_correlation_against_anchor"):
        finetune(SURFACE, second, data, replace(tune, limits=never, draw_back_steps=4), registry=tmp_path)
    third = finetune(SURFACE, second, data, replace(tune, frozen="embeddings", learning_rate=1e-3), registry=tmp_path)
    made = [read_bundle(tmp_path, SURFACE.name, bundle) for bundle in (first, second, third)]
    assert [bundle.manifest.parent for bundle in made] == [None, first, second]
    kinds = []
    for bundle in made:
        fit = lineage_of(bundle).fit
        assert isinstance(fit, EnsembleFit)
        kinds.append([objective.negatives.kind for part in fit.parts for objective in part.fit.objectives])
    assert kinds[0] == ["implicit", "uniform", "in_batch"]
    assert kinds[1] == kinds[2] == ["implicit", "uniform", "uniform", "uniform", "in_batch", "uniform"]
    for bundle in made:
        again = reproduce(SURFACE, bundle, WINDOW, CORPUS_AT, registry=tmp_path)
        assert again.equal, again
        assert set(again.hashes) == {"query.onnx", "candidate.onnx", "weights.npz"}
    half = replace(lineage_of(made[2]), drawn_back_to=first, share=0.5)
    altered = replace(made[2], files={**made[2].files, LINEAGE: half.to_bytes()})
    assert not reproduce(SURFACE, altered, WINDOW, CORPUS_AT, registry=tmp_path).equal


def test_a_lineage_of_before_arms_were_told_apart_is_everybody_s(registry: Path, tuned: str) -> None:
    """Bundles outlive releases: one without the field was trained on the whole log."""
    bundle = read_bundle(registry, SURFACE.name, tuned)
    raw = json.loads(bundle.files[LINEAGE])
    assert [raw.pop(name) for name in ("served_by", "drawn_back_to", "share")] == [None, None, 1.0]
    del raw["read_to"]
    old = replace(bundle, files={**bundle.files, LINEAGE: json.dumps(raw).encode()})
    assert lineage_of(old) == replace(lineage_of(bundle), read_to={})


def test_a_cache_for_which_there_is_no_room_is_named_and_takes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`No space left on device` alone says not which; and the one that was kept before is still there to train from."""
    write_cache(tmp_path / "kept", SURFACE.name, WINDOW, CORPUS_AT)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "Error writing bytes to file")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left on device") as raised:
        write_cache(tmp_path / "kept", SURFACE.name, WINDOW, CORPUS_AT)
    assert raised.value.filename == str(tmp_path / "kept")
    assert list(tmp_path.iterdir()) == [tmp_path / "kept"]
    assert list(read_cache(tmp_path / "kept", SURFACE.name)[0].logged) == list(WINDOW.logged)


def test_a_cache_holds_every_record_as_it_was(registry: Path, first: str, tmp_path: Path) -> None:
    """Undo counts, contexts, missing bundles and empty lists included; and a bundle is rebuilt from it without any topic."""
    write_cache(tmp_path / first, SURFACE.name, WINDOW, CORPUS_AT)
    window, corpus = read_cache(tmp_path / first, SURFACE.name)
    assert replace(window, logged=tuple(window.logged)) == WINDOW
    assert replace(corpus, candidates=list(corpus.candidates)) == CORPUS_AT
    odd = replace(
        WORLD.examples[0],
        bundle="a" * 16,
        kinds=("favorite", "click"),
        query=replace(WORLD.examples[0].query, languages=(), context={"candidate_id": "t:1", "topic": ""}),
        source_time_ms=5,
    )
    write_cache(
        tmp_path / "odd", SURFACE.name, Window((LoggedExample(3, 2**40, odd),), {3: (0, 2**40 + 1)}, 2), CorpusAt([], {}, 1)
    )
    assert read_cache(tmp_path / "odd", SURFACE.name)[0].logged[0].example == odd
    bundle = read_bundle(registry, SURFACE.name, first)
    assert reproduce(SURFACE, bundle, window, corpus, registry=registry).equal


def test_a_damaged_or_foreign_cache_is_refused(tmp_path: Path) -> None:
    """A flipped byte in a Parquet file may well decode, to other numbers."""
    write_cache(tmp_path / "one", SURFACE.name, Window(WINDOW.logged[:10], {0: (0, 5), 1: (0, 5)}), CORPUS_AT)
    with pytest.raises(CacheUnusable, match="surface 'home-timeline'"):
        read_cache(tmp_path / "one", "movies")
    content = bytearray((tmp_path / "one" / CORPUS).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "one" / CORPUS).write_bytes(content)
    with pytest.raises(CacheUnusable, match="SHA-256"):
        read_cache(tmp_path / "one", SURFACE.name)
    with pytest.raises(CacheUnusable, match="no cache"):
        read_cache(tmp_path, SURFACE.name)


def test_a_cache_of_other_columns_is_refused_before_it_is_trained_on(tmp_path: Path) -> None:
    """A whole file of another release: what is read column by column must not be found missing halfway through a training."""
    write_cache(tmp_path / "one", SURFACE.name, Window(WINDOW.logged[:10], {0: (0, 5), 1: (0, 5)}), CORPUS_AT)
    examples, manifest = tmp_path / "one" / EXAMPLES, tmp_path / "one" / "manifest.json"
    parquet.write_table(parquet.read_table(examples).drop_columns(["provenance"]), examples)
    written = json.loads(manifest.read_text())
    written["files"][EXAMPLES] = hashlib.sha256(examples.read_bytes()).hexdigest()
    manifest.write_text(json.dumps(written))
    with pytest.raises(CacheUnusable, match="other columns than this release writes"):
        read_cache(tmp_path / "one", SURFACE.name)


def test_a_kept_training_that_holds_a_deleted_users_examples_goes_whole(tmp_path: Path) -> None:
    """Erased is erased on the trainer's disk as well; what the user was shown after coming back stays."""
    early, late = WINDOW.logged[0], WINDOW.logged[-1]
    at_ms = early.example.event_time_ms
    back = replace(late, example=replace(late.example, user_id=early.example.user_id, event_time_ms=at_ms + 2))
    for name, logged in {"before": early, "after": back}.items():
        write_cache(tmp_path / name, SURFACE.name, Window((logged,), {logged.partition: (0, logged.offset + 1)}), CorpusAt([]))
    removed: list[str] = []
    remove_erased(tmp_path, {"somebody-else": at_ms + 1}, on_removed=removed.append)
    assert removed == []
    remove_erased(tmp_path, {early.example.user_id: at_ms + 1}, on_removed=removed.append)
    assert removed == ["before"]
    assert [path.name for path in tmp_path.iterdir()] == ["after"]
    (tmp_path / "after" / EXAMPLES).write_bytes(b"no Parquet")
    remove_erased(tmp_path, {"somebody-else": at_ms + 1}, on_removed=removed.append)
    assert removed == ["before", "after"], "nobody can tell whom it holds"


def test_only_the_newest_caches_are_kept(tmp_path: Path) -> None:
    """A schedule trains for months; the disk is finite, and other files in the folder are nobody's to remove."""
    (tmp_path / "notes").mkdir()
    for name in "abc":
        write_cache(tmp_path / name, SURFACE.name, Window(), CorpusAt([]))
    prune(tmp_path, keep=2, since_s=0.0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "c", "notes"]


def test_no_cache_is_kept_beyond_its_time_nor_the_rest_of_one_that_was_never_whole(tmp_path: Path) -> None:
    """Nothing else ends what an erased author wrote: a schedule that trains once a month kept it for ten months."""
    for name in "ab":
        write_cache(tmp_path / name, SURFACE.name, Window(), CorpusAt([]))
    others = (".git", "notes")
    for name in (".c.1234.part", *others):
        (tmp_path / name).mkdir()
    for name in ("a", ".c.1234.part", *others):
        os.utime(tmp_path / name, (1_000, 1_000))
    prune(tmp_path, keep=2, since_s=1_001.0)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".git", "b", "notes"]


def test_a_cache_that_another_process_removes_meanwhile_keeps_none_that_is_due(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`roost train` with `--cache` beside a schedule: what was gone already was said to stay, and what was due stayed."""
    for name in "abc":
        write_cache(tmp_path / name, SURFACE.name, Window(), CorpusAt([]))
    os.utime(tmp_path / "a", (1_000, 1_000))
    looked = Path.is_file

    def look(path: Path) -> bool:
        found = looked(path)
        shutil.rmtree(tmp_path / "b", ignore_errors=True)
        return found

    monkeypatch.setattr(Path, "is_file", look)
    prune(tmp_path, keep=3, since_s=1_001.0)
    assert [path.name for path in tmp_path.iterdir()] == ["c"]
