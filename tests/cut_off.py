"""A training whose process ends at a chosen moment."""

from typing import Any

from trainer.learning.checkpoint import Checkpoint


class CutOff(Exception):
    """Whatever ends a process."""


class Cutting(Checkpoint):
    """The real checkpoint, whose process ends right after the given number of states."""

    left = 0

    def save(self, state: dict[str, Any]) -> None:
        """Save, and count."""
        super().save(state)
        Cutting.left -= 1
        if not Cutting.left:
            raise CutOff
