"""The same tweets and the same new tower, twice: re-embedded in place behind an alias, as is usual, and by Roost."""

from lab.vanishing.plan import Plan
from lab.vanishing.plot import plot
from lab.vanishing.run import run
from lab.vanishing.told import as_markdown, compared, compared_all, faults

__all__ = ["Plan", "as_markdown", "compared", "compared_all", "faults", "plot", "run"]
