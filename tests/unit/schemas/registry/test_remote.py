"""A registry behind a URL: what is fetched is as whole as a folder's, kept on this machine, and mended there."""

from dataclasses import replace
from pathlib import Path

import fsspec
import pytest

from schemas.bundle import CANDIDATE_TOWER, MANIFEST_NAME, QUERY_TOWER, list_bundles, read_bundle, surfaces_in, write_bundle
from schemas.errors import BundleCorrupt, BundlesUnavailable
from schemas.registry.folder import FolderRegistry
from schemas.registry.place import registry_at
from schemas.registry.remote import RemoteRegistry
from schemas.registry.seen import SeenFiles
from tests.at_once import at_once
from tests.bundles import publish_bundle

SURFACE = "home-timeline"


def folder_there(remote: RemoteRegistry, bundle: str) -> str:
    """Return the path of a bundle's folder in the memory's file system."""
    return f"{remote.url.removeprefix('memory:/')}/{SURFACE}/{bundle}"


def test_a_bundle_behind_a_url_is_read_as_from_a_folder(remote: RemoteRegistry, tmp_path: Path) -> None:
    """The same id for the same bytes, whatever holds them."""
    bundle = publish_bundle(remote, dim=32)
    assert publish_bundle(tmp_path / "folder", dim=32) == bundle
    assert read_bundle(remote, SURFACE, bundle) == read_bundle(tmp_path / "folder", SURFACE, bundle)


def test_a_copy_of_a_folder_is_a_registry(remote: RemoteRegistry, tmp_path: Path) -> None:
    """An operator moves to an object store with any copying tool."""
    bundle = publish_bundle(tmp_path / "folder", dim=32)
    fsspec.filesystem("memory").put(f"{tmp_path / 'folder' / SURFACE}", f"/bucket/bundles/{SURFACE}", recursive=True)
    assert read_bundle(remote, SURFACE, bundle).id == bundle


def test_what_was_fetched_once_is_read_from_this_machine(remote: RemoteRegistry) -> None:
    """A node must start while the object store is away."""
    bundle = publish_bundle(remote, dim=32)
    fsspec.filesystem("memory").rm("/bucket", recursive=True)
    assert read_bundle(remote, SURFACE, bundle).id == bundle


def test_two_registries_do_not_vouch_for_each_other(remote: RemoteRegistry) -> None:
    """A bundle that only the test bucket has must not seem to be in production's."""
    bundle = publish_bundle(remote, dim=32)
    other = RemoteRegistry("memory://bucket/other", cache=remote.folder.parent)
    with pytest.raises(BundleCorrupt, match="is not in memory://bucket/other/home-timeline"):
        read_bundle(other, SURFACE, bundle)


@pytest.mark.parametrize("name", [MANIFEST_NAME, QUERY_TOWER])
@pytest.mark.parametrize("damage", ["cut", "altered", "gone"])
def test_a_copy_that_was_damaged_on_this_machine_is_fetched_anew(name: str, damage: str, remote: RemoteRegistry) -> None:
    """A full disk or a cut-off download must not keep a good bundle from being loaded."""
    bundle = publish_bundle(remote, dim=32)
    whole = read_bundle(remote, SURFACE, bundle)
    file = remote.folder / SURFACE / bundle / name
    content = file.read_bytes()
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(content[:-1] if damage == "cut" else content[:-1] + b"\x00")
    assert read_bundle(remote, SURFACE, bundle) == whole
    assert file.read_bytes() == content


@pytest.mark.parametrize("name", [MANIFEST_NAME, CANDIDATE_TOWER])
def test_a_bundle_that_is_damaged_there_is_refused_and_not_kept(name: str, remote: RemoteRegistry, tmp_path: Path) -> None:
    """Every byte is held against the id before anybody loads it, and before it gets among the good copies."""
    bundle = publish_bundle(remote, dim=32)
    path = f"{folder_there(remote, bundle)}/{name}"
    memory = fsspec.filesystem("memory")
    memory.pipe_file(path, memory.cat_file(path)[:-1] + b"\x00")
    elsewhere = RemoteRegistry(remote.url, cache=tmp_path / "another machine")
    with pytest.raises(BundleCorrupt, match=r"altered|SHA-256"):
        read_bundle(elsewhere, SURFACE, bundle)
    assert not elsewhere.folder.exists()


