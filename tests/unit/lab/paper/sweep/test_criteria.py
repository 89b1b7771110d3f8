"""Which setting is chosen, on rows of a few figures."""

from typing import Any

from lab.paper.sweep.criteria import CRITERIA, Criterion, best


def settings(**figures: list[float]) -> list[dict[str, Any]]:
    """Return rows, one a place of the lists."""
    return [dict(zip(figures, values, strict=True)) for values in zip(*figures.values(), strict=True)]


def test_a_setting_s_place_is_the_mean_of_its_places_and_equals_share_the_better_one() -> None:
    """By hand: places 2, 1, 3 by the first figure and 1, 1, 3 by the second: 1.5, 1 and 3."""
    rows = settings(a=[0.5, 0.7, 0.1], b=[4.0, 4.0, 3.0])
    assert best(rows, Criterion(("a", "b")), {}) == 1
    assert [row["place"] for row in rows] == [1.5, 1.0, 3.0]


def test_of_equals_the_first_is_chosen() -> None:
    """The grid goes from small rates and few epochs up: nothing is trained longer for nothing."""
    assert best(settings(a=[1.0, 2.0], b=[2.0, 1.0]), Criterion(("a", "b")), {}) == 0


def test_less_mismatch_is_the_better_place() -> None:
    """The random model is the opponent by its languages too."""
    rows = settings(language_mismatch=[0.2, 0.05])
    assert best(rows, Criterion(("language_mismatch",)), {}) == 1


def test_what_is_out_of_its_role_is_not_chosen_whatever_its_place() -> None:
    """A fine-tune that engages more because it has hardly been tuned is no fine-tune of the paper; the table shows its place."""
    chosen = {"implicit": {"auc": 0.86, "language_mismatch": 0.8}}
    worth = {name: [3.0, 2.0, 1.0] for name in CRITERIA["fine_tuned"].figures}
    rows = settings(auc=[0.77, 0.79, 0.85], language_mismatch=[0.1, 0.44, 0.45], **worth)
    assert best(rows, CRITERIA["fine_tuned"], chosen) == 1
    assert [row["in_role"] for row in rows] == [False, True, True]
    assert [row["place"] for row in rows] == [1, 2, 3]


def test_where_nothing_is_in_its_role_the_best_of_all_is_chosen_and_told() -> None:
    """On a world where implicit training retrieves the right languages there is no .35 to be below it."""
    chosen = {"implicit": {"auc": 0.86, "language_mismatch": 0.1}}
    worth = {name: [1.0, 2.0] for name in CRITERIA["fine_tuned"].figures}
    rows = settings(auc=[0.8, 0.8], language_mismatch=[0.1, 0.1], **worth)
    assert best(rows, CRITERIA["fine_tuned"], chosen) == 1
    assert not any(row["in_role"] for row in rows)
