"""A canary's curve: as long as the canary, never longer than a report may be."""

from itertools import pairwise
from math import inf

from schemas.records.control import CanaryPoint
from streams.canary.curve import POINTS, Curve


def test_a_curve_of_days_keeps_its_beginning_its_end_and_its_shape_in_a_bounded_number_of_points() -> None:
    """Each report carries the whole curve: without a bound it would grow past what a record may be."""
    curve = Curve()
    for second in range(0, 200_000, 2):
        curve.add(CanaryPoint(second * 1_000, second / 1e6, -1 / (second + 1), 1 / (second + 1)))
        assert len(curve.points()) <= POINTS + 1
    points = curve.points()
    assert len(points) > POINTS / 3
    assert (points[0].at_ms, points[-1].at_ms) == (0, 199_998_000)
    steps = [after.at_ms - before.at_ms for before, after in pairwise(points[:-1])]
    assert max(steps) < 3 * min(steps), "evenly spread"


def test_what_says_nothing_yet_is_no_point() -> None:
    """Bounds at infinity have no place on a chart."""
    curve = Curve()
    curve.add(CanaryPoint(1, 0.1, -inf, inf))
    assert curve.points() == ()
    curve.add(CanaryPoint(2, 0.1, -0.5, 0.7))
    curve.add(CanaryPoint(2, 0.2, -0.4, 0.7))
    assert [point.effect for point in curve.points()] == [0.1, 0.2]
