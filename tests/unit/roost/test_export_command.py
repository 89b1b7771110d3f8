"""`roost train export`, from folder to folder, to a URL and back."""

import json
from pathlib import Path

import pytest

from roost import cli
from schemas.aliases import aliases_in, move_alias
from schemas.bundle import QUERY_TOWER, list_bundles, read_bundle
from schemas.registry.remote import RemoteRegistry
from tests.bundles import publish_bundle
from tests.told_progress import ToldBar

HOME = "home-timeline"


def exported(*words: str) -> int:
    """Return the exit code of the command."""
    return cli.run(["train", "export", *words])


def test_a_bundle_goes_by_its_alias_to_another_registry_and_keeps_its_id_and_nothing_else_goes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Production's aliases are production's: what `stable` names there is not decided on the training cluster."""
    here, there = tmp_path / "training", tmp_path / "production"
    bundle, _ = publish_bundle(here, seed=1, dim=32), publish_bundle(here, seed=2, dim=32)
    move_alias(here, HOME, "stable", bundle, expected=None, actor="anna", time_ms=1)
    assert exported("stable", "--to", str(there), "--registry", str(here)) == 0
    told = capsys.readouterr()
    assert f"`roost rollout start {bundle} --surface {HOME}` rolls it out" in told.out
    assert "publishing it in" in told.err
    assert read_bundle(there, HOME, bundle) == read_bundle(here, HOME, bundle)
    assert (list_bundles(there, HOME), aliases_in(there, HOME)) == ([bundle], {})

    # a script that is run twice
    assert exported(bundle, "--to", str(there), "--registry", str(here), "--json") == 0
    data = json.loads(capsys.readouterr().out)
    files = read_bundle(here, HOME, bundle).files
    assert data == {
        "id": bundle,
        "surface": HOME,
        "from": str(here),
        "to": str(there),
        "files": len(files),
        "bytes": sum(map(len, files.values())),
    }


def test_a_bundle_goes_to_a_url_and_from_there_to_a_folder(
    tmp_path: Path, remote: RemoteRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A registry behind a URL is one like any other, at either end."""
    monkeypatch.setenv("ROOST_REGISTRY_CACHE", str(tmp_path / "cache"))
    bundle = publish_bundle(tmp_path / "here", seed=1, dim=32)
    assert exported(bundle, "--to", remote.url, "--registry", str(tmp_path / "here")) == 0
    assert list_bundles(remote, HOME) == [bundle]
    assert exported(bundle, "--to", str(tmp_path / "there"), "--registry", remote.url) == 0
    assert read_bundle(tmp_path / "there", HOME, bundle) == read_bundle(tmp_path / "here", HOME, bundle)
    assert exported(bundle, "--to", "memory://no-bucket/bundles", "--registry", str(tmp_path / "here")) == 1


def test_it_says_how_far_it_is_as_each_file_is_read_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Towers of gigabytes over a slow line: minutes in which nothing was shown."""
    bar = ToldBar()
    monkeypatch.setattr("roost.cli.export.phases_bar", bar.open)
    here, there = tmp_path / "training", tmp_path / "production"
    bundle = publish_bundle(here, seed=1, dim=32)
    assert exported(bundle, "--to", str(there), "--registry", str(here)) == 0
    files = len(read_bundle(here, HOME, bundle).files)
    read = (f"reading {bundle}", [(done, files) for done in range(files + 1)])
    first, (phase, written), last = bar.phases
    assert (first, phase, last) == (read, f"writing to {there}", read), "what was written is read back"
    size = sum(file.stat().st_size for file in (there / HOME / bundle).iterdir())
    assert written[0] == (0, size)
    assert written[-1] == (size, size)
    assert len(written) == files + 2, "the manifest too"


def test_a_damaged_bundle_is_refused_at_either_end_and_nothing_is_published(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Carried on, it would be found out by production's nodes, one after the other."""
    here, there = tmp_path / "training", tmp_path / "production"
    bundle, sound = publish_bundle(here, seed=1, dim=32), publish_bundle(here, seed=2, dim=32)
    tower = here / HOME / bundle / QUERY_TOWER
    tower.write_bytes(tower.read_bytes()[:-1])
    assert exported(bundle, "--to", str(there), "--registry", str(here)) == 3
    assert f"{QUERY_TOWER} differs from its SHA-256 in the manifest; publish the bundle again" in capsys.readouterr().err
    assert not there.exists()

    assert exported(sound, "--to", str(there), "--registry", str(here)) == 0
    (there / HOME / sound / QUERY_TOWER).unlink()
    assert exported(sound, "--to", str(there), "--registry", str(here)) == 3
    assert exported(sound, "--to", str(there), "--registry", str(here), "--surface", "who-to-follow") == 3
    assert exported("no-such", "--to", str(there), "--registry", str(here)) == 2
