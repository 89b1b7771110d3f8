"""What a row of the index carries besides its vector: the candidate token, made once at insert, and the text. Pure bytes."""

from collections.abc import Mapping
from typing import Any

from schemas.records.feedback import CandidateToken
from schemas.tokens import write_token_mapping

# a token is base64url: no byte of it is a newline
_SEPARATOR = b"\n"


def row_payload(bundle: str, embedding: Mapping[str, Any]) -> bytes:
    """Return the payload of a decoded embedding (an Avro mapping with features) of `bundle`.

    Raises:
        InvalidRecord: its token would be over 512 bytes.
    """
    token = write_token_mapping(
        CandidateToken.SUBJECT,
        {
            "bundle": bundle,
            "event_time_ms": embedding["event_time_ms"],
            "sequence": embedding["sequence"],
            "features": embedding["features"],
        },
    )
    text: str = embedding["text"]
    return token.encode("ascii") + _SEPARATOR + text.encode()


def token_and_text(payload: bytes) -> tuple[str, str]:
    """Return what `row_payload` put in."""
    token, _, text = payload.partition(_SEPARATOR)
    return token.decode("ascii"), text.decode()
