"""Recorded interactions played as a live stream, in their real order. Never imported by serving, streams or trainer."""

from lab.replay.labelled import examples_from_now, lacking
from lab.replay.liked import Liked, liked
from lab.replay.play import ReplaySummary, replay

__all__ = ["Liked", "ReplaySummary", "examples_from_now", "lacking", "liked", "replay"]
