"""The effect of a canary over its life, in a bounded number of points. Pure; judges nothing."""

from math import isfinite

from schemas.records.control import CanaryPoint

POINTS = 60
"""At most, besides the newest: a report is sent every other second, and a chart is some hundred pixels wide."""


class Curve:
    """Takes points in the order of time; when there are too many, every other one goes and new ones keep that distance."""

    def __init__(self) -> None:
        self._kept: list[CanaryPoint] = []
        self._newest: CanaryPoint | None = None
        self._apart_ms = 0

    def add(self, point: CanaryPoint) -> None:
        """Take a point; one without bounds, while nothing can be said, is passed over."""
        if not (isfinite(point.low) and isfinite(point.high)):
            return
        self._newest = point
        if self._kept and point.at_ms - self._kept[-1].at_ms <= self._apart_ms:
            return
        self._kept.append(point)
        if len(self._kept) > POINTS:
            self._kept = self._kept[::2]
            self._apart_ms = (self._kept[-1].at_ms - self._kept[0].at_ms) // (len(self._kept) - 1)

    def points(self) -> tuple[CanaryPoint, ...]:
        """Return what is kept, and the newest."""
        kept = tuple(self._kept)
        return kept if self._newest is None or kept[-1] == self._newest else (*kept, self._newest)
