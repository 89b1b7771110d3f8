"""What a check found, and the command that mends it. Judges nothing."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How it stands. A note is worth knowing and no failure, such as an extra that is not installed here."""

    OK = "ok"
    NOTE = "note"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    Attributes:
        check: what was looked at, in a word or two.
        fix: what mends it, a command where there is one; empty when nothing is to be mended.
    """

    check: str
    verdict: Verdict
    sentence: str
    fix: str = ""


def ok(check: str, sentence: str) -> Finding:
    """Return a finding that needs nothing."""
    return Finding(check, Verdict.OK, sentence)


def note(check: str, sentence: str, fix: str = "") -> Finding:
    """Return a finding that is worth knowing."""
    return Finding(check, Verdict.NOTE, sentence, fix)


def wrong(check: str, sentence: str, fix: str) -> Finding:
    """Return a finding that must be mended."""
    return Finding(check, Verdict.WRONG, sentence, fix)
