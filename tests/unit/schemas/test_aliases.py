"""Aliases in a folder and behind a URL: of several who move one at once one wins, and what it named is never lost."""

import errno
import os
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from schemas.aliases import aliases_in, bundle_at, is_alias, move_alias, moves_of
from schemas.bundle import list_bundles
from schemas.errors import BundleCorrupt, BundlesUnavailable, CompareAndSetLost, Refused
from schemas.registry.place import RegistryPlace, registry_at
from schemas.registry.remote import RemoteRegistry
from tests.at_once import at_once
from tests.bundles import publish_bundle

SURFACE = "home-timeline"
ROOT = Path(__file__).resolve().parents[3]
FIRST, SECOND, THIRD = ("1" * 16, "2" * 16, "3" * 16)
RACERS, ROUNDS = 6, 20

# every racer goes for each of the aliases at the same moment, one after the other
RACE = """
import sys, time
from pathlib import Path
from schemas.aliases import move_alias
from schemas.errors import CompareAndSetLost
root, me, rounds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
print("ready", flush=True)
start_s = float(sys.stdin.readline())
won = []
for n in range(rounds):
    time.sleep(max(0.0, start_s + n * 0.02 - time.time()))
    try:
        move_alias(root, "home-timeline", f"stable-{n}", f"{int(me):016x}", expected=None, actor=me, time_ms=n)
        won.append(str(n))
    except CompareAndSetLost:
        pass
print(*won)
"""


@pytest.fixture(params=["folder", "url"])
def registry(request: pytest.FixtureRequest, remote: RemoteRegistry, tmp_path: Path) -> RegistryPlace:
    """Return an empty registry of either kind."""
    return remote if request.param == "url" else tmp_path / "registry"


def move(registry: RegistryPlace, bundle: str, *, expected: str | None) -> None:
    """Move the alias `stable`."""
    move_alias(registry, SURFACE, "stable", bundle, expected=expected, actor="ann", time_ms=7)


def test_an_alias_names_what_it_was_moved_to_last_and_keeps_what_it_named(registry: RegistryPlace) -> None:
    """Who asks what was stable yesterday is answered by the history."""
    assert bundle_at(registry, SURFACE, "stable") is None
    move(registry, FIRST, expected=None)
    move(registry, SECOND, expected=FIRST)
    move(registry, FIRST, expected=SECOND)
    assert bundle_at(registry, SURFACE, "stable") == FIRST
    assert aliases_in(registry, SURFACE) == {"stable": FIRST}
    history = [(one.number, one.previous, one.bundle, one.actor, one.time_ms) for one in moves_of(registry, SURFACE, "stable")]
    assert history == [(1, None, FIRST, "ann", 7), (2, FIRST, SECOND, "ann", 7), (3, SECOND, FIRST, "ann", 7)]
    assert bundle_at(registry, "movies", "stable") is None


@pytest.mark.parametrize("expected", [None, THIRD])
def test_an_alias_that_names_another_is_not_moved(registry: RegistryPlace, expected: str | None) -> None:
    """Whoever decided by an older state must look again."""
    move(registry, FIRST, expected=None)
    with pytest.raises(CompareAndSetLost, match=f"names {FIRST}, not"):
        move(registry, SECOND, expected=expected)
    assert [one.bundle for one in moves_of(registry, SURFACE, "stable")] == [FIRST]


def test_an_alias_that_names_the_bundle_already_is_not_moved_again(registry: RegistryPlace) -> None:
    """A job that says every hour what is stable must not fill the history."""
    move(registry, FIRST, expected=None)
    move(registry, FIRST, expected=FIRST)
    assert len(moves_of(registry, SURFACE, "stable")) == 1


def test_a_move_between_look_and_put_is_lost(registry: RegistryPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The moment in which a compare without a set lets two win: whoever saw the older state comes second."""
    move(registry, FIRST, expected=None)
    seen = moves_of(registry, SURFACE, "stable")[-1]
    move(registry, SECOND, expected=FIRST)
    monkeypatch.setattr("schemas.aliases._last", lambda *_: seen)
    with pytest.raises(CompareAndSetLost, match="at the same time"):
        move(registry, THIRD, expected=FIRST)
    monkeypatch.undo()
    assert bundle_at(registry, SURFACE, "stable") == SECOND


def test_an_alias_that_cannot_be_written_is_a_sentence_and_names_what_it_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk's error names no file; and what serves a surface must not hang on half of a move."""
    move(tmp_path, FIRST, expected=None)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("schemas.registry.folder.os.fsync", full)
    with pytest.raises(BundlesUnavailable, match=f"{tmp_path} cannot be written to .No space left on device.; make room"):
        move(tmp_path, SECOND, expected=FIRST)
    assert bundle_at(tmp_path, SURFACE, "stable") == FIRST
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()]


