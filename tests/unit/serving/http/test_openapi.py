"""The HTTP interface as a document: what is committed is true, and the node does what it says, whatever it is sent."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from schemathesis.core.result import Ok
from schemathesis.openapi import from_dict
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.served_app import Served
from tools.openapi import PLACE, interface

EXAMPLES = 60

DESCRIBED = from_dict(json.loads(PLACE.read_text(encoding="utf-8")))
OPERATIONS: dict[str, Any] = {found.ok().label: found.ok() for found in DESCRIBED.get_all_operations() if isinstance(found, Ok)}


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_node_keeps_to_its_description(name: str, served: Served) -> None:
    """No 500, no status or body that is not described, no bad request that passes."""

    @given(case=OPERATIONS[name].as_strategy())
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    def holds(case: Any) -> None:
        # texts are bounded in bytes, which JSON Schema cannot say
        case.call_and_validate(base_url=served.server.url, excluded_checks=[positive_data_acceptance])

    holds()


def test_the_committed_description_is_the_one_the_node_serves() -> None:
    """Clients in other languages are made from the file."""
    assert PLACE.read_text(encoding="utf-8") == interface(), "run `python -m tools.openapi`"
