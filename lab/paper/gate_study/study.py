"""Trained bundles, the gates' verdicts on them, and a simulated A/B test of each against the live bundle. Sums nothing up."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

from lab.paper.continual.study import ContinualSettings
from lab.paper.experiment import set_threads
from lab.paper.gate_study.judged import METRICS, Judged, judged
from lab.paper.gate_study.scene import Scene, scene
from lab.paper.gate_study.summed import GateStudy, Row, summed
from lab.paper.gate_study.variants import VARIANTS, Variant
from schemas.errors import InvalidInput

_THIRDS = 3


@dataclass(frozen=True, slots=True)
class GateStudySettings:
    """What is run.

    Attributes:
        bundles: candidates over all seeds.
        variants: the trainings.
        base: world, past of the live towers, test users and threads; the days that it is about are not played.
    """

    bundles: int = len(VARIANTS)
    variants: tuple[Variant, ...] = VARIANTS
    base: ContinualSettings = field(default_factory=lambda: ContinualSettings(test_users=2_000))

    @classmethod
    def of(cls, *, bundles: int, threads: int = 1) -> Self:
        """Return the study of so many bundles, with so many threads of torch."""
        default = cls()
        return replace(default, bundles=bundles, base=replace(default.base, threads=threads))

    def __post_init__(self) -> None:
        """Raise `InvalidInput` where there is nothing to count."""
        if self.bundles < 2:
            raise InvalidInput(f"{self.bundles} bundles are too few to tell how well they are told apart; ask for {len(VARIANTS)}")

    def turns(self, seeds: Sequence[int]) -> dict[int, list[int]]:
        """Return for each seed the numbers of its variants, as even a share as can be.

        Three seeds in a row begin with different thirds: together they take every variant once before they take one twice, also
        where each is run by itself and they are put together afterwards.
        """
        of_seed: dict[int, list[int]] = {}
        for place, seed in enumerate(seeds):
            order = sorted(range(len(self.variants)), key=lambda number: ((number + seed) % _THIRDS, number))
            count = self.bundles // len(seeds) + (place < self.bundles % len(seeds))
            of_seed[seed] = [order[turn % len(order)] for turn in range(count)]
        return of_seed


OnProgress = Callable[[int, float], None]


def gates(
    seeds: Sequence[int], settings: GateStudySettings | None = None, *, on_progress: OnProgress = lambda _s, _b: None
) -> GateStudy:
    """Run the study: one world and one live bundle a seed. Told of progress: the seed and its candidate, 0 for the world.

    Raises:
        Refused: a fit found nothing to learn from, or diverged.
    """
    how = settings or GateStudySettings()
    set_threads(how.base.threads)
    rows: list[Row] = []
    for seed, turns in how.turns(seeds).items():
        on_progress(seed, 0)
        stage = scene(seed, how.base)
        for place, number in enumerate(turns):
            on_progress(seed, place + 1)
            rows.append(_row(seed, number, stage, how))
    return summed(rows, seeds, users=how.base.test_users)


def _row(seed: int, number: int, stage: Scene, how: GateStudySettings) -> Row:
    variant = how.variants[number]
    # each variant another order of the same examples
    found = judged(variant, stage, how.base.towers, seed=1_000 * seed + number)
    return Row(
        seed=seed,
        variant=variant.name,
        group=variant.group,
        refused_by=[gate.name for gate in found.gates if not gate.passed],
        metrics={name: found.metrics.get(name) for name in METRICS},
        changes=_changes(found),
        outcomes={name: [one.value, one.low, one.high] for name, one in found.outcomes.items()},
    )


def _changes(found: Judged) -> dict[str, float | None]:
    new, live = found.metrics, found.live_metrics
    return {name: new[name] - live[name] if name in new and name in live else None for name in METRICS}
