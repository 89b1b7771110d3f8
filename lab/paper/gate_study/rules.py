"""Rules that accept or refuse bundles by what the trainer knows of them; one that has to be chosen is chosen on other seeds.

A single limit on one metric's change is what any operator could set instead of the gates. It is the one that separates best, by the
mean of the shares of worse ones refused and of others accepted, on all seeds but the one it then judges.
"""

from collections.abc import Mapping

import numpy as np

from lab.observed.columns import Bools, Floats, Ints
from trainer.gates import GateLimits

# The gates with another limit on mismatch, and one on recall@200, which no gate has. Chosen on these seeds by what refuses every
# worse bundle and fewest others, the round figures in the middle of those that do; it counts on others alone.
MOVED = GateLimits(language_mismatch_rise=0.20, anchor_language_mismatch_rise=0.20)
MOVED_RECALL_FALL = 0.10
MOVED_CHOSEN_ON = (10, 11, 12)


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
