"""Processes killed under load, one after another: how long tweets and answers wait, and whether anything is lost."""

from lab.bench.recovery.plan import Plan
from lab.bench.recovery.run import run

__all__ = ["Plan", "run"]
