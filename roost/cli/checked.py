"""Settings and surfaces files as a command reads them: what is wrong in one becomes a sentence. Runs nothing."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

import typer
from pydantic import BaseModel, ValidationError

from schemas.errors import RoostError
from schemas.surfaces import Surface, load_surfaces

SettingsT = TypeVar("SettingsT", bound=BaseModel)


def settings_of(kind: type[SettingsT]) -> SettingsT:
    """Return the settings that the environment gives; raises `RoostError` that names each variable to mend."""
    try:
        return kind()
    except ValidationError as error:
        raise RoostError(f"a setting is wrong: {_faults(kind, error)}") from error


def options_of(kind: type[SettingsT], given: Mapping[str, object]) -> SettingsT:
    """Return settings, of which those with a value in `given` are that; the environment has the others. Raises `BadParameter`.

    Args:
        given: by the settings' names, None for what was not given; other names are passed over, so that it may be all of a command.
    """
    options = {name: given[name] for name in kind.model_fields.keys() & given.keys()}
    try:
        return kind(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        raise typer.BadParameter(_faults(kind, error)) from error


def surfaces_of(path: Path | None) -> dict[str, Surface]:
    """Return the surfaces of a file, by default the shipped one; raises `RoostError` that says what to mend."""
    try:
        return load_surfaces(path)
    except OSError as error:
        raise RoostError(f"the surfaces file {path} cannot be read ({error.strerror}); name another with ROOST_SURFACES") from error
    # not TOML, or a key that is wrong
    except ValueError as error:
        raise RoostError(f"the surfaces file {path} is wrong: {error}") from error


def surface_named(name: str, surfaces: Mapping[str, Surface]) -> Surface:
    """Return a surface of a file; raises `RoostError` that names those there are."""
    if name not in surfaces:
        there = ", ".join(surfaces)
        raise RoostError(f"surface {name!r} is not configured, but {there}; `--surfaces` names the file of your deployment")
    return surfaces[name]


def check_surface_known(name: str, configured: Iterable[str], in_use: Iterable[str]) -> None:
    """Raise `RoostError` that names the surfaces there are where `name` is neither configured nor in use."""
    there = sorted({*configured, *in_use})
    if name not in there:
        raise RoostError(f"there is no surface {name!r}, but {', '.join(there)}; ROOST_SURFACES names the file of your deployment")


def _faults(kind: type[BaseModel], error: ValidationError) -> str:
    return "; ".join(
        f"{_variable(kind, fault['loc'])} {_lower(fault['msg'])} (it is {fault['input']!r})"
        if fault["loc"]
        # of settings that do not fit together
        else fault["msg"].removeprefix("Value error, ")
        for fault in error.errors()
    )


def _variable(kind: type[BaseModel], place: tuple[int | str, ...]) -> str:
    # where a field has an alias, the place is the alias
    name = str(place[0]) if place else ""
    return f"{kind.model_config.get('env_prefix', '')}{name}".upper() if name in kind.model_fields else name


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]
