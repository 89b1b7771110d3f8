"""Rules that accept or refuse bundles by what the trainer knows of them; one that has to be chosen is chosen on other seeds.

A single limit on one metric's change is what any operator could set instead of the gates. It is the one that separates best, by the
mean of the shares of worse ones refused and of others accepted, on all seeds but the one it then judges.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from lab.observed.columns import Bools, Floats, Ints
from schemas.bundle import Gate
from trainer.gates import GateLimits, drift_gates, quality_gates

# The gates with another limit on mismatch, and one on recall@200, which no gate has. Chosen on these seeds by what refuses every
# worse bundle and fewest others, the round figures in the middle of those that do; it counts on others alone.
MOVED = GateLimits(language_mismatch_rise=0.20, anchor_language_mismatch_rise=0.20)
MOVED_RECALL_FALL = 0.10
MOVED_CHOSEN_ON = (10, 11, 12)
# how far mismatch may rise, of which `rise_elsewhere` chooses: of the anchor, and of the live bundle where it is more than shipped
RISES = (0.01, 0.02, 0.03, 0.05, 0.08, 0.10, 0.12, 0.15, 0.20, 0.25, 0.30)


def gates_of(metrics: Mapping[str, float | None], changes: Mapping[str, float | None], limits: GateLimits) -> tuple[Gate, ...]:
    """Return the verdicts on a bundle's metrics, None where not measured, which are by so much more than the live one's."""
    new = {name: value for name, value in metrics.items() if value is not None}
    live = {name: new[name] - change for name, change in changes.items() if change is not None}
    # the live towers came of their line's first fine-tune: they are the anchor too
    return (*quality_gates(new, live, limits), *drift_gates(new, live, limits))


def limit(changes: Floats, worse: Bools) -> float:
    """Return the change below which to refuse, half way between two bundles; minus infinity where nothing is told apart.

    Args:
        changes: float64 [n], more is better; NaN where not measured, which is refused.
        worse: bool [n].
    """
    if not worse.any() or worse.all():
        return -np.inf
    known = np.unique(changes[np.isfinite(changes)])
    # the laxest comes first, so that of equal ones the laxest is taken
    limits = np.concatenate([[-np.inf], (known[1:] + known[:-1]) / 2])
    accepted = changes[None, :] >= limits[:, None]
    balanced = ((accepted & ~worse).sum(axis=1) / (~worse).sum()) + ((~accepted & worse).sum(axis=1) / worse.sum())
    return float(limits[int(np.argmax(balanced))])


def limited_elsewhere(changes: Floats, worse: Bools, seeds: Ints) -> tuple[Bools, Mapping[int, float]]:
    """Judge every bundle by the limit of the other seeds.

    Args:
        changes, worse: as in `limit`.
        seeds: int64 [n].

    Returns:
        Who is accepted, bool [n], and each seed's limit. With one seed alone all are accepted: there is nothing to choose on.
    """
    limits = {int(seed): limit(changes[seeds != seed], worse[seeds != seed]) for seed in np.unique(seeds)}
    # not <: what was not measured is refused
    accepted: Bools = changes >= np.array([limits[int(seed)] for seed in seeds])
    return accepted, limits


def with_rise(rise: float) -> GateLimits:
    """Return the shipped limits with another rise of mismatch, where that is laxer."""
    shipped = GateLimits()
    return replace(
        shipped,
        anchor_language_mismatch_rise=max(rise, shipped.anchor_language_mismatch_rise),
        language_mismatch_rise=max(rise, shipped.language_mismatch_rise),
    )


def rise_elsewhere(accepted: Sequence[Bools], worse: Bools, seeds: Ints) -> tuple[Bools, Mapping[int, float]]:
    """Judge every bundle by the laxest rise that lets no more worse ones of the other seeds pass than the first one does.

    Args:
        accepted: by each of `RISES`, bool [n].
        worse, seeds: bool and int64 [n].

    Returns:
        Who is accepted, bool [n], and each seed's rise. With one seed alone it is the first: there is nothing to choose on.
    """
    verdicts, rises = np.zeros(len(worse), np.bool_), {}
    for seed in np.unique(seeds):
        others = seeds != seed
        passed = [int((one & worse & others).sum()) for one in accepted]
        place = max(number for number, count in enumerate(passed) if count <= passed[0]) if others.any() else 0
        verdicts[~others] = accepted[place][~others]
        rises[int(seed)] = RISES[place]
    return verdicts, rises
