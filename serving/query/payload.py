"""What a row of the index carries besides its vector: the candidate token, made once at insert, and the text. Pure bytes."""

from schemas.errors import InvalidRecord
from schemas.records.candidates import Embedding
from schemas.records.feedback import CandidateToken
from schemas.tokens import token_of, write_token

# a token is base64url: no byte of it is a newline
_SEPARATOR = b"\n"


def row_payload(bundle: str, embedding: Embedding) -> bytes:
    """Return the payload of an embedding, with features, of `bundle`.

    Raises:
        InvalidRecord: it has no features, or its token would be over 512 bytes.
    """
    if embedding.features is None:
        raise InvalidRecord(f"{embedding.candidate_id[:64]!r} comes without the features its vector was computed from")
    token = write_token(CandidateToken(bundle, *embedding.version, embedding.features))
    return token.encode("ascii") + _SEPARATOR + embedding.text.encode()


def payload_of_parts(token_body: bytes, text: bytes) -> bytes:
    """Return the same from a token's Avro body and the text's UTF-8, as they were cut out of a record. Raises as `row_payload`."""
    return token_of(CandidateToken.SUBJECT, token_body) + _SEPARATOR + text


def token_and_text(payload: bytes) -> tuple[str, str]:
    """Return what `row_payload` put in."""
    token, _, text = payload.partition(_SEPARATOR)
    return token.decode("ascii"), text.decode()
