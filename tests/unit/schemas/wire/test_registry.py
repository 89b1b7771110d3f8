"""Schemas by id: what needs no registry to be judged."""

import pytest

from schemas.errors import UnknownSchema
from schemas.wire.registry import RegistrySchemas

NOBODY = "http://127.0.0.1:1"


def test_an_id_that_no_registry_can_have_is_a_dead_letter_and_holds_nothing_up() -> None:
    """Confluent's registry answers as a wrong address would: one record of junk held its partition for ever."""
    with RegistrySchemas(NOBODY, timeout_s=0.5) as schemas:
        for schema_id in (2**31, 2**32 - 1):
            assert schemas.answered(b"\x00" + schema_id.to_bytes(4) + b"junk")
            with pytest.raises(UnknownSchema, match=f"schema id {schema_id} is above any that a registry gives"):
                schemas(schema_id)
        assert schemas.trouble is None
        assert not schemas.answered(b"\x00" + (2**30 - 1).to_bytes(4) + b"perhaps")
