"""Where a kept result was measured: the figures of two processors, or of two commits, differ. Measures nothing."""

from collections.abc import Mapping, Sequence
from typing import Any


def measured_at(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return `machine` and `commit` of what is made of kept results: the first one's, where all name its commit and processor."""
    first = results[0]
    if any(_of(one) != _of(first) for one in results) or None in _of(first):
        return {}
    return {"machine": first["machine"], "commit": first["commit"]}


def sentence(result: Mapping[str, Any]) -> str:
    """Return where a result was measured, as a sentence of the page."""
    commit, processor = _of(result)
    if commit is None or processor is None:
        return "Measured before results named commit and machine."
    seconds = result.get("seconds_per_seed")
    pace = "" if seconds is None else f", in {seconds / 60:.1f} minutes a seed"
    return f"Measured at {commit} on {processor}{pace}."


def _of(result: Mapping[str, Any]) -> tuple[str | None, str | None]:
    return result.get("commit"), result.get("machine", {}).get("processor")
