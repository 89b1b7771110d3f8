"""Numbers as people read them: counts, times, ages, bytes, shares. Pure text."""

from datetime import UTC, datetime

MISSING = "–"


def count(value: float | None) -> str:
    """Return a whole number with separators: 12,345."""
    return MISSING if value is None else f"{value:,.0f}"


def rate(value: float | None) -> str:
    """Return a number a second: 0.4, 12, 3,400."""
    if value is None:
        return MISSING
    return f"{value:.1f}" if 0 < value < 10 else f"{value:,.0f}"


def milliseconds(value: float | None) -> str:
    """Return a duration given in milliseconds: 0.8 ms, 12 ms, 1.4 s, 3 min."""
    if value is None:
        return MISSING
    if value < 9.95:
        return f"{value:.1f} ms"
    if value < 999.5:
        return f"{value:.0f} ms"
    return f"{value / 1000:.1f} s" if value < 9_950 else duration(value / 1000)


def duration(seconds: float | None, *, digits: int = 0) -> str:
    """Return a duration: 12 s, 5 min, 3 h, 2 d; with at most so many digits behind the point, where they are not 0."""
    if seconds is None:
        return MISSING
    for unit, size in (("s", 60.0), ("min", 60.0), ("h", 48.0)):
        if seconds < size - 0.5:
            return f"{round(seconds, digits):g} {unit}"
        seconds /= 24.0 if unit == "h" else size
    return f"{round(seconds, digits):g} d"


def ago(then_ms: float, now_ms: float) -> str:
    """Return how long ago something was: just now, 5 min ago."""
    seconds = (now_ms - then_ms) / 1000
    return "just now" if seconds < 2 else f"{duration(seconds)} ago"


def size(value: float | None) -> str:
    """Return a number of bytes: 512 B, 3.1 MB."""
    if value is None:
        return MISSING
    for unit in ("B", "kB", "MB"):
        if value < 999.5:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def share(value: float | None) -> str:
    """Return a share of 0 to 1 as per cent; 100 % only when nothing is missing."""
    if value is None:
        return MISSING
    percent = value * 100
    if 99.95 <= percent < 100:
        return "99.9 %"
    return f"{percent:.0f} %" if percent in (0, 100) else f"{percent:.1f} %"


def number(value: float) -> str:
    """Return a measured figure to four digits."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def clock(unix_ms: float) -> str:
    """Return a moment in UTC, to the second."""
    try:
        return datetime.fromtimestamp(unix_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return MISSING


def percentile(values: list[float], part: float) -> float | None:
    """Return the value below which a share of `values` lies; None without values."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]
