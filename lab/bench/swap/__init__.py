"""Towers swapped and swapped back under load, on two replicas: every answer is kept, scored again, and judged with the log."""

from lab.bench.swap.plan import Plan, Target
from lab.bench.swap.run import run

__all__ = ["Plan", "Target", "run"]
