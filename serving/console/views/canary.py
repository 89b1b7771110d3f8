"""A canary's arms and its curve, as the controller reports them on `node-status`. Pure; compares nothing itself."""

from dataclasses import dataclass
from math import isfinite

from schemas.records.control import BundleStage, CanaryPoint, CanaryReport
from serving.console.readings import Moment
from serving.console.views import figures
from serving.console.views.plot import Line, Plot, constant

_TONES = {"better": "good", "worse": "bad", "unbalanced": "bad"}


@dataclass(frozen=True, slots=True)
class Arm:
    """The users of one bundle and what they did."""

    name: str
    bundle: str
    users: int
    shown: int
    rate: str


@dataclass(frozen=True, slots=True)
class CanaryView:
    """What is known of a canary.

    Attributes:
        tone: "good", "bad", or "" while nothing is decided.
        difference: of the engagement rates with its bounds, in points of a hundred; empty while nothing can be said.
        plot: its curve; None before there are two points of it.
    """

    sentence: str
    tone: str
    arms: tuple[Arm, ...]
    difference: str
    plot: Plot | None


def canary_view(moment: Moment, surface: str, entry: BundleStage) -> CanaryView | None:
    """Return what the controller says of a canary; None while it says nothing of this one."""
    for beat in reversed(moment.live_controllers()):
        for report in beat.status.canaries:
            # of an earlier share, until the controller has looked at the present one
            if (report.surface, report.bundle, report.since_ms) == (surface, entry.bundle, entry.since_ms):
                return _view(report)
    return None


def _view(report: CanaryReport) -> CanaryView:
    # of few answers the test bounds nothing yet
    curve = tuple(point for point in report.curve if isfinite(point.low) and isfinite(point.high))
    newest = curve[-1] if curve else None
    return CanaryView(
        sentence=report.sentence,
        tone=_TONES.get(report.verdict, ""),
        arms=(
            _arm("canary", report.bundle, report.users, report.shown, report.engaged),
            _arm("everybody else", report.live, report.live_users, report.live_shown, report.live_engaged),
        ),
        difference="" if newest is None else f"{_points(newest.effect)} ({_points(newest.low)} to {_points(newest.high)})",
        plot=_plot(report.bundle, curve) if len(curve) > 1 else None,
    )


def _arm(name: str, bundle: str, users: int, shown: int, engaged: int) -> Arm:
    return Arm(name, bundle, users, shown, f"{engaged / shown:.2%}" if shown else figures.MISSING)


def _points(effect: float) -> str:
    return f"{effect * 100:+.2f}"


def _plot(bundle: str, curve: tuple[CanaryPoint, ...]) -> Plot:
    effect = Line(
        "canary minus live",
        [point.effect * 100 for point in curve],
        low=[point.low * 100 for point in curve],
        high=[point.high * 100 for point in curve],
    )
    return Plot(
        f"canary-{bundle}",
        "Difference of engagement rates, with bounds that hold at all moments at once",
        "time",
        "",
        [point.at_ms / 1000 for point in curve],
        [effect, constant("no difference", 0.0, len(curve))],
        span=_span(curve),
    )


def _span(curve: tuple[CanaryPoint, ...]) -> tuple[float, float]:
    """Return what the later two thirds need: the first bounds are so wide that everything after them would be one line."""
    later = curve[len(curve) // 3 :]
    low, high = min(0.0, *(point.low for point in later)), max(0.0, *(point.high for point in later))
    room = 0.1 * (high - low)
    return (low - room) * 100, (high + room) * 100
