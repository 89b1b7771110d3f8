"""Numbers as people read them, and quantiles out of buckets: hand-worked."""

import pytest

from serving.console.histogram import Histogram, merged
from serving.console.views import figures
from serving.console.views.layout import bars

INFINITE = float("inf")


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0.84, "0.8 ms"), (9.96, "10 ms"), (999.4, "999 ms"), (1_400, "1.4 s"), (65_000, "1 min"), (7_200_000, "2 h")],
)
def test_a_duration_keeps_the_digits_that_matter(value: float | None, text: str) -> None:
    """From a fast query to a stuck one, a person must see the order of magnitude at once."""
    assert figures.milliseconds(value) == text


def test_a_share_reads_100_per_cent_only_when_nothing_is_missing() -> None:
    """99.97 % coverage rounded up to 100 would say that a bundle is at parity when it is not."""
    assert [figures.share(value) for value in (None, 0.0, 0.123, 0.9997, 1.0)] == ["–", "0 %", "12.3 %", "99.9 %", "100 %"]


def test_sizes_and_times_and_rates_read_well_at_their_edges() -> None:
    """Units change where a person would change them."""
    assert [figures.size(value) for value in (512, 999.4, 3_140_000, 2.5e9)] == ["512 B", "999 B", "3.1 MB", "2.5 GB"]
    assert [figures.duration(value) for value in (12, 59.7, 5 * 60, 28 * 3_600, 172_800)] == [
        "12 s",
        "1 min",
        "5 min",
        "28 h",
        "2 d",
    ]
    assert [figures.duration(value, digits=1) for value in (80, 200, 14_400)] == ["1.3 min", "3.3 min", "4 h"]
    assert [figures.rate(value) for value in (0.0, 0.42, 12, 3_400)] == ["0", "0.4", "12", "3,400"]
    assert figures.ago(0, 1_000) == "just now"
    assert figures.clock(10**20) == "–", "a foreign producer's nonsense is no server error"


def test_a_quantile_is_interpolated_inside_its_bucket() -> None:
    """As Prometheus does it, so that a dashboard and the console agree."""
    histogram = Histogram((0.01, 0.1, INFINITE), (50, 90, 100))
    assert histogram.quantile(0.25) == pytest.approx(0.005)
    assert histogram.quantile(0.7) == pytest.approx(0.055)
    assert histogram.quantile(0.99) == 0.1, "beyond the last bound: at least that"
    assert Histogram((0.01, INFINITE), (0, 0)).quantile(0.5) is None


def test_a_difference_of_histograms_survives_a_restart_of_the_node() -> None:
    """Counters begin at 0 again: the new process's figures count, and nothing is negative."""
    before, after = Histogram((1.0, INFINITE), (5, 9)), Histogram((1.0, INFINITE), (7, 12))
    assert after.since(before).counts == (2, 3)
    assert before.since(after) is before
    assert after.since(None) is after
    assert merged([after, before, Histogram((2.0, INFINITE), (1, 1))]).counts == (12, 21)
    assert merged([]).quantile(0.5) is None


def test_a_node_that_counted_more_since_its_restart_than_before_is_still_seen_to_have_begun_anew() -> None:
    """Ten fast queries before, twenty slow ones after: the page showed a median of minus ten fast ones."""
    before, anew = Histogram((1.0, 2.0, INFINITE), (10, 10, 10)), Histogram((1.0, 2.0, INFINITE), (0, 20, 20))
    assert anew.since(before) == anew


def test_bars_are_shares_of_the_largest_and_of_all_and_nothing_divides_by_zero() -> None:
    """An empty chart is drawn empty."""
    assert [(bar.of_largest, bar.of_all) for bar in bars([("a", 3), ("b", 1)])] == [(1.0, 0.75), (1 / 3, 0.25)]
    assert bars([("a", 0)])[0].of_largest == 0.0
    assert bars([]) == ()
