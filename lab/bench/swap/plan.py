"""What one swap run does, and against what. Frozen numbers; no behaviour."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

MIN_BUNDLES = 3
"""One live, one draining, one building."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes and rates of a run.

    Attributes:
        swaps, rollbacks: how often; a rollback follows a swap.
        live: candidates live throughout: each new tweet comes with the delete of the oldest.
        events_per_s: tweets, deletes and engagements together.
        before_s: length of the window without a rollout that the ratios compare with.
        between_s: length of the windows without a rollout after each swap, which tell what the machine did meanwhile.
        settle_s: traffic before that window: until the broker has compiled what runs often.
        k: candidates an answer.
        probes_per_s: tweets published and looked for, by turns on each replica.
        give_up_s: a probe not found for so long is lost.
        backfills: how often the corpus is re-embedded without traffic; the median counts.
    """

    swaps: int = 20
    rollbacks: int = 5
    live: int = 20_000
    queries_per_s: float = 50.0
    events_per_s: float = 500.0
    before_s: float = 60.0
    between_s: float = 10.0
    settle_s: float = 45.0
    k: int = 100
    probes_per_s: float = 4.0
    give_up_s: float = 30.0
    swap_timeout_s: float = 180.0
    backfills: int = 3
    seed: int = 1

    def rolls_back_after(self, swap: int) -> bool:
        """Tell whether a rollback follows the swap of this number, from 0 on; they are spread evenly, one after the last."""
        return (swap + 1) * self.rollbacks // self.swaps > swap * self.rollbacks // self.swaps


@dataclass(frozen=True, slots=True)
class Target:
    """A running deployment.

    Attributes:
        live_bundle: live, on an empty index.
        bundles: published and different from each other, the live one among them; at least `MIN_BUNDLES`.
        node_urls: the replicas.
        watch: revives roles that died; called about once a second.
        leave_one_node: stops every replica but the first.
        partitions: of every topic keyed by candidate.
        pids: processes by role, for their memory.
        kills: by role, SIGKILL to its process; `watch` starts it again. Of a broker that somebody else runs there is none.
    """

    bootstrap: str
    registry: Path
    surface: str
    live_bundle: str
    bundles: tuple[str, ...]
    node_urls: tuple[str, ...]
    watch: Callable[[], None]
    leave_one_node: Callable[[], None]
    partitions: int
    pids: Mapping[str, int] = field(default_factory=dict)
    kills: Mapping[str, Callable[[], None]] = field(default_factory=dict)
