"""The HTTP interface as a document: the node does what it says, whatever it is sent."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from schemathesis.core.result import Ok
from schemathesis.openapi import from_dict
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.served_app import Served
from tools.reference import FOLDER, OPENAPI

EXAMPLES = 60

DESCRIBED = from_dict(json.loads((FOLDER / OPENAPI).read_text(encoding="utf-8")))
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
