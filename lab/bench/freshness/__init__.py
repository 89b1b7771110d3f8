"""Freshness end to end: from a tweet's scheduled send to the first answer that holds it, at a given rate, under queries."""

from lab.bench.freshness.plan import Plan, Target
from lab.bench.freshness.run import run

__all__ = ["Plan", "Target", "run"]
