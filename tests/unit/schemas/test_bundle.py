"""A registry on disk under damage, beside other writers, and after a crash: a bundle is whole or refused."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from schemas.bundle import (
    CANDIDATE_TOWER,
    MANIFEST_NAME,
    QUERY_TOWER,
    Gate,
    Manifest,
    bundle_id,
    list_bundles,
    read_bundle,
    write_bundle,
)
from schemas.errors import BundleCorrupt, BundleError, BundleMismatch, BundlesUnavailable
from tests.at_once import at_once
from tests.bundles import publish_bundle

SURFACE = "home-timeline"
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of one good bundle, never to be changed."""
    root = tmp_path_factory.mktemp("registry")
    gates = (Gate("auc", 0.8, 0.7, passed=True, sentence="good enough"),)
    return root / SURFACE / publish_bundle(root, dim=32, gates=gates)


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """Return a copy of the bundle to damage, in a registry of its own."""
    return shutil.copytree(whole, tmp_path / SURFACE / whole.name)


def read(folder: Path) -> None:
    """Read the bundle in a registry folder."""
    read_bundle(folder.parent.parent, folder.parent.name, folder.name)


def test_a_bundle_is_read_as_it_was_written(whole: Path) -> None:
    """The manifest carries the feature spec and gates that nodes and the controller decide by."""
    bundle = read_bundle(whole.parent.parent, SURFACE, whole.name)
    assert bundle.id == whole.name == bundle_id(bundle.manifest.to_bytes())
    assert set(bundle.files) == {QUERY_TOWER, CANDIDATE_TOWER}
    assert Manifest.from_bytes(bundle.manifest.to_bytes()) == bundle.manifest
    assert bundle.manifest.gates[0].sentence == "good enough"


@pytest.mark.parametrize("name", [MANIFEST_NAME, QUERY_TOWER, CANDIDATE_TOWER])
def test_one_flipped_bit_anywhere_in_a_file_is_noticed(folder: Path, name: str) -> None:
    """ONNX Runtime loads flipped weights without a word: the digest is the only guard."""
    content = (folder / name).read_bytes()
    for place in (0, len(content) // 2, len(content) - 1):
        damaged = bytearray(content)
        damaged[place] ^= 4
        (folder / name).write_bytes(damaged)
        with pytest.raises(BundleCorrupt):
            read(folder)


def _link(path: Path) -> None:
    target = path.with_name(f"{path.name}.real")
    path.rename(target)
    path.symlink_to(target.name)


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGE: dict[str, Callable[[Path], object]] = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "emptied": lambda path: path.write_bytes(b""),
    "missing": lambda path: path.unlink(),
    "unreadable": lambda path: path.chmod(0) if os.getuid() else path.unlink(),
    "a link": _link,
    "a pipe": _pipe,
    "a folder": _folder,
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", [MANIFEST_NAME, QUERY_TOWER, CANDIDATE_TOWER])
def test_every_kind_of_damage_is_refused_with_a_sentence(folder: Path, name: str, damage: str) -> None:
    """Refused before any node loads it; the live bundle stays. A pipe would otherwise hang the node for ever."""
    DAMAGE[damage](folder / name)
    with pytest.raises(BundleCorrupt, match=folder.name):
        read(folder)


def test_a_file_the_manifest_does_not_name_is_never_read(folder: Path) -> None:
    """Whoever can drop a file beside the towers must not reach the runtime with it."""
    (folder / "extra.onnx").write_bytes(b"evil")
    bundle = read_bundle(folder.parent.parent, SURFACE, folder.name)
    assert "extra.onnx" not in bundle.files


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "0123",
        "0123456789ABCDEF",
        "../0123456789abcd",
        "0123456789abcdef/",
        "0123456789abcdef\n",
        "\0" * 16,
        "x" * 5000,
    ],
)
def test_a_name_that_is_no_bundle_id_never_becomes_a_path(tmp_path: Path, name: str) -> None:
    """The name comes from commands and URLs."""
    with pytest.raises(BundleCorrupt, match="16 lower-case hex"):
        read_bundle(tmp_path, SURFACE, name)


@pytest.mark.parametrize("surface", ["", ".", "..", "a/b", "../x", "a\0", "é", "x" * 300])
def test_a_name_that_is_no_surface_never_becomes_a_path(tmp_path: Path, surface: str) -> None:
    """The name comes from commands and URLs."""
    with pytest.raises(BundleCorrupt, match="letters, digits"):
        read_bundle(tmp_path, surface, "0123456789abcdef")
    with pytest.raises(BundleCorrupt, match="letters, digits"):
        list_bundles(tmp_path, surface)


