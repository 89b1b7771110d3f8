"""A log that grows while it is read: what happened so far, and the impressions not yet trained on. Trains nothing."""

from dataclasses import replace

import numpy as np

from lab.observed.columns import Ints
from lab.observed.log import Engagements, Impressions, WorldLog
from lab.paper.encode import LogEncoder
from lab.world.simulation import names_of, truth_at
from lab.world.world import World
from schemas.features.spec import FeatureSpec


class ServedLog:
    """One line of history.

    Impressions that nobody reacted to leave no trace in counters and histories: they are kept only until they were trained on.
    """

    def __init__(self, world: World, spec: FeatureSpec) -> None:
        """Begin with nothing."""
        self._world = world
        self._spec = spec
        # candidates' ids are read by nobody here, and there are more of them every hour
        self._names = replace(names_of(world), candidates=())
        self._truth = truth_at(world, np.zeros(0, np.int64), 0.0)
        self._reacted: list[Impressions] = []
        self._engagements: list[Engagements] = []
        self._reacted_count = 0
        self._window: list[Impressions] = []

    def copy(self) -> "ServedLog":
        """Return a second line that was the same up to here."""
        other = ServedLog(self._world, self._spec)
        other._reacted, other._engagements = list(self._reacted), list(self._engagements)
        other._reacted_count, other._window = self._reacted_count, list(self._window)
        return other

    def append(self, impressions: Impressions, engagements: Engagements) -> None:
        """Add what happened in one step; `engagements.impression` counts from the step's first."""
        rows, place = np.unique(engagements.impression, return_inverse=True)
        self._reacted.append(impressions.take(rows))
        self._engagements.append(replace(engagements, impression=place + self._reacted_count))
        self._reacted_count += len(rows)
        self._window.append(impressions)

    def encoder(self) -> LogEncoder:
        """Return an encoder of users and tweets as of any moment so far."""
        return self._encoder(Impressions.joined(self._reacted))

    def window(self) -> tuple[LogEncoder, Ints]:
        """Return an encoder of the untrained impressions, and their rows in order."""
        reacted, window = Impressions.joined(self._reacted), Impressions.joined(self._window)
        rows = np.arange(len(reacted), len(reacted) + len(window))
        return self._encoder(Impressions.joined([reacted, window])), rows

    @property
    def untrained(self) -> int:
        """The number of impressions in the window."""
        return sum(len(impressions) for impressions in self._window)

    def forget(self, count: int) -> None:
        """Take the first `count` impressions out of the window: they are trained on."""
        self._window = [Impressions.joined(self._window).take(slice(count, None))]

    def _encoder(self, impressions: Impressions) -> LogEncoder:
        world = self._world
        return LogEncoder(
            WorldLog(
                self._names,
                world.users.profiles,
                world.authors.followers,
                world.tweets,
                impressions,
                Engagements.joined(self._engagements),
                self._truth,
            ),
            self._spec,
        )
