"""What becomes of a fine-tune that is refused for drift: it is made again, then drawn back. Trains and judges nothing itself."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, Protocol, TypeVar

from trainer.gates import refused_for_drift
from trainer.learning.ensemble import Tunable
from trainer.learning.interpolation import JudgedT, drawn_back


class _Config(Protocol):
    @property
    def against_live(self) -> bool: ...

    @property
    def draw_back_steps(self) -> int: ...


SaidT_co = TypeVar("SaidT_co", covariant=True)


class Judge(Protocol[SaidT_co]):
    """Holds towers against the others."""

    def __call__(self, towers: Tunable, *, against_live: bool) -> SaidT_co:
        """Return what is said of towers; not against the live ones, the anchor's word counts alone."""
        ...


ConfigT = TypeVar("ConfigT", bound=_Config)
FitT = TypeVar("FitT")


@dataclass(frozen=True, slots=True)
class Climbed(Generic[FitT, JudgedT]):
    """What the attempts came to, whether it is refused or not.

    Attributes:
        fit: the training it came of.
        share: the towers are so much of the way from the base to what that training came to.
        again: it is not the first attempt.
    """

    fit: FitT
    judged: JudgedT
    share: float = 1.0
    again: bool = False


def climb(
    attempts: Sequence[ConfigT],
    *,
    tune: Callable[[ConfigT], tuple[Tunable, FitT]],
    judge: Judge[JudgedT],
    base: Callable[[], Tunable],
    on_again: Callable[[FitT, JudgedT], None] = lambda _fit, _judged: None,
) -> Climbed[FitT, JudgedT]:
    """Tune as the first attempt says. What is refused for drift is drawn back, and where that is refused too, the next is made.

    Args:
        attempts: in order, as `trainer.recipes.attempts` gives them.
        tune: returns new towers, and what there is to say of the training.
        base: what is drawn back towards: the anchor, or the parent where there is none.
        on_again: told of every attempt that another one follows.
    """
    for number, config in enumerate(attempts, 1):
        towers, fit = tune(config)
        judged, share = judge(towers, against_live=config.against_live), 1.0
        if not refused_for_drift(judged.gates):
            break
        if config.draw_back_steps and (
            found := drawn_back(base(), towers, config.draw_back_steps, judge=partial(judge, against_live=False))
        ):
            judged, share = found
            break
        if number < len(attempts):
            on_again(fit, judged)
    return Climbed(fit, judged, share, again=number > 1)