def test_a_bundle_of_another_surface_is_refused(folder: Path) -> None:
    """Its towers read another candidate topic."""
    other = folder.parent.with_name("who-to-follow")
    folder.parent.rename(other)
    with pytest.raises(BundleMismatch, match="is for surface 'home-timeline'"):
        read(other / folder.name)


def rewritten(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Change a manifest and rename the folder to its new id, as somebody would who knows how ids are made."""
    raw = json.loads((folder / MANIFEST_NAME).read_bytes())
    change(raw)
    data = json.dumps(raw, sort_keys=True, separators=(",", ":")).encode()
    (folder / MANIFEST_NAME).write_bytes(data)
    return folder.rename(folder.with_name(bundle_id(data)))


def _set(*path: str | int, value: object) -> Callable[[dict[str, Any]], object]:
    def change(raw: Any) -> None:
        for key in path[:-1]:
            raw = raw[key]
        raw[path[-1]] = value

    return change


def _rename_file(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda raw: raw["files"].update({name: raw["files"][QUERY_TOWER]})


FORGERIES: list[Callable[[dict[str, Any]], object]] = [
    *(_rename_file(name) for name in ("../../secret", "a/b", "/etc/hostname", "", ".", "..", "\\", "a\0b", ".hidden", "x" * 200)),
    _rename_file(MANIFEST_NAME),
    _set("files", value={}),
    _set("files", value=[]),
    _set("files", QUERY_TOWER, value=None),
    _set("files", QUERY_TOWER, value="0" * 63),
    _set("format", value=2),
    _set("format", value="1"),
    _set("metric", value="l2"),
    _set("metric", value=[]),
    *(_set("dim", value=value) for value in (0, -1, 33, 64.0, "64", True, None, 10**400, float("nan"))),
    _set("surface", value=7),
    _set("parent", value=["x"]),
    _set("created_ms", value=float("inf")),
    _set("created_ms", value="yesterday"),
    _set("examples", value={"0": [1]}),
    _set("examples", value={"0": ["a", "b"]}),
    _set("seeds", value={"towers": 1.5}),
    _set("metrics", value={"auc": float("nan")}),
    _set("metrics", value={"auc": 10**400}),
    _set("metrics", value={"auc": True}),
    _set("gates", value=None),
    _set("gates", value=[{"name": "auc"}]),
    _set("gates", 0, "passed", value="false"),
    _set("gates", 0, "value", value=float("nan")),
    _set("gates", 0, "unknown", value=1),
    _set("canary", value=[]),
    _set("canary", "query_ids", value=[]),
    _set("canary", "query_ids", 0, value=[1]),
    _set("canary", "query_ids", 0, 0, value=-1),
    _set("canary", "query_ids", 0, 0, value=2**63),
    _set("canary", "query_ids", 0, 0, value=1.0),
    _set("canary", "candidate_vectors", 0, 0, value=float("nan")),
    _set("canary", "candidate_vectors", 0, 0, value=None),
    _set("canary", "candidate_vectors", value=[[0.0]]),
    _set("canary", "more", value=1),
    _set("feature_spec", value="tweet-v1"),
    _set("feature_spec", "format", value=99),
    _set("feature_spec", "query", 0, "source", value="no_such_attribute"),
]


@pytest.mark.parametrize("forge", FORGERIES, ids=range(len(FORGERIES)))
def test_a_well_signed_manifest_that_makes_no_sense_is_refused(folder: Path, forge: Callable[[dict[str, Any]], object]) -> None:
    """The digest proves that nothing changed, not that the writer was sane."""
    with pytest.raises(BundleError) as caught:
        read(rewritten(folder, forge))
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "data", [b"", b"{", b"null", b"[]", b"7", b'"x"', b"\xff\xfe", b"[" * 100_000, b"{}", b'{"format":1}', b"NaN", b"1" * 5000]
)
def test_bytes_that_are_no_manifest_are_corrupt(data: bytes) -> None:
    """Whatever a disk returns, the answer is one typed error."""
    with pytest.raises(BundleError):
        Manifest.from_bytes(data)


@pytest.mark.parametrize("key", ["surface", "dim", "metric", "feature_spec", "files", "canary", "created_ms", "gates", "parent"])
def test_a_manifest_without_a_key_is_corrupt(whole: Path, key: str) -> None:
    """Every key is needed to load or to explain a bundle."""
    raw = json.loads((whole / MANIFEST_NAME).read_bytes())
    del raw[key]
    with pytest.raises(BundleCorrupt, match=key):
        Manifest.from_bytes(json.dumps(raw).encode())


def good_parts(whole: Path) -> tuple[Manifest, dict[str, bytes]]:
    """Return what `write_bundle` takes."""
    bundle = read_bundle(whole.parent.parent, SURFACE, whole.name)
    return bundle.manifest, dict(bundle.files)


def test_what_could_not_be_read_back_is_never_published(whole: Path, tmp_path: Path) -> None:
    """A trainer's mistake must surface in the trainer, not in every node."""
    manifest, files = good_parts(whole)
    bad: list[tuple[Manifest, dict[str, bytes]]] = [
        (manifest, {**files, QUERY_TOWER: b"other bytes"}),
        (manifest, {QUERY_TOWER: files[QUERY_TOWER]}),
        (manifest, {**files, "unnamed.bin": b""}),
        (replace(manifest, metrics={"auc": float("nan")}), files),
        (replace(manifest, metrics={"auc": object()}), files),  # type: ignore[dict-item]
        (replace(manifest, gates=(Gate("auc", float("inf"), 0.7, passed=True),)), files),
        (replace(manifest, dim=48), files),
        (replace(manifest, surface="../elsewhere"), files),
        (replace(manifest, files={}), {}),
    ]
    for manifest_, files_ in bad:
        with pytest.raises(BundleError):
            write_bundle(tmp_path / "registry", manifest_, files_)
    assert not list(tmp_path.rglob("*.onnx"))


def test_publishing_twice_changes_nothing(whole: Path, tmp_path: Path) -> None:
    """A trainer that crashed after the rename publishes again."""
    manifest, files = good_parts(whole)
    first = write_bundle(tmp_path, manifest, files)
    before = (tmp_path / SURFACE / first).stat().st_mtime_ns
    assert write_bundle(tmp_path, manifest, files) == first
    assert (tmp_path / SURFACE / first).stat().st_mtime_ns == before


def test_publishing_over_a_damaged_bundle_is_refused(folder: Path, whole: Path) -> None:
    """Bundles are immutable: a node may be reading it. The operator removes the folder first."""
    manifest, files = good_parts(whole)
    (folder / QUERY_TOWER).write_bytes(b"damaged")
    with pytest.raises(BundleCorrupt):
        write_bundle(folder.parent.parent, manifest, files)
    assert (folder / QUERY_TOWER).read_bytes() == b"damaged"


def test_writers_beside_each_other_publish_one_whole_bundle(whole: Path, tmp_path: Path) -> None:
    """Two trainers may reach the same weights; neither may fail or leave half a folder."""
    manifest, files = good_parts(whole)
    at_once([lambda: write_bundle(tmp_path, manifest, files)] * 8)
    assert [entry.name for entry in (tmp_path / SURFACE).iterdir()] == [whole.name]
    read(tmp_path / SURFACE / whole.name)


def test_a_writer_killed_before_the_rename_leaves_nothing_a_reader_sees(whole: Path, tmp_path: Path) -> None:
    """Killed by signal 9 in the middle of a publish; the next publish works."""
    script = (
        "import os, sys; from pathlib import Path; from schemas.bundle import read_bundle, write_bundle\n"
        "source, target, surface, bundle = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4]\n"
        "whole = read_bundle(source, surface, bundle)\n"
        "Path.rename = lambda self, target: os.kill(os.getpid(), 9)\n"
        "write_bundle(target, whole.manifest, dict(whole.files))\n"
    )
    arguments = [str(whole.parent.parent), str(tmp_path), SURFACE, whole.name]
    done = subprocess.run([sys.executable, "-c", script, *arguments], cwd=ROOT, check=False)
    assert done.returncode == -9
    assert list_bundles(tmp_path, SURFACE) == []
    with pytest.raises(BundleCorrupt):
        read(tmp_path / SURFACE / whole.name)
    manifest, files = good_parts(whole)
    write_bundle(tmp_path, manifest, files)
    assert list_bundles(tmp_path, SURFACE) == [whole.name]


def test_a_failed_write_leaves_nothing(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk must not fill further with every retry."""

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    manifest, files = good_parts(whole)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BundlesUnavailable, match="No space left on device"):
        write_bundle(tmp_path, manifest, files)
    assert list((tmp_path / SURFACE).iterdir()) == []


def test_bundles_are_listed_oldest_first_without_the_unreadable(tmp_path: Path) -> None:
    """`roost models list` and the automatic choice of the newest read this."""
    ids = [publish_bundle(tmp_path, dim=32, created_ms=created_ms) for created_ms in (3_000, 1_000, 2_000)]
    (tmp_path / SURFACE / "not-a-bundle").mkdir()
    (tmp_path / SURFACE / ("0" * 16)).mkdir()
    (tmp_path / SURFACE / ("1" * 16)).write_text("a file")
    shutil.copytree(tmp_path / SURFACE / ids[0], tmp_path / SURFACE / ("2" * 16))
    assert list_bundles(tmp_path, SURFACE) == [ids[1], ids[2], ids[0]]
    assert list_bundles(tmp_path, "no-such-surface") == []