def test_of_processes_that_race_for_an_alias_exactly_one_wins(tmp_path: Path) -> None:
    """Two operators, or a schedule and an operator, on two hosts with one folder."""
    with ExitStack() as stack:
        racers = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", RACE, str(tmp_path), str(n), str(ROUNDS)],
                    cwd=ROOT,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for n in range(RACERS)
        ]
        for racer in racers:
            assert racer.stdout is not None
            assert racer.stdout.readline() == "ready\n"
        start_s = time.time() + 0.2
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write(f"{start_s}\n")
            racer.stdin.flush()
        won = {(int(n), str(me)) for me, racer in enumerate(racers) for n in racer.communicate(timeout=60)[0].split()}
        assert {racer.returncode for racer in racers} == {0}
    moved = {(n, one.actor) for n in range(ROUNDS) for one in moves_of(tmp_path, SURFACE, f"stable-{n}")}
    assert won == moved
    assert sorted(n for n, _ in won) == list(range(ROUNDS))
    assert not list((tmp_path / SURFACE / "aliases").glob("*/.*"))


def test_of_threads_that_expect_the_same_exactly_one_wins(tmp_path: Path) -> None:
    """All decided by the same state: one decision may stand."""
    move(tmp_path, FIRST, expected=None)

    def race(n: int) -> str:
        try:
            move(tmp_path, f"{n:016x}", expected=FIRST)
        except CompareAndSetLost:
            return "lost"
        return "won"

    outcomes = at_once([partial(race, n) for n in range(8)])
    assert Counter(outcomes) == {"won": 1, "lost": 7}


class Careless(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """A store without conditions on a put."""

    protocol = "careless"
    cachable = False


def test_a_store_that_cannot_put_on_a_condition_is_refused(remote: RemoteRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """An alias that two may move at once is no compare-and-set; better none than one that pretends."""
    monkeypatch.setattr(remote, "_files", Careless())
    with pytest.raises(Refused, match="cannot put a file only where there is none; keep the registry in a folder, on s3://"):
        move(remote, FIRST, expected=None)
    assert moves_of(remote, SURFACE, "stable") == []


class Forgetful(MemoryFileSystem):  # type: ignore[misc]  # as above
    """A store whose answer to a put is lost on the way: its client puts again, and hears that the file is there."""

    protocol = "s3"
    cachable = False

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: object) -> None:
        """Put twice; the second fails as s3fs says it."""
        super().pipe_file(path, value, mode=mode)
        if mode == "create":
            raise OSError(22, "At least one of the pre-conditions you specified did not hold")


def test_a_move_whose_answer_was_lost_is_won_all_the_same(remote: RemoteRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told that it lost, an operator would look for somebody else who moved it to the same bundle."""
    monkeypatch.setattr(remote, "_files", Forgetful())
    move(remote, FIRST, expected=None)
    assert bundle_at(remote, SURFACE, "stable") == FIRST


def test_an_unreadable_move_is_said_and_not_passed_over(registry: RegistryPlace) -> None:
    """The one before it would be rolled out as if it were meant."""
    move(registry, FIRST, expected=None)
    assert registry_at(registry).create(f"{SURFACE}/aliases/stable/000000000002.json", b"{")
    with pytest.raises(BundleCorrupt, match=r"alias stable: .*000000000002.json is no move"):
        bundle_at(registry, SURFACE, "stable")


def test_aliases_are_no_bundles(registry: RegistryPlace) -> None:
    """They lie beside them."""
    bundle = publish_bundle(registry, dim=32)
    move(registry, bundle, expected=None)
    assert list_bundles(registry, SURFACE) == [bundle]


@pytest.mark.parametrize("name", ["../up", "a/b", "", "-x", ".hidden", "1" * 16, "a" * 65, "x\n"])
def test_a_name_that_leads_elsewhere_or_is_an_id_is_no_alias(name: str) -> None:
    """It becomes a folder's name, and must never be taken for a bundle."""
    assert not is_alias(name)
    assert is_alias("stable-2_x")


def test_a_surface_that_leads_elsewhere_has_no_aliases(registry: RegistryPlace) -> None:
    """Its name is the first part of every path."""
    with pytest.raises(BundleCorrupt, match="surface name"):
        aliases_in(registry, "../other")
    with pytest.raises(BundleCorrupt, match="surface name"):
        bundle_at(registry, "../other", "stable")


def test_a_registry_in_a_folder_and_its_file_url_have_the_same_aliases(tmp_path: Path) -> None:
    """One place, however it is written."""
    move(tmp_path, FIRST, expected=None)
    assert bundle_at(registry_at(f"file://{tmp_path}"), SURFACE, "stable") == FIRST
