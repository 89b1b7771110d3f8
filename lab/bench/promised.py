"""What a benchmark's figures must be, and a sentence for each that is not. Measures nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

NOTHING: Mapping[str, float] = {}


def shortfalls(
    figures: Mapping[str, Any],
    *,
    none: Sequence[str] = (),
    most: Mapping[str, float] = NOTHING,
    least: Mapping[str, float] = NOTHING,
) -> list[str]:
    """Return a sentence for each figure that misses what was promised; one that was not measured does.

    Args:
        none: figures that must be 0.
        most, least: limits by figure.
    """
    missed = [f"{name} is {figures[name]}, none expected" for name in none if figures[name] != 0]
    for name, limit in most.items():
        if figures[name] is None or not figures[name] <= limit:
            missed.append(f"{name} is {figures[name]}, at most {limit:g} expected")
    for name, limit in least.items():
        if figures[name] is None or not figures[name] >= limit:
            missed.append(f"{name} is {figures[name]}, at least {limit:g} expected")
    return missed
