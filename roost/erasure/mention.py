"""Whether bytes mention an id: in a record's fields, inside the tokens they carry, or in any text. Reads no topic and no file."""

import base64
import re
from typing import Any

from schemas.codec import decode_mapping, subject_of
from schemas.errors import InvalidInput
from schemas.records.feedback import CandidateToken, QueryToken
from schemas.tokens import read_token

# what an id is made of: `u:1` is in "u:1/t:7", and not in "u:12"
_INSIDE = r"[\w-]"
# Thai, Lao, Burmese, Khmer, Japanese, Chinese, Korean: written without spaces, or with particles joined to a name
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
# of a candidate's id, or an author's: `t:42` is a tweet, and not the user `42`
_KIND = rf"(?<!{_INSIDE})[atn]:"


class Mention:
    """One id to look for. A longer id that begins or ends with it is another; of doubtful bytes it says yes."""

    def __init__(self, name: str) -> None:
        self.name = name
        before, behind = _inside(name[:1]), _inside(name[-1:])
        self._text = re.compile(f"(?<!{before})(?<!{_KIND}){re.escape(name)}(?!{behind})")
        self._bytes = re.compile(rb"(?<![\w-])(?<!(?<![\w-])[atn]:)" + re.escape(name.encode()) + rb"(?![\w-])")
        self._avro = _avro_string(name.encode())
        # cheap, and never wrong when it says no: the id itself, or the middle of its base64url at each of three alignments
        self._forms = (name.encode(), *(form for shift in range(3) if (form := _inside_base64(name.encode(), shift))))

    def in_record(self, data: bytes | None) -> bool:
        """Tell whether a record's key or value mentions the id."""
        if data is None or not any(form in data for form in self._forms):
            return False
        subject = subject_of(data)
        if subject is None:
            return self.in_bytes(data)
        try:
            return self.in_value(decode_mapping(subject, data))
        except InvalidInput:
            return self.in_bytes(data)

    def in_text(self, text: str) -> bool:
        """Tell whether a text mentions the id."""
        return self._text.search(text) is not None

    def in_bytes(self, data: bytes) -> bool:
        """Tell whether bytes of unknown form mention the id: as a word, or as a string of Avro."""
        return self._bytes.search(data) is not None or data.find(self._avro) >= 0

    def in_token(self, text: str | None) -> bool:
        """Tell whether the token of an answer mentions the id."""
        for kind in (CandidateToken, QueryToken):
            token = read_token(kind, text)
            if token is not None and self.in_value(token.to_avro()):
                return True
        return False

    def in_value(self, value: Any, *, name: str = "") -> bool:
        """Tell whether anything inside a decoded value mentions the id; a string whose `name` ends in token is read as one, too."""
        match value:
            case str():
                return self.in_text(value) or (name.endswith("token") and self.in_token(value))
            case bytes():
                return self.in_record(value)
            case dict():
                return any(self.in_value(item, name=str(key)) or self.in_text(str(key)) for key, item in value.items())
            case list() | tuple():
                return any(self.in_value(item, name=name) for item in value)
        return False


def _inside(end: str) -> str:
    """Return what may stand beside an end of an id as more of it: of 日 also 本, of `u:1` no letter of a script without spaces."""
    return _INSIDE if re.match(f"[{_UNSPACED}]", end) else f"(?:(?![{_UNSPACED}]){_INSIDE})"


def _avro_string(data: bytes) -> bytes:
    rest, length = len(data) * 2, bytearray()
    while rest > 0x7F:
        length.append(rest & 0x7F | 0x80)
        rest >>= 7
    length.append(rest)
    return bytes(length) + data


def _inside_base64(data: bytes, shift: int) -> bytes:
    """Return what base64url makes of `data` behind `shift` bytes that are not known, without the letters they share with it."""
    text = base64.urlsafe_b64encode(b"\0" * shift + data).rstrip(b"=")
    whole = (shift + len(data)) * 8 // 6
    return text[-(-shift * 8 // 6) : whole]
