"""The last so many seconds out of the kept moments, and what histograms gained in them. Pure."""

from collections.abc import Sequence

from serving.console.histogram import Histogram, merged
from serving.console.readings import Moment


def window(moments: Sequence[Moment], seconds: float) -> Sequence[Moment]:
    """Return the moments of the last so many seconds, and the one before them where there is one."""
    if not moments:
        return ()
    since_ms = moments[-1].at_ms - seconds * 1000
    older = [at for at, moment in enumerate(moments) if moment.at_ms <= since_ms]
    return moments[older[-1] if older else 0 :]


def histogram_since(moments: Sequence[Moment], metric: str, surface: str) -> Histogram:
    """Return what all nodes together added to a histogram over `moments`; a node's figures count from the first that knows it."""
    if not moments:
        return merged(())
    earlier: dict[str, Histogram | None] = {}
    for moment in moments[:-1]:
        for node in moment.nodes:
            if node.health is not None:
                earlier.setdefault(node.instance, node.histograms.get(metric, {}).get(surface))
    return merged(
        node.histograms[metric][surface].since(earlier[node.instance])
        for node in moments[-1].nodes
        # one known for the first time would bring the figures of its whole life
        if surface in node.histograms.get(metric, {}) and node.instance in earlier
    )
