"""A registry of bundles behind a URL, of any kind fsspec knows: s3://, gs://. Moves bytes and judges none; see `schemas.bundle`.

    <url>/<surface>/<bundle id>/manifest.json, *.onnx

Laid out as a folder is, so that a copy of a folder is such a registry as it stands.
"""

import hashlib
import inspect
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from pydantic import PlainSerializer, PlainValidator, ValidationInfo

from schemas.errors import BundleCorrupt, BundlesUnavailable, Refused

DEFAULT_CACHE = Path("~/.cache/roost/bundles")
_FOLDER_URL = "file://"
# the store itself refuses; memory has one writer
_CONDITIONAL = {"s3", "s3a", "gs", "gcs", "memory"}


class RemoteRegistry:
    """Reads and writes below one URL. A method raises `BundlesUnavailable` when the place does not answer.

    Attributes:
        url: where it is, as it was given.
        cache: folder on this machine for the bundles that were fetched from it.
    """

    def __init__(self, url: str, *, cache: Path = DEFAULT_CACHE) -> None:
        """Connect to nothing yet; raises `BundlesUnavailable` where fsspec knows no such kind, or misses its package."""
        # not in the base install, and most registries are folders
        import fsspec  # noqa: PLC0415

        try:
            self._files, self._root = fsspec.core.url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise BundlesUnavailable(f"the registry {url} cannot be opened: {error}") from error
        self.url = url.rstrip("/")
        self._root = self._root.rstrip("/")
        # two registries never vouch for each other's bundles
        self.cache = cache.expanduser() / hashlib.sha256(self.url.encode()).hexdigest()[:16]

    def __str__(self) -> str:
        """Return the URL, for sentences."""
        return self.url

    def names(self, path: str) -> list[str]:
        """Return the names below a path, sorted; none where nothing is."""
        with self._asked():
            try:
                # some kinds remember listings
                self._files.invalidate_cache()
                entries: list[str] = self._files.ls(self._at(path), detail=False)
            except (FileNotFoundError, NotADirectoryError):
                self._require_bucket()
                return []
            return sorted(name for entry in entries if (name := entry.rstrip("/").rpartition("/")[2]))

    def read(self, path: str, most_bytes: int) -> bytes:
        """Return a file's bytes.

        Raises:
            FileNotFoundError: there is none.
            BundleCorrupt: it is larger than that.
        """
        with self._asked():
            try:
                self._files.invalidate_cache()
                if self._files.size(self._at(path)) > most_bytes:
                    raise BundleCorrupt(f"{self.url}/{path} is no file of at most {most_bytes} bytes")
                content: bytes = self._files.cat_file(self._at(path))
            except FileNotFoundError:
                self._require_bucket()
                raise
            return content

    def holds(self, path: str) -> bool:
        """Tell whether there is a file."""
        with self._asked():
            self._files.invalidate_cache()
            return bool(self._files.exists(self._at(path)))

    def write(self, path: str, content: bytes) -> None:
        """Put a file there whole, also over another; a bucket is never made."""
        with self._asked():
            self._require_bucket()
            # where folders are real
            self._files.makedirs(self._at(path).rpartition("/")[0], exist_ok=True)
            self._files.pipe_file(self._at(path), content)

    def create(self, path: str, content: bytes) -> bool:
        """Put a file where there is none, and tell whether this was done: of many at once one does.

        Args:
            content: differs from what anybody else would put there.

        Raises:
            Refused: on this kind of store nobody can.
        """
        if not self._puts_on_condition():
            raise Refused(
                f"{self.url} cannot put a file only where there is none; keep the registry in a folder, on s3:// or on gs://"
            )
        with self._asked():
            self._require_bucket()
            self._files.makedirs(self._at(path).rpartition("/")[0], exist_ok=True)
            try:
                self._files.pipe_file(self._at(path), content, mode="create")
            # clients name a condition that failed differently, and a put is repeated when its answer was lost
            except OSError:
                if not self._files.exists(self._at(path)):
                    raise
                return bool(self._files.cat_file(self._at(path)) == content)
            return True

    def _puts_on_condition(self) -> bool:
        kinds = {self._files.protocol} if isinstance(self._files.protocol, str) else set(self._files.protocol)
        # clients of other kinds look first and then write, or do not look
        put = getattr(self._files, "_pipe_file", self._files.pipe_file)
        return not kinds.isdisjoint(_CONDITIONAL) and "mode" in inspect.signature(put).parameters

    def require_writable(self) -> None:
        """Raise `BundlesUnavailable` where nothing can be written."""
        name = f".writable-{uuid.uuid4().hex}"
        self.write(name, b"")
        with self._asked():
            self._files.rm_file(self._at(name))

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}".rstrip("/")

    def _require_bucket(self) -> None:
        # an object store has no empty folders: only the bucket tells a wrong address from a registry without bundles
        name = self._root.lstrip("/").partition("/")[0]
        bucket = f"{self._root[: len(self._root) - len(self._root.lstrip('/'))]}{name}"
        if name and not self._files.exists(bucket):
            raise BundlesUnavailable(f"the registry {self.url} cannot be used: there is no {name}; create it, or mend the URL")

    @contextmanager
    def _asked(self) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, BundleCorrupt, BundlesUnavailable):
            raise
        # each kind of store has errors of its own, not all of them OSError
        except Exception as error:
            raise BundlesUnavailable(
                f"the registry {self.url} does not answer ({type(error).__name__}: {error}); check its URL, credentials and network"
            ) from error


BundleRegistry = Path | RemoteRegistry


def registry_at(place: str, *, cache: Path = DEFAULT_CACHE) -> BundleRegistry:
    """Return the registry at a folder's path or a URL; raises `BundlesUnavailable` where no package here can open such a URL."""
    if place.startswith(_FOLDER_URL):
        return Path(place.removeprefix(_FOLDER_URL))
    return RemoteRegistry(place, cache=cache) if "://" in place else Path(place)


def folder_of(registry: BundleRegistry) -> Path:
    """Return the folder on this machine that holds a registry's bundles, or those that were fetched from it."""
    return registry if isinstance(registry, Path) else registry.cache


def _of_setting(value: object, info: ValidationInfo) -> BundleRegistry:
    if isinstance(value, Path | RemoteRegistry):
        return value
    return registry_at(str(value), cache=info.data.get("registry_cache", DEFAULT_CACHE))


# a setting of this type reads the cache's folder from a setting `registry_cache` that is declared before it
RegistrySetting = Annotated[BundleRegistry, PlainValidator(_of_setting), PlainSerializer(str)]
