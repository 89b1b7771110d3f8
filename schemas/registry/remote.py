"""A registry of bundles behind a URL, of any kind fsspec knows: s3://, gs://. Moves bytes and judges none; see `schemas.bundle`.

    <url>/<surface>/<bundle id>/manifest.json, *.onnx

Laid out as a folder is, so that a copy of a folder is such a registry as it stands.
"""

import hashlib
import inspect
import logging
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from schemas.errors import BundleCorrupt, BundlesUnavailable, Refused
from schemas.progress import OnProgress, told_by_bytes, untold
from schemas.registry.folder import FolderRegistry
from schemas.registry.kind import Check, T
from schemas.registry.seen import SeenFiles

log = logging.getLogger(__name__)

DEFAULT_CACHE = Path("~/.cache/roost/bundles")
# the store itself refuses; memory has one writer
_CONDITIONAL = {"s3", "s3a", "gs", "gcs", "memory"}
# of what is not kept on disk: thousands of manifests, of some kilobytes each
_MOST_SEEN_BYTES = 64 << 20


class RemoteRegistry:
    """Reads and writes below one URL; methods as `schemas.registry.kind.BundleRegistry` says them.

    Attributes:
        url: where it is, as it was given.
        folder: on this machine, for the bundles that were fetched from it.
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
        self.folder = cache.expanduser() / hashlib.sha256(self.url.encode()).hexdigest()[:16]
        self._copies = FolderRegistry(self.folder)
        self._seen = SeenFiles(_MOST_SEEN_BYTES)

    def __str__(self) -> str:
        """Return the URL, for sentences."""
        return self.url

    def names(self, path: str) -> list[str]:
        """See `BundleRegistry.names`."""
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
        """See `BundleRegistry.read`."""
        with self._asked():
            try:
                self._files.invalidate_cache()
                if self._files.size(self._at(path)) > most_bytes:
                    raise BundleCorrupt(f"{self}/{path} is no file of at most {most_bytes} bytes")
                content: bytes = self._files.cat_file(self._at(path))
            except FileNotFoundError as error:
                self._require_bucket()
                folder, _, name = path.rpartition("/")
                raise BundleCorrupt(f"{name} is not in {self}/{folder}; publish the bundle again") from error
            return content

    def checked(self, path: str, check: Check[T], *, keep: bool = False) -> T:
        """See `BundleRegistry.checked`."""
        try:
            return self._copies.checked(path, check)
        except (BundleCorrupt, BundlesUnavailable):
            # not fetched yet, damaged since, or on a disk that fails
            return self._fetched(path, check) if keep else self._seen_or_read(path, check)

    def _seen_or_read(self, path: str, check: Check[T]) -> T:
        # no file changes: what passed the check is read once. Which paths there are is asked at every listing
        seen, fetched = self._seen.of(path), dict[str, bytes]()

        def read(name: str, most_bytes: int) -> bytes:
            if name in seen:
                return seen[name]
            fetched[name] = self.read(f"{path}/{name}", most_bytes)
            return fetched[name]

        found = check(read)
        if fetched:
            self._seen.keep(path, {**seen, **fetched})
        return found

    def _fetched(self, path: str, check: Check[T]) -> T:
        files: dict[str, bytes] = {}

        def read(name: str, most_bytes: int) -> bytes:
            files[name] = self.read(f"{path}/{name}", most_bytes)
            return files[name]

        found = check(read)
        try:
            self._copies.replace(path, files)
        except OSError as error:
            log.warning("%s is fetched at every start: it cannot be kept in %s (%s)", path, self.folder, error.strerror)
        return found

    def publish(
        self, path: str, files: Mapping[str, bytes], *, last: str, check: Check[object], on_progress: OnProgress = untold
    ) -> None:
        """See `BundleRegistry.publish`: what was put there is read back from there."""
        if not self._holds(f"{path}/{last}"):
            # who else writes below this path writes the same bytes
            in_order = dict(sorted(files.items(), key=lambda file: file[0] == last))
            for name, content in told_by_bytes(f"writing to {self}", in_order, on_progress):
                self._write(f"{path}/{name}", content)
        self._fetched(path, check)

    def _holds(self, path: str) -> bool:
        with self._asked():
            self._files.invalidate_cache()
            return bool(self._files.exists(self._at(path)))

    def _write(self, path: str, content: bytes) -> None:
        with self._asked():
            # a bucket is never made
            self._require_bucket()
            # where folders are real
            self._files.makedirs(self._at(path).rpartition("/")[0], exist_ok=True)
            self._files.pipe_file(self._at(path), content)

    def create(self, path: str, content: bytes) -> bool:
        """See `BundleRegistry.create`."""
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
        """See `BundleRegistry.require_writable`."""
        name = f".writable-{uuid.uuid4().hex}"
        self._write(name, b"")
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
        except (BundleCorrupt, BundlesUnavailable):
            raise
        # each kind of store has errors of its own, not all of them OSError
        except Exception as error:
            raise BundlesUnavailable(
                f"the registry {self.url} does not answer ({type(error).__name__}: {error}); check its URL, credentials and network"
            ) from error
