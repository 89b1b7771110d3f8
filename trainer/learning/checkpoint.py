"""The state of a fit on disk: whole or as good as not there, and taken up only by a fit of the same inputs. Trains nothing.

    <folder>/fit.pt    SHA-256 of the rest; then, written by torch: format, what was asked for, the inputs' digest, the fit's state
    <folder>/data/     the examples and the corpus, where they came from topics: those move on, and a fit that went on with others
                       would end at other towers

The folder is named by all that a training was asked to be, code and torch included: a training of anything else has another one.
"""

import hashlib
import io
import logging
import os
import pickle
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from schemas.errors import Refused
from schemas.registry.folder import sync_folder

FORMAT = 1
STATE = "fit.pt"
DATA = "data"
# of a training that nobody went on with
_STALE_AFTER_S = 7 * 86_400.0
_DIGEST_BYTES = 32

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where a training's state is kept while it runs.

    Attributes:
        folder: its own.
        asked: digest of what the training was asked to be.
        every_s: between two states.
        keep_data: writes the data into a folder, before the first state is; None where they are kept elsewhere.
        inputs: digest of what the fit reads; another one's state is not taken up.
        held: the state that was read, until the fit takes it.
    """

    folder: Path
    asked: str
    every_s: float
    keep_data: Callable[[Path], None] | None = None
    inputs: str = ""
    held: list[dict[str, Any]] = field(default_factory=list, compare=False, repr=False)

    @classmethod
    def at(cls, root: Path, asked: str, *, every_s: float) -> "Checkpoint":
        """Return the one of what was asked for, in a folder of them; names those of others, and removes what is a week old."""
        others = [path for path in root.glob("*") if path.is_dir() and path.name != asked[:16]]
        for path in others:
            try:
                written_s = path.stat().st_mtime
            except FileNotFoundError:
                # it has ended meanwhile, or another process of this training was quicker
                continue
            if time.time() - written_s > _STALE_AFTER_S:
                shutil.rmtree(path, ignore_errors=True)
            else:
                log.warning(
                    "%s holds a training with other options, code or torch that was not ended; it is not gone on with", path
                )
        return cls(root / asked[:16], asked, every_s)

    @property
    def data(self) -> Path:
        """The folder of the data."""
        return self.folder / DATA

    def of_inputs(self, inputs: str) -> "Checkpoint":
        """Return the same one, for a fit that reads this."""
        return replace(self, inputs=inputs)

    def exists(self) -> bool:
        """Whether there is a state to go on from, of whatever inputs; one that cannot be read is said and passed over."""
        if not self.held and (found := self._read()) is not None:
            self.held.append(found)
        return bool(self.held)

    def load(self) -> dict[str, Any] | None:
        """Return the state to go on from; None where there is none, or none of these inputs, which is said."""
        found = self.held.pop() if self.held else self._read()
        if found is not None and found["inputs"] != self.inputs:
            log.warning("the training in %s was of other data; this one begins anew", self.folder)
            return None
        return None if found is None else found["state"]

    def save(self, state: dict[str, Any]) -> None:
        """Write the state whole, in place of the one before; raises `OSError` with the path, as on a full disk: that one stays."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.keep_data is not None and not self.data.is_dir():
            self.keep_data(self.data)
        buffer = io.BytesIO()
        torch.save({"format": FORMAT, "asked": self.asked, "inputs": self.inputs, "state": state}, buffer)
        content = buffer.getbuffer()
        path = self.folder / STATE
        descriptor, temporary = tempfile.mkstemp(prefix=".", dir=self.folder)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(hashlib.sha256(content).digest())
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            Path(temporary).replace(path)
        except OSError as error:
            # that of a write names no file, and there are several disks
            raise OSError(error.errno, error.strerror, str(path)) from error
        finally:
            Path(temporary).unlink(missing_ok=True)
        sync_folder(self.folder)

    def remove(self) -> None:
        """Remove state and data."""
        self.held.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextmanager
    def until_ended(self) -> Iterator[None]:
        """Remove it at the end, which is a bundle or a refusal; whatever else breaks a training off leaves it."""
        try:
            yield
        except Refused:
            self.remove()
            raise
        self.remove()

    def _read(self) -> dict[str, Any] | None:
        path = self.folder / STATE
        try:
            return self._verified(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, pickle.UnpicklingError) as error:
            log.warning("%s cannot be gone on from (%s); the training begins anew", path, f"{error!s:.200}")
            return None

    def _verified(self, content: bytes) -> dict[str, Any]:
        digest, written = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if hashlib.sha256(written).digest() != digest:
            raise ValueError("its bytes are not those that were written")
        # nothing but tensors and plain values: a pickle could carry code
        found: dict[str, Any] = torch.load(io.BytesIO(written), weights_only=True)
        if (found["format"], found["asked"]) != (FORMAT, self.asked):
            raise ValueError("it is another training's, or another release's")
        return found
