"""What a run under load consists of: sender, asker and prober, each in its process, and the operator's hand. Judges nothing."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.bench.freshness.worker import Worker
from lab.bench.swap.asker import Kept, ask
from lab.bench.swap.backfill import searchable
from lab.bench.swap.operator import Operator
from lab.bench.swap.plan import Plan, Target
from lab.bench.swap.prober import Probed, probe
from lab.bench.swap.traffic import Load, send
from schemas.errors import RoostError

_PREPARE_S = 300.0
_PRELOAD_S = 900.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """What became of it. The answers' bytes lie in `spool` while the parts run."""

    probed: list[Probed]
    kept: list[Kept]
    load: Load


class Parts:
    """The parts of one run, prepared; see `parts`."""

    def __init__(self, plan: Plan, target: Target, spool: Path, stack: ExitStack) -> None:
        """Start the processes; `stack` ends them."""
        self.spool = spool
        self._plan = plan
        self._target = target
        self._sender = stack.enter_context(Worker(send, plan, target.bootstrap))
        self._asker = stack.enter_context(Worker(ask, plan, target.node_urls, target.surface, spool))
        self._prober = stack.enter_context(Worker(probe, plan, target.bootstrap, target.node_urls, target.surface))
        self.operator = Operator(plan, target)
        stack.callback(self.operator.close)

    def preload(self) -> int:
        """Return how many candidates were published, once every replica holds them.

        Raises:
            PartFailed: a part ended with an error.
            RoostError: the deployment did not take them in time.
        """
        for part in (self._asker, self._prober):
            part.receive(timeout_s=_PREPARE_S)
        preloaded: int = self._sender.receive(timeout_s=_PRELOAD_S)
        self.operator.await_(lambda: min(self.held()) >= preloaded, f"{preloaded:,} candidates to be live", _PRELOAD_S, look_s=0.1)
        return preloaded

    def begin(self) -> float:
        """Let the traffic begin; returns when its first `settle_s` are over, Unix seconds."""
        start_s = time.time() + 0.5
        for part in (self._sender, self._asker, self._prober):
            part.tell(start_s)
        return start_s + self._plan.settle_s

    def end(self) -> Traffic:
        """Let it end: the probes first, so that the last is looked for under load."""
        probed: list[Probed] = self._prober.ask("stop", timeout_s=self._plan.give_up_s + 60)
        kept: list[Kept] = self._asker.ask("stop", timeout_s=60.0)
        load: Load = self._sender.ask("stop", timeout_s=60.0)
        return Traffic(probed, kept, load)

    def held(self) -> list[int]:
        """Return how many candidates each replica's index of the first live bundle holds; one that does not answer holds none."""
        held = []
        for node in self.operator.nodes:
            try:
                held.append(searchable(node, self._target.live_bundle))
            except RoostError:
                held.append(0)
        return held


@contextmanager
def parts(plan: Plan, target: Target) -> Iterator[Parts]:
    """Yield the parts of a run; at the end their processes and what they kept are gone."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="roost-load-"))
        yield Parts(plan, target, Path(folder) / "answers", stack)


def watch_until(unix_s: float, target: Target) -> None:
    """Sleep until a moment, reviving roles that died meanwhile."""
    while (left_s := unix_s - time.time()) > 0:
        target.watch()
        time.sleep(min(left_s, 1.0))