def test_a_bundle_that_cannot_be_kept_is_read_all_the_same(
    remote: RemoteRegistry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk, or a home that does not exist in a container, is no reason to serve nothing."""
    bundle = publish_bundle(remote, dim=32)
    (tmp_path / "file").write_text("")
    assert read_bundle(RemoteRegistry(remote.url, cache=tmp_path / "file"), SURFACE, bundle).id == bundle
    assert "cannot be kept in" in caplog.text


def test_bundles_are_listed_oldest_first_without_those_under_way(remote: RemoteRegistry) -> None:
    """A bundle without its manifest is still being published, or its publisher died."""
    ids = [publish_bundle(remote, dim=32, created_ms=created_ms) for created_ms in (3_000, 1_000, 2_000)]
    fsspec.filesystem("memory").pipe_file(f"{folder_there(remote, '0' * 16)}/{QUERY_TOWER}", b"half")
    elsewhere = RemoteRegistry(remote.url, cache=remote.folder / "another machine")
    assert list_bundles(elsewhere, SURFACE) == [ids[1], ids[2], ids[0]]
    assert surfaces_in(remote) == [SURFACE]
    assert list_bundles(remote, "movies") == []


class Counting(RemoteRegistry):
    """Notes what it fetches."""

    def __init__(self, url: str, *, cache: Path) -> None:
        super().__init__(url, cache=cache)
        self.fetched: list[str] = []

    def read(self, path: str, most_bytes: int) -> bytes:
        """See `BundleRegistry.read`."""
        self.fetched.append(path)
        return super().read(path, most_bytes)


def test_a_listing_fetches_the_manifest_of_a_new_bundle_alone(remote: RemoteRegistry, tmp_path: Path) -> None:
    """The trainer lists at every look, and a bundle never changes: each look took a request for each bundle there ever was."""
    first, second = (publish_bundle(remote, dim=32, created_ms=created_ms) for created_ms in (1_000, 2_000))
    memory = fsspec.filesystem("memory")
    memory.pipe_file(f"{folder_there(remote, '0' * 16)}/{MANIFEST_NAME}", b"{}")
    listing = Counting(remote.url, cache=tmp_path / "another machine")
    assert list_bundles(listing, SURFACE) == [first, second]
    listing.fetched.clear()
    third = publish_bundle(remote, dim=32, created_ms=3_000)
    assert list_bundles(listing, SURFACE) == [first, second, third]
    damaged = f"{SURFACE}/{'0' * 16}/{MANIFEST_NAME}"
    assert sorted(listing.fetched) == sorted([f"{SURFACE}/{third}/{MANIFEST_NAME}", damaged]), "what is not whole may be mended"
    memory.rm(folder_there(remote, second), recursive=True)
    assert list_bundles(listing, SURFACE) == [first, third]


def test_what_was_listed_of_one_registry_says_nothing_of_another(remote: RemoteRegistry, tmp_path: Path) -> None:
    """There the manifest of that id may be altered; and who loads a bundle reads it whole, whatever a listing knew."""
    bundle = publish_bundle(remote, dim=32)
    memory = fsspec.filesystem("memory")
    memory.copy("/bucket/bundles", "/bucket/other", recursive=True)
    listing = Counting(remote.url, cache=tmp_path / "another machine")
    assert list_bundles(listing, SURFACE) == [bundle]
    other = Counting("memory://bucket/other", cache=tmp_path / "another machine")
    for registry in (other, listing):
        path = f"{folder_there(registry, bundle)}/{MANIFEST_NAME}"
        memory.pipe_file(path, memory.cat_file(path) + b" ")
    assert list_bundles(other, SURFACE) == []
    with pytest.raises(BundleCorrupt, match="altered"):
        read_bundle(listing, SURFACE, bundle)


def test_manifests_that_were_listed_are_kept_in_memory_up_to_a_bound(
    remote: RemoteRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trainer runs for months, and publishes a bundle every few minutes."""
    for created_ms in range(4):
        publish_bundle(remote, dim=32, created_ms=created_ms)
    manifest_bytes = max(fsspec.filesystem("memory").size(path) for path in fsspec.filesystem("memory").glob("/bucket/**/*.json"))
    monkeypatch.setattr("schemas.registry.remote._MOST_SEEN_BYTES", 2 * manifest_bytes)
    listing = Counting(remote.url, cache=tmp_path / "another machine")
    for _ in range(2):
        listing.fetched.clear()
        assert len(list_bundles(listing, SURFACE)) == 4
    assert listing.fetched, "not all of them are kept"


def test_a_listing_puts_nothing_in_memory_that_is_there(remote: RemoteRegistry, tmp_path: Path) -> None:
    """A node looks every few seconds, and a registry holds thousands of manifests: each look copied all of them."""
    bundle = publish_bundle(remote, dim=32)
    listing = RemoteRegistry(remote.url, cache=tmp_path / "another machine")
    list_bundles(listing, SURFACE)
    kept = listing._seen.of(f"{SURFACE}/{bundle}")
    list_bundles(listing, SURFACE)
    assert listing._seen.of(f"{SURFACE}/{bundle}") is kept


def test_what_was_looked_at_longest_ago_leaves_memory_first() -> None:
    """A bundle that was deleted is looked at no more, and must not outlast one that is listed every few seconds."""
    seen = SeenFiles(most_bytes=2)
    for path in ("listed", "deleted"):
        seen.keep(path, {"manifest.json": b"x"})
    seen.of("listed")
    seen.keep("new", {"manifest.json": b"x"})
    assert [bool(seen.of(path)) for path in ("listed", "deleted", "new")] == [True, False, True]


def test_publishing_what_is_there_changes_nothing_and_mends_nothing(remote: RemoteRegistry) -> None:
    """Immutable: a damaged bundle is said, never written over."""
    bundle = publish_bundle(remote, dim=32)
    memory = fsspec.filesystem("memory")
    path = f"{folder_there(remote, bundle)}/{QUERY_TOWER}"
    memory.pipe_file(path, b"damaged")
    with pytest.raises(BundleCorrupt, match="SHA-256"):
        publish_bundle(remote, dim=32)
    assert memory.cat_file(path) == b"damaged"


def test_a_publication_that_was_cut_off_is_finished_by_the_next(remote: RemoteRegistry) -> None:
    """Its files without the manifest are no bundle; some may be half there."""
    bundle = publish_bundle(remote, dim=32)
    memory = fsspec.filesystem("memory")
    memory.rm_file(f"{folder_there(remote, bundle)}/{MANIFEST_NAME}")
    memory.pipe_file(f"{folder_there(remote, bundle)}/{QUERY_TOWER}", b"half")
    elsewhere = RemoteRegistry(remote.url, cache=remote.folder / "another machine")
    with pytest.raises(BundleCorrupt, match="publish the bundle again"):
        read_bundle(elsewhere, SURFACE, bundle)
    assert publish_bundle(elsewhere, dim=32) == bundle


def test_publishers_of_one_bundle_at_once_do_no_harm(remote: RemoteRegistry, tmp_path: Path) -> None:
    """Two trainers on the same data make the same bytes, to the same id."""
    source = read_bundle(tmp_path / "folder", SURFACE, publish_bundle(tmp_path / "folder", dim=32))
    at_once([lambda: write_bundle(remote, source.manifest, source.files)] * 8)
    assert list_bundles(remote, SURFACE) == [source.id]
    assert read_bundle(RemoteRegistry(remote.url, cache=tmp_path / "another machine"), SURFACE, source.id) == source


def test_what_nobody_could_read_back_is_not_published(remote: RemoteRegistry, tmp_path: Path) -> None:
    """As in a folder."""
    source = read_bundle(tmp_path / "folder", SURFACE, publish_bundle(tmp_path / "folder", dim=32))
    with pytest.raises(BundleCorrupt, match="SHA-256"):
        write_bundle(remote, source.manifest, {**source.files, QUERY_TOWER: b"other"})
    with pytest.raises(BundleCorrupt, match="surface name"):
        write_bundle(remote, replace(source.manifest, surface="../up"), source.files)
    assert surfaces_in(remote) == []


def test_a_bucket_that_is_not_there_is_a_sentence_and_is_not_made(tmp_path: Path) -> None:
    """A misspelt bucket must not look like a registry without bundles, nor become one."""
    wrong = RemoteRegistry("memory://buckett/bundles", cache=tmp_path)
    for ask in (
        lambda: list_bundles(wrong, SURFACE),
        lambda: read_bundle(wrong, SURFACE, "0" * 16),
        lambda: publish_bundle(wrong, dim=32),
    ):
        with pytest.raises(BundlesUnavailable, match="there is no buckett; create it, or mend the URL"):
            ask()
    assert not fsspec.filesystem("memory").exists("/buckett")


class Away(fsspec.AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """A store that nobody reaches; as some clients do, it raises an error that is no `OSError`."""

    def ls(self, path: str, detail: bool = True, **_: object) -> list[str]:  # noqa: FBT001, FBT002 - fsspec's signature
        """Fail, as everything else that is built upon it."""
        raise RuntimeError("no route to host")


def test_a_store_that_does_not_answer_is_a_sentence(tmp_path: Path) -> None:
    """Each kind of store has errors of its own; a trace of its internals tells an operator nothing."""
    fsspec.register_implementation("away", Away, clobber=True)
    away = RemoteRegistry("away://bucket/bundles", cache=tmp_path)
    for ask in (lambda: list_bundles(away, SURFACE), lambda: read_bundle(away, SURFACE, "0" * 16)):
        with pytest.raises(BundlesUnavailable, match=r"does not answer \(RuntimeError: no route to host\); check its URL"):
            ask()


def test_a_kind_of_url_that_needs_a_package_names_it() -> None:
    """No object store's client is installed with Roost."""
    with pytest.raises(BundlesUnavailable, match=r"the registry s3://b/p cannot be opened: Install s3fs"):
        registry_at("s3://b/p")
    with pytest.raises(BundlesUnavailable, match="Protocol not known: nosuch"):
        registry_at("nosuch://b/p")


def test_a_file_url_is_the_folder_itself(tmp_path: Path) -> None:
    """Nothing is copied that is already on this machine."""
    assert registry_at(f"file://{tmp_path}") == registry_at(tmp_path) == registry_at(str(tmp_path)) == FolderRegistry(tmp_path)
