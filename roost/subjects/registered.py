"""This release's schemas at a Confluent-compatible registry: registered in order, and compared. Decides nothing offline.

Each subject is registered under its own name, and again under `<topic>-value` for the topics that others produce to: that is where
Confluent's serializers look by default.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from roost.publish import TOPICS
from roost.subjects.compatibility import incompatibilities
from schemas.codec import schema_json, subjects, versions
from schemas.errors import Refused, RegistryUnavailable
from schemas.progress import OnProgress, told, untold

LEVEL = "FULL_TRANSITIVE"
_TIMEOUT_S = 10.0
# Confluent's error codes: no such subject; no such schema in it; no level of the subject's own
_NOT_THERE = (40401, 40403, 40408)
_INCOMPATIBLE = 409
_REGISTER = "roost schemas register"


@dataclass(frozen=True, slots=True)
class Registered:
    """A version at a registry.

    Attributes:
        subject: the registry's name for it.
        version: ours.
        new: it was not there before.
    """

    subject: str
    version: int
    schema_id: int
    new: bool


@dataclass(frozen=True, slots=True)
class Fault:
    """A thing that is not as `register` leaves it, and what mends it."""

    sentence: str
    fix: str


def names_at_registry() -> dict[str, str]:
    """Return our subject by each name it is registered under."""
    return {subject: subject for subject in subjects()} | {f"{topic}-value": kind.SUBJECT for topic, kind in TOPICS.items()}


class Registry:
    """A registry as an operator uses it; a context manager."""

    def __init__(self, url: str) -> None:
        """Connect to nothing yet; `url` is of the Confluent API."""
        self._client = SchemaRegistryClient({"url": url, "timeout": _TIMEOUT_S, "max.retries": 1})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def register(self, *, on_progress: OnProgress = untold) -> list[Registered]:
        """Register every version of every subject, oldest first, under the level FULL_TRANSITIVE; what is there is left as it is.

        Args:
            on_progress: of the subjects, told as the turn of each comes.

        Raises:
            Refused: the registry holds a schema under a name that one of ours does not fit.
            RegistryUnavailable: it did not answer, or answered with another error.
        """
        done = []
        for name, subject in told("registering", names_at_registry().items(), on_progress):
            with _asking():
                self._client.set_compatibility(name, level=LEVEL)
            done += [self._registered(name, subject, version) for version in versions(subject)]
        return done

    def faults(self, *, on_progress: OnProgress = untold) -> list[Fault]:
        """Return each thing about the registry's subjects that is not as `register` leaves it.

        Raises:
            RegistryUnavailable: as `register`.
        """
        found = []
        for name, subject in told("asking", names_at_registry().items(), on_progress):
            found += self._faults_of(name, subject)
        return found

    def _registered(self, name: str, subject: str, version: int) -> Registered:
        known = self._place_of(name, subject, version)
        if known is not None:
            return Registered(name, version, known[1], new=False)
        try:
            with _asking():
                schema_id = self._client.register_schema(name, _schema(subject, version))
        except _SaysNo as error:
            raise Refused(
                f"{name}: version {version} does not fit what is there; `roost schemas check` compares. {error}"
            ) from error
        return Registered(name, version, schema_id, new=True)

    def _place_of(self, name: str, subject: str, version: int) -> tuple[int, int] | None:
        """Return the registry's number and id of our version; None where it has not got it."""
        try:
            with _asking():
                found = self._client.lookup_schema(name, _schema(subject, version))
        except _NotThere:
            return None
        return found.version or 0, found.schema_id or 0

    def _faults_of(self, name: str, subject: str) -> list[Fault]:
        places = {version: self._place_of(name, subject, version) for version in versions(subject)}
        missing = [
            Fault(f"{name}: version {version} is not registered", _REGISTER) for version, place in places.items() if place is None
        ]
        if len(missing) == len(places):
            return missing
        there = {version: place[0] for version, place in places.items() if place is not None}
        found = missing
        if list(there.values()) != sorted(there.values()):
            sentence = f"{name}: versions {list(there)} are numbers {list(there.values())} there; ours must be in order"
            found.append(Fault(sentence, f"delete the subject {name} at the registry, then {_REGISTER}"))
        level = self._level_of(name)
        if level != LEVEL:
            sentence = f"{name}: its level is {level}, not {LEVEL}; a schema that breaks readers could be registered"
            found.append(Fault(sentence, _REGISTER))
        ours = {f"version {version}": schema_json(subject, version) for version in versions(subject)}
        theirs = self._others(name, set(there.values()))
        # registering puts ours there, and leaves what is there
        fix = f"delete that number of {name} at the registry, and have its producer use ours"
        return found + [Fault(f"{name}: {sentence}", fix) for sentence in incompatibilities(ours | theirs)]

    def _others(self, name: str, ours: set[int]) -> dict[str, Any]:
        """Return the schemas that others have registered under a name."""
        with _asking():
            numbers = [number for number in self._client.get_versions(name) if number not in ours]
            found = {number: self._client.get_version(name, number).schema for number in numbers}
        return {f"the registry's number {number}": json.loads(schema.schema_str or "") for number, schema in found.items()}

    def _level_of(self, name: str) -> str:
        try:
            with _asking():
                level = self._client.get_compatibility(name)
        except _NotThere:
            return "the registry's own"
        return str(level)


def _schema(subject: str, version: int) -> Schema:
    return Schema(json.dumps(schema_json(subject, version)), "AVRO")


class _NotThere(RegistryUnavailable):
    """The registry has not got what was asked for."""


class _SaysNo(Refused):
    """The registry does not take a schema, and says why."""


@contextmanager
def _asking() -> Iterator[None]:
    try:
        yield
    except SchemaRegistryError as error:
        sentence = f"the schema registry answers {error.http_status_code}: {str(error.error_message)[:500]}"
        if error.error_code in _NOT_THERE:
            raise _NotThere(sentence) from error
        raise (_SaysNo if error.http_status_code == _INCOMPATIBLE else RegistryUnavailable)(sentence) from error
    # the client raises what the HTTP library raises that it found installed
    except Exception as error:
        raise RegistryUnavailable(
            f"the schema registry does not answer ({type(error).__name__}: {error}); start it, or mend its address"
        ) from error
