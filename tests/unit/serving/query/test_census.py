"""The counts people watch: cut by the surface's own window, and not counted anew for everybody who looks."""

from dataclasses import replace
from pathlib import Path

import pytest

from serving.query.census import KEPT_S, SurfaceCensus, age_edges_s
from serving.query.epochs import Routing, RoutingTable
from serving.query.errors import UnknownSurface
from tests.filled_epochs import HOME, FilledEpoch, tweeted

NOW_MS = 1_000_000
MINUTES_12 = replace(HOME, recency_window_s=720.0)


@pytest.fixture
def epoch(tmp_path: Path) -> FilledEpoch:
    """Return an epoch with candidates of three ages."""
    filled = FilledEpoch(tmp_path, seed=1)
    filled.fill(*(tweeted(f"t:{n}", created_ms=NOW_MS - age_s * 1000) for n, age_s in enumerate((0, 59, 60, 719))))
    return filled


def test_ages_are_equal_parts_of_the_recency_window_youngest_first(epoch: FilledEpoch) -> None:
    """A chart over the window shows at a glance whether the corpus thins out with age."""
    table = RoutingTable({HOME.name: Routing(MINUTES_12, 1, epoch.epoch)})
    stats = SurfaceCensus(table, now_ms=lambda: NOW_MS).of(HOME.name)
    assert [(age.from_s, age.to_s, age.count) for age in stats.ages if age.count] == [(0, 60, 3), (660, None, 1)]
    assert len(stats.ages) == 12
    assert stats.live == 4


def test_a_surface_whose_candidates_do_not_age_is_cut_at_rough_ages() -> None:
    """There is no window to divide."""
    assert age_edges_s(HOME)[0] == 3_600
    assert list(age_edges_s(HOME)) == sorted(age_edges_s(HOME))


def test_counts_are_kept_for_a_while_and_dropped_at_once_when_another_bundle_goes_live(epoch: FilledEpoch, tmp_path: Path) -> None:
    """Ten open pages must not cost ten passes a second; a flip must not show the old bundle's figures."""
    now_s = 0.0
    table = RoutingTable({HOME.name: Routing(MINUTES_12, 1, epoch.epoch)})
    census = SurfaceCensus(table, now_ms=lambda: NOW_MS, clock_s=lambda: now_s)
    assert census.of(HOME.name).live == 4
    epoch.fill(tweeted("t:new", created_ms=NOW_MS))
    assert census.of(HOME.name).live == 4
    now_s = KEPT_S
    assert census.of(HOME.name).live == 5
    other = FilledEpoch(tmp_path, seed=2)
    table.put(Routing(MINUTES_12, 2, other.epoch))
    assert (census.of(HOME.name).live, census.of(HOME.name).bundle) == (0, other.bundle)


def test_an_unknown_surface_is_refused() -> None:
    """The same refusal as a query's."""
    with pytest.raises(UnknownSurface):
        SurfaceCensus(RoutingTable({})).of("nope")
