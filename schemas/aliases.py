"""Names of bundles that move: `stable`, `nightly`. Each move is a file that nobody writes over; serves and rolls out nothing.

    <registry>/<surface>/aliases/<name>/000000000042.json

The highest number counts. Who moves an alias puts the next number where there is none, which of many at once only one can: that is
the compare-and-set, and the files before it are the history. It works wherever a file can be put on that condition.
"""

import re
import uuid

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.bundle import MAX_MANIFEST_BYTES, check_surface
from schemas.errors import BundleCorrupt, CompareAndSetLost
from schemas.ids import is_bundle_id
from schemas.registry.place import RegistryPlace, registry_at

_FOLDER = "aliases"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}\Z")
_FILE = re.compile(r"(\d{12})\.json\Z")


class Move(BaseModel):
    """One move of an alias.

    Attributes:
        number: 1 for the first.
        bundle: what the alias names from then on.
        previous: what it named before.
        actor: who moved it.
        time_ms: when, by that one's clock.
        token: tells this move from another of the same number.
    """

    model_config = ConfigDict(frozen=True)

    number: int = Field(ge=1)
    bundle: str = Field(pattern=r"^[0-9a-f]{16}$")
    previous: str | None
    actor: str
    time_ms: int
    token: str


def is_alias(text: str) -> bool:
    """Tell whether `text` may name an alias: a letter, then letters, digits, - and _, 64 at most, and no bundle's id."""
    return _NAME.match(text) is not None and not is_bundle_id(text)


def moves_of(registry: RegistryPlace, surface: str, alias: str) -> list[Move]:
    """Return an alias' moves, oldest first; none where there is no such alias. Raises `BundleCorrupt` where one cannot be read."""
    return [_read(registry, surface, alias, number) for number in _numbers(registry, surface, alias)]


def bundle_at(registry: RegistryPlace, surface: str, alias: str) -> str | None:
    """Return the bundle that an alias names; None where there is no such alias."""
    last = _last(registry, surface, alias)
    return last.bundle if last else None


def aliases_in(registry: RegistryPlace, surface: str) -> dict[str, str]:
    """Return the bundles of a surface's aliases, by name."""
    found = {name: bundle_at(registry, surface, name) for name in registry_at(registry).names(_folder(surface)) if is_alias(name)}
    return {name: bundle for name, bundle in found.items() if bundle is not None}


def move_alias(
    registry: RegistryPlace, surface: str, alias: str, bundle: str, *, expected: str | None, actor: str, time_ms: int
) -> Move:
    """Let an alias name a bundle, if it names the expected one until then. To what it names already it is not moved again.

    Args:
        alias: as `is_alias` allows.
        expected: a bundle; None if there should be no such alias yet.

    Raises:
        CompareAndSetLost: it names another, or somebody else moved it at the same time.
        Refused: the registry is on a kind of store where nobody could tell.
    """
    last = _last(registry, surface, alias)
    current = last.bundle if last else None
    if current != expected:
        raise CompareAndSetLost(
            f"{alias} names {current or 'nothing yet'}, not {expected or 'nothing'}; look again before you move it"
        )
    if last is not None and current == bundle:
        return last
    move = Move(
        number=last.number + 1 if last else 1, bundle=bundle, previous=current, actor=actor, time_ms=time_ms, token=uuid.uuid4().hex
    )
    if not registry_at(registry).create(_path(surface, alias, move.number), move.model_dump_json().encode()):
        raise CompareAndSetLost(f"somebody else moved {alias} at the same time; look again before you move it")
    return move


def _folder(surface: str) -> str:
    check_surface(surface)
    return f"{surface}/{_FOLDER}"


def _path(surface: str, alias: str, number: int) -> str:
    return f"{_folder(surface)}/{alias}/{number:012}.json"


def _numbers(registry: RegistryPlace, surface: str, alias: str) -> list[int]:
    names = registry_at(registry).names(f"{_folder(surface)}/{alias}")
    return sorted(int(found[1]) for name in names if (found := _FILE.match(name)))


def _last(registry: RegistryPlace, surface: str, alias: str) -> Move | None:
    numbers = _numbers(registry, surface, alias)
    return _read(registry, surface, alias, numbers[-1]) if numbers else None


def _read(registry: RegistryPlace, surface: str, alias: str, number: int) -> Move:
    path = _path(surface, alias, number)
    try:
        return Move.model_validate_json(registry_at(registry).read(path, MAX_MANIFEST_BYTES))
    except (BundleCorrupt, ValidationError) as error:
        raise BundleCorrupt(f"alias {alias}: {registry}/{path} is no move that this release can read; copy it back") from error
