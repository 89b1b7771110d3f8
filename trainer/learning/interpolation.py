"""Towers between two others of one line, and the farthest of them that a judge accepts. Trains nothing and measures nothing.

What lies between a model and its fine-tune keeps most of what was learned and forgets less than its share of the way (Wortsman et
al., Robust fine-tuning of zero-shot models, 2022).
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

from schemas.bundle import Gate
from trainer.learning.ensemble import Tunable, untrained


class _Judged(Protocol):
    @property
    def gates(self) -> tuple[Gate, ...]: ...


JudgedT = TypeVar("JudgedT", bound=_Judged)


def between(base: Tunable, tuned: Tunable, share: float) -> Tunable:
    """Return new towers a share of the way from `base` to `tuned`: 0 is the one, 1 the other."""
    towers = untrained(base.spec, base.config, seed=0)
    begin, end = base.weights(), tuned.weights()
    towers.load_weights({name: begin[name] + share * (end[name] - begin[name]) for name in begin})
    return towers


def drawn_back(base: Tunable, tuned: Tunable, steps: int, *, judge: Callable[[Tunable], JudgedT]) -> tuple[JudgedT, float] | None:
    """Return what is said of the farthest towers on the way to `tuned` that no gate refuses, and their share of it.

    Found by halving what is left of the way: the farther, the more is refused.

    Args:
        steps: even ones that the way has; neither its end nor `base` itself is judged.

    Returns:
        None where all that were judged are refused.
    """
    found, passed, refused = None, 0, steps
    while refused - passed > 1:
        step = (passed + refused) // 2
        judged = judge(between(base, tuned, step / steps))
        if all(gate.passed for gate in judged.gates):
            found, passed = (judged, step / steps), step
        else:
            refused = step
    return found
