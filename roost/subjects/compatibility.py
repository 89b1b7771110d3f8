"""Whether schemas can replace each other both ways: FULL_TRANSITIVE, as Confluent's registry defines it. Asks no registry."""

import itertools
import json
from collections.abc import Mapping
from typing import Any

import avro.compatibility
import avro.schema

Schema = Mapping[str, Any]


def incompatibilities(schemas: Mapping[str, Schema]) -> list[str]:
    """Return one sentence for each schema that cannot read what another one wrote.

    Args:
        schemas: by what they are called in a sentence.
    """
    checker = avro.compatibility.ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]
    parsed = {name: avro.schema.parse(json.dumps(schema)) for name, schema in schemas.items()}
    found = []
    for reader, writer in itertools.permutations(parsed, 2):
        result = checker.get_compatibility(parsed[reader], parsed[writer])
        if result.compatibility is not avro.compatibility.SchemaCompatibilityType.compatible:
            found.append(f"{reader} cannot read what {writer} wrote: {'; '.join(sorted(result.messages))}")
    return found
