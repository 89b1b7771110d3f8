"""Schemas by the ids of a Confluent-compatible schema registry, each asked for once. Decodes nothing and holds no record.

Who must not wait asks `answered`: the registry is then asked in the background. Who may wait calls the object, a `SchemaLookup`.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Self
from urllib.parse import urlsplit

from schemas.codec import frame_id, is_local
from schemas.errors import RegistryUnavailable, UndecodableRecord, UnknownSchema

log = logging.getLogger(__name__)

# of Confluent's own error codes; a 404 with another one is a wrong address, not a missing schema
_SCHEMA_NOT_FOUND = 40403
# ids are Java's ints: a larger one is to Confluent's registry a path that it does not have, and its 404 says nothing of a schema
_LAST_ID = 2**31 - 1
# a schema may be registered after its first record: what was not found is asked for again, but not for each record
_NOT_FOUND_S = 5.0
_ANSWER_S = 5.0
_MOST_NOT_FOUND = 10_000


class RegistrySchemas:
    """The schemas of one registry. May be used by several threads."""

    def __init__(self, url: str, *, timeout_s: float, retry_s: float = 1.0) -> None:
        """Connect to nothing yet.

        Args:
            url: of the Confluent API; may hold `user:password@`.
            timeout_s: how long one question waits for its answer.
            retry_s: shortest time from a question without an answer to the next.
        """
        from confluent_kafka.schema_registry import SchemaRegistryClient  # noqa: PLC0415 - a second, for those who use a registry

        # we ask again ourselves, and go on with other work meanwhile
        self._client = SchemaRegistryClient({"url": url, "timeout": timeout_s, "max.retries": 0})
        self._place = urlsplit(url)._replace(netloc=urlsplit(url).netloc.rpartition("@")[2]).geturl()
        self._retry_s = retry_s
        self._found: dict[int, str] = {}
        # what is said of them, and when they were asked for
        self._not_found: dict[int, tuple[str, float]] = {}
        self._asking: set[int] = set()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="schema-registry")
        self._ask_again_s = 0.0
        self.trouble: str | None = None

    def __call__(self, schema_id: int) -> str:
        """Return a schema; a `schemas.codec.SchemaLookup`.

        Raises:
            UnknownSchema: the registry has none, or one that no record of ours can have been written with.
            RegistryUnavailable: it did not answer.
        """
        found = self._found.get(schema_id)
        if found is not None:
            return found
        if schema_id > _LAST_ID:
            raise UnknownSchema(f"schema id {schema_id} is above any that a registry gives; send Confluent-framed Avro")
        known = self._not_found.get(schema_id)
        if known is not None:
            # a new one each time: an exception that is raised again keeps every frame that it ever passed
            raise UnknownSchema(known[0])
        return self._ask(schema_id)

    def insist(self, schema_id: int, *, should_stop: Callable[[], bool]) -> str:
        """Return a schema as a call does, however long the registry takes: `RegistryUnavailable` only when `should_stop`."""
        while True:
            try:
                return self(schema_id)
            except RegistryUnavailable:
                if should_stop():
                    raise
                time.sleep(self._retry_s)

    def answered(self, value: bytes | None) -> bool:
        """Tell at once whether a record's schema needs no more asking: it is local, known, or known not to be there.

        Where it does, the registry is asked meanwhile: ask again later.
        """
        if value is None:
            return True
        try:
            schema_id = frame_id(value)
        except UndecodableRecord:
            return True
        if is_local(schema_id) or schema_id > _LAST_ID or schema_id in self._found:
            return True
        now_s = time.monotonic()
        known = self._not_found.get(schema_id)
        if known is not None and now_s - known[1] < _NOT_FOUND_S:
            return True
        with self._lock:
            if schema_id not in self._asking and now_s >= self._ask_again_s:
                self._asking.add(schema_id)
                self._pool.submit(self._ask_aside, schema_id)
        return False

    def close(self) -> None:
        """Ask no more; a question under way is waited for."""
        self._pool.shutdown(cancel_futures=True)
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask_aside(self, schema_id: int) -> None:
        try:
            self._ask(schema_id)
        except (UnknownSchema, RegistryUnavailable):
            # noted; whoever decodes the record hears it
            pass
        finally:
            with self._lock:
                self._asking.discard(schema_id)

    def _ask(self, schema_id: int) -> str:
        from confluent_kafka.schema_registry.error import SchemaRegistryError  # noqa: PLC0415 - as above

        try:
            schema = self._client.get_schema(schema_id)
        except SchemaRegistryError as error:
            if error.error_code == _SCHEMA_NOT_FOUND:
                self._answers()
                raise self._remember(schema_id, f"schema id {schema_id} is not in the registry at {self._place}") from error
            raise self._unavailable(f"answers {error.http_status_code} ({error.error_message})") from error
        # no answer, or one that is no registry's: the client raises what the HTTP library raises that it found installed
        except Exception as error:
            raise self._unavailable(f"does not answer ({type(error).__name__}: {error})") from error
        self._answers()
        if schema.schema_type != "AVRO" or schema.references or schema.schema_str is None:
            what = "refers to other subjects" if schema.references else f"is {schema.schema_type}"
            raise self._remember(schema_id, f"schema id {schema_id} {what}; register one Avro schema that is whole")
        self._found[schema_id] = schema.schema_str
        self._not_found.pop(schema_id, None)
        return schema.schema_str

    def _remember(self, schema_id: int, sentence: str) -> UnknownSchema:
        while len(self._not_found) >= _MOST_NOT_FOUND:
            self._not_found.pop(next(iter(self._not_found)), None)
        # anew at the end: the oldest is dropped first
        self._not_found.pop(schema_id, None)
        self._not_found[schema_id] = (sentence, time.monotonic())
        return UnknownSchema(sentence)

    def _unavailable(self, reason: str) -> RegistryUnavailable:
        sentence = f"the schema registry at {self._place} {reason}; records of its schemas wait for it"
        if self.trouble is None:
            log.warning("%s", sentence)
        self.trouble = sentence
        self._ask_again_s = time.monotonic() + self._retry_s
        return RegistryUnavailable(sentence)

    def _answers(self) -> None:
        if self.trouble is not None:
            log.warning("the schema registry at %s answers again", self._place)
        self.trouble = None


@contextmanager
def registry_schemas(url: str | None) -> Iterator[RegistrySchemas | None]:
    """Yield the schemas of the registry at `url` until the context ends; None where no registry is named."""
    if url is None:
        yield None
    else:
        with RegistrySchemas(url, timeout_s=_ANSWER_S) as schemas:
            yield schemas
