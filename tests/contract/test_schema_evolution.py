"""Every version of a schema reads every other, both ways: records of all releases lie on one topic, some for ever."""

import copy
import json
from typing import Any

import pytest

from roost.subjects import compatibility
from schemas.codec import schema_json, subjects, versions
from schemas.topics import standard_topics


def incompatibilities(schemas: list[dict[str, Any]]) -> list[str]:
    """Return why some of a subject's versions cannot read others."""
    return compatibility.incompatibilities({f"version {number}": schema for number, schema in enumerate(schemas, 1)})


@pytest.mark.parametrize("subject", subjects())
def test_every_version_reads_every_other(subject: str) -> None:
    """A compacted topic holds the first version's records for ever, and a rollback reads the newest with an old release."""
    assert versions(subject) == tuple(range(1, len(versions(subject)) + 1))
    assert incompatibilities([schema_json(subject, version) for version in versions(subject)]) == []


@pytest.mark.parametrize("subject", subjects())
def test_a_schema_is_plain_ascii_with_a_doc_for_every_field(subject: str) -> None:
    """The local id is a digest of the text; the docs are what a registry shows."""
    for version in versions(subject):
        schema = schema_json(subject, version)
        assert json.dumps(schema, ensure_ascii=False).isascii()
        assert schema["doc"]
        assert all(field.get("doc") for field in schema["fields"])
        assert schema["namespace"] == "roost"


def with_field(**field: Any) -> dict[str, Any]:
    """Return a second version of the tweet with one field more."""
    second = copy.deepcopy(schema_json("tweet", 1))
    second["fields"].append(field)
    return second


def without(name: str) -> dict[str, Any]:
    """Return a second version of the tweet with one field less."""
    second = copy.deepcopy(schema_json("tweet", 1))
    second["fields"] = [field for field in second["fields"] if field["name"] != name]
    return second


def retyped(name: str, avro_type: Any) -> dict[str, Any]:
    """Return a second version of the tweet with another type of a field."""
    second = copy.deepcopy(schema_json("tweet", 1))
    next(field for field in second["fields"] if field["name"] == name)["type"] = avro_type
    return second


@pytest.mark.parametrize(
    "second",
    [
        with_field(name="must", type="long", doc=""),
        without("candidate_id"),
        retyped("event_time_ms", "string"),
        retyped("sequence", "int"),
        retyped("text", ["null", "string"]),
    ],
    ids=["a field without a default", "a needed field dropped", "another type", "a narrower type", "made nullable"],
)
def test_a_planted_incompatible_version_is_caught(second: dict[str, Any]) -> None:
    """The check above passes on one version whatever it does: here it must fail."""
    assert incompatibilities([schema_json("tweet", 1), second])


@pytest.mark.parametrize(
    "second",
    [with_field(name="likes", type="long", default=0, doc=""), without("region")],
    ids=["a field with a default", "an optional field dropped"],
)
def test_a_planted_compatible_version_passes(second: dict[str, Any]) -> None:
    """Otherwise no schema could ever be extended."""
    assert incompatibilities([schema_json("tweet", 1), second]) == []


def test_a_third_version_must_fit_the_first_too() -> None:
    """Transitive: each step alone may be harmless."""
    first, third = schema_json("tweet", 1), with_field(name="likes", type="string", default="", doc="")
    second = with_field(name="likes", type="long", default=0, doc="")
    assert incompatibilities([first, third]) == []
    assert incompatibilities([first, second, third])


def test_an_enum_may_grow_since_it_has_a_default() -> None:
    """A new kind of engagement is read as unknown by old releases."""
    second = copy.deepcopy(schema_json("engagement", 1))
    kind = next(field for field in second["fields"] if field["name"] == "kind")
    kind["type"]["symbols"].append("bookmark")
    assert incompatibilities([schema_json("engagement", 1), second]) == []


def test_subjects_and_topics_are_known_to_each_other() -> None:
    """Every record topic has a subject: a topic nobody can decode would be found by its first reader."""
    plural = {"node-status": "node-status"}
    for topic in standard_topics():
        if topic.name.endswith(".dlq"):
            continue
        subject = plural.get(topic.name, topic.name.removesuffix("s"))
        assert subject in subjects() or topic.name == "labeler-state", topic.name
