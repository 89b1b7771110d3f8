"""What the live index of a surface holds, by language and age, for people who watch. Counts every two seconds at most."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from schemas.surfaces import Surface
from serving.api import AgeCount, SurfaceStats
from serving.index import Census, IndexClosed
from serving.query.epochs import RoutingTable
from serving.query.errors import NothingLive
from serving.query.retrieve import wall_clock_ms

# whoever watches asks every second or two, however many they are
KEPT_S = 2.0
_BUCKETS = 12
_HOUR_S, _DAY_S = 3_600.0, 86_400.0
# where candidates do not age
_AGES_S = (_HOUR_S, 6 * _HOUR_S, _DAY_S, 7 * _DAY_S, 30 * _DAY_S, 90 * _DAY_S, 365 * _DAY_S)


@dataclass(frozen=True, slots=True)
class _Kept:
    stats: SurfaceStats
    counted_s: float


class SurfaceCensus:
    """Counts on any number of threads; one of them at a time."""

    def __init__(
        self,
        routings: RoutingTable,
        *,
        now_ms: Callable[[], int] = wall_clock_ms,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._routings = routings
        self._now_ms = now_ms
        self._clock_s = clock_s
        self._kept: dict[str, _Kept] = {}
        self._lock = threading.Lock()

    def of(self, surface: str) -> SurfaceStats:
        """Return the counts of the live bundle's index, at most `KEPT_S` old.

        Raises:
            UnknownSurface, NothingLive: see `serving.query.errors`.
        """
        routing = self._routings.get(surface)
        live = routing.choose(None)
        with self._lock:
            kept = self._kept.get(surface)
            if kept is not None and kept.stats.bundle == live.bundle and self._clock_s() - kept.counted_s < KEPT_S:
                return kept.stats
            now_ms = self._now_ms()
            edges_s = age_edges_s(routing.surface)
            try:
                census = live.index.census([now_ms - round(edge * 1000) for edge in reversed(edges_s)])
            except IndexClosed:
                raise NothingLive(f"{surface}: the live bundle was retired this moment; ask again") from None
            stats = _stats(surface, live.bundle, census, edges_s, now_ms)
            self._kept[surface] = _Kept(stats, self._clock_s())
            return stats


def age_edges_s(surface: Surface) -> tuple[float, ...]:
    """Return the ascending ages in seconds that cut the counts: equal parts of the recency window, or rough ages without one."""
    window_s = surface.recency_window_s
    return tuple(window_s * n / _BUCKETS for n in range(1, _BUCKETS)) if window_s else _AGES_S


def _stats(surface: str, bundle: str, census: Census, edges_s: Sequence[float], now_ms: int) -> SurfaceStats:
    # the census counts from the oldest on
    counts = list(reversed(census.ages))
    bounds = zip((0.0, *edges_s), (*edges_s, None), counts, strict=True)
    return SurfaceStats(
        surface=surface,
        bundle=bundle,
        as_of_ms=now_ms,
        live=census.live,
        languages=dict(sorted(census.languages.items(), key=lambda entry: (-entry[1], entry[0]))),
        ages=[AgeCount(from_s, to_s, count) for from_s, to_s, count in bounds],
    )
