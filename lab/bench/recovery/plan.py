"""What one recovery run does. Frozen numbers; no behaviour."""

from dataclasses import dataclass

from lab.bench.swap.plan import Plan as LoadPlan


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes and rates of a run; what is not said here is as in `lab.bench.swap.plan.Plan`.

    Attributes:
        rounds: how often each process is killed.
        between_s: from one kill to the next: the window that a kill's figures are of.
        before_s: length of the window without a kill, to compare with.
    """

    rounds: int = 3
    between_s: float = 30.0
    live: int = 20_000
    queries_per_s: float = 50.0
    events_per_s: float = 500.0
    before_s: float = 30.0
    settle_s: float = 45.0
    seed: int = 1

    @property
    def load(self) -> LoadPlan:
        """The traffic of it, for the parts that it shares with a swap run."""
        return LoadPlan(
            live=self.live,
            queries_per_s=self.queries_per_s,
            events_per_s=self.events_per_s,
            before_s=self.before_s,
            settle_s=self.settle_s,
            # what was published while a process was away counts as late, not as lost, until the next kill is over too
            give_up_s=2 * self.between_s,
            seed=self.seed,
        )
