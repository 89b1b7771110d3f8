"""A simulated world whose true engagement probabilities are known. Never imported by serving, streams or trainer.

`World(WorldSettings())` is the world itself; `simulate` plays days of it into columns; `LiveWorld` plays it as records on a clock.
"""

from lab.world.live import Answer, Clock, LiveWorld, Reaction, Visit
from lab.world.settings import WorldSettings
from lab.world.simulation import simulate
from lab.world.world import World

__all__ = ["Answer", "Clock", "LiveWorld", "Reaction", "Visit", "World", "WorldSettings", "simulate"]
