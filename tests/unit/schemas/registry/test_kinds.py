"""Both kinds of registry do the same: whoever reads or writes bundles need not know which one it is."""

from pathlib import Path

import fsspec
import pytest

from schemas.errors import BundleCorrupt, BundlesUnavailable
from schemas.registry.folder import FolderRegistry
from schemas.registry.kind import BundleRegistry, Read
from schemas.registry.place import registry_at
from schemas.registry.remote import RemoteRegistry

PLACE = "movies/0123"
FILES = {"tower": b"weights", "manifest": b"names the tower"}


@pytest.fixture(params=["folder", "url"])
def registry(request: pytest.FixtureRequest, remote: RemoteRegistry, tmp_path: Path) -> BundleRegistry:
    """Return an empty registry of either kind."""
    return remote if request.param == "url" else FolderRegistry(tmp_path / "registry")


def whole(read: Read) -> dict[str, bytes]:
    """Read both files; refuse them unless they are those that were published."""
    found = {name: read(name, 100) for name in FILES}
    if found != FILES:
        raise BundleCorrupt("other bytes")
    return found


def test_what_was_published_is_listed_read_and_checked(registry: BundleRegistry) -> None:
    """The ways that commands and roles look at a bundle."""
    registry.publish(PLACE, FILES, last="manifest", check=whole)
    assert (registry.names(""), registry.names("movies"), registry.names(PLACE)) == (["movies"], ["0123"], sorted(FILES))
    assert registry.read(f"{PLACE}/tower", 7) == b"weights"
    assert registry.checked(PLACE, whole) == registry.checked(PLACE, whole, keep=True) == FILES
    assert sorted(path.name for path in (registry.folder / PLACE).iterdir()) == sorted(FILES), "it lies on this machine, whole"


def test_it_is_told_how_many_bytes_are_written_as_each_file_is(registry: BundleRegistry) -> None:
    """A bar of files would stand still for the large one, and jump over the manifest."""
    told: list[tuple[str, int, int]] = []
    registry.publish(PLACE, FILES, last="manifest", check=whole, on_progress=lambda *how_far: told.append(how_far))
    assert told == [(f"writing to {registry}", done, 22) for done in (0, 7, 22)]
    registry.publish(PLACE, FILES, last="manifest", check=whole, on_progress=lambda *how_far: told.append(how_far))
    assert len(told) == 3, "it was there already"


def test_what_is_not_there_is_no_bundle(registry: BundleRegistry) -> None:
    """Told apart from a place that does not answer: that may be there tomorrow."""
    registry.require_writable()
    assert (registry.names(""), registry.names("movies")) == ([], [])
    with pytest.raises(BundleCorrupt, match=r"tower .*publish the bundle again"):
        registry.read(f"{PLACE}/tower", 7)
    with pytest.raises(BundleCorrupt):
        registry.checked(PLACE, whole, keep=True)
    assert not (registry.folder / PLACE).exists(), "nothing is left of the attempt"


def test_a_file_that_is_too_large_is_not_read(registry: BundleRegistry) -> None:
    """Whoever can write there must not fill a node's memory."""
    registry.publish(PLACE, FILES, last="manifest", check=whole)
    with pytest.raises(BundleCorrupt, match=f"{PLACE}/tower is no .*file of at most 6 bytes"):
        registry.read(f"{PLACE}/tower", 6)


def test_what_is_there_is_never_written_over(registry: BundleRegistry) -> None:
    """Somebody may be reading it: what differs is said, and stays."""
    registry.publish(PLACE, FILES, last="manifest", check=whole)
    registry.publish(PLACE, FILES, last="manifest", check=whole)
    with pytest.raises(BundleCorrupt, match="other bytes"):
        registry.publish(PLACE, {**FILES, "tower": b"others"}, last="manifest", check=lambda read: _expect(read, b"others"))
    assert registry.checked(PLACE, whole) == FILES


def _expect(read: Read, tower: bytes) -> None:
    if read("tower", 100) != tower:
        raise BundleCorrupt("other bytes")


def test_a_file_is_put_where_there_is_none_and_nowhere_else(registry: BundleRegistry) -> None:
    """The compare-and-set that aliases stand on; of racers: test_aliases."""
    assert registry.create("movies/aliases/stable/1", b"first")
    assert not registry.create("movies/aliases/stable/1", b"later")
    assert registry.read("movies/aliases/stable/1", 5) == b"first"
    assert registry.names("movies/aliases/stable") == ["1"], "nothing of the attempts is left"


def test_a_place_that_cannot_be_written_to_says_so(tmp_path: Path) -> None:
    """Before a training, not after it."""
    (tmp_path / "file").write_text("")
    for registry, words in (
        (FolderRegistry(tmp_path / "file" / "registry"), "no bundle can be published in"),
        (registry_at("memory://no-bucket/bundles", cache=tmp_path), "there is no no-bucket"),
    ):
        with pytest.raises(BundlesUnavailable, match=words):
            registry.require_writable()


def test_a_folder_that_fails_while_it_is_written_to_says_so(tmp_path: Path) -> None:
    """A disk that is full by the end of a training must end neither the trainer nor the command without a sentence."""
    (tmp_path / "file").write_text("")
    with pytest.raises(BundlesUnavailable, match=r"cannot be written to .*; make room"):
        FolderRegistry(tmp_path / "file").publish(PLACE, FILES, last="manifest", check=whole)


def test_a_disk_that_fails_says_nothing_against_a_bundle() -> None:
    """A reason against a bundle rejects its rollout for good; a disk or a mount may be back tomorrow. The kernel gives EIO here."""
    registry = FolderRegistry(Path("/proc/self"))
    with pytest.raises(BundlesUnavailable, match=r"/proc/self/mem cannot be read just now .*the mount"):
        registry.read("mem", 100)


def test_a_registry_that_is_not_mounted_says_nothing_against_a_bundle(tmp_path: Path) -> None:
    """Its folder is gone, and with it every bundle."""
    with pytest.raises(BundlesUnavailable, match="cannot be read just now"):
        FolderRegistry(tmp_path / "gone").read(f"{PLACE}/tower", 7)


def test_a_folder_in_a_file_s_place_is_no_bundle_and_costs_no_descriptor(tmp_path: Path) -> None:
    """A node tries every few seconds for as long as it is there."""
    (tmp_path / PLACE / "tower").mkdir(parents=True)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(BundleCorrupt, match="tower cannot be read"):
        FolderRegistry(tmp_path).read(f"{PLACE}/tower", 7)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_failing_disk_under_the_copies_costs_no_more_than_fetching_again(remote: RemoteRegistry) -> None:
    """The bundle is whole where it came from."""
    fsspec.filesystem("memory").pipe_file(f"{remote.url.removeprefix('memory:/')}/movies/self/mem", b"weights")
    (remote.folder / "movies").mkdir(parents=True)
    (remote.folder / "movies" / "self").symlink_to("/proc/self")
    assert remote.checked("movies/self", lambda read: read("mem", 100)) == b"weights"
