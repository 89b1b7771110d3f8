"""Looks for the probes that are out until an answer holds each. Publishes nothing."""

import time
from collections import deque
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np

from lab.bench.freshness.http import Retrieval
from lab.bench.freshness.plan import PROBE_LANGUAGES, Plan, Probe, Target, probes
from lab.observed.columns import Floats

# share of a waiting time that it is known to, where it is long
_RESOLUTION = 0.1
# what was found before must not fill the answer: no probe is looked for so long after it was given up
_BEYOND_S = 30.0


@dataclass(frozen=True, slots=True)
class Seen:
    """When each probe was first in an answer, monotonic seconds by id; what is missing was lost. `polls_ms` are the times between
    two looks: what the times are good to. `failed` counts looks without an answer.
    """

    seen_s: dict[str, float]
    polls_ms: Floats
    failed: int


def look(connection: Connection, plan: Plan, target: Target) -> None:
    """Run the prober's process: wait for a start (monotonic seconds) and how old what is created then seems, look, report."""
    connection.send("prepared")
    start_s, behind_s = connection.recv()
    connection.send(look_for(probes(plan), Retrieval(target.node_url, target.surface), plan, start_s, behind_s=behind_s))


def look_for(wanted: tuple[Probe, ...], retrieval: Retrieval, plan: Plan, start_s: float, *, behind_s: float = 0.0) -> Seen:
    """Look for each probe from its due time on, until it is seen or given up; one question asks for all that are out.

    Args:
        behind_s: by how much the probes' times of creation are before those at which they are due.
    """
    coming = deque(wanted)
    out: dict[str, Probe] = {}
    seen_s: dict[str, float] = {}
    polls: list[float] = []
    failed = 0
    while coming or out:
        now_s = time.monotonic() - start_s
        while coming and coming[0].due_s <= now_s:
            probe = coming.popleft()
            out[probe.candidate_id] = probe
        for probe in [probe for probe in out.values() if probe.due_s + plan.give_up_s < now_s]:
            del out[probe.candidate_id]
        if not out:
            if coming:
                time.sleep(max(0.0, start_s + coming[0].due_s - time.monotonic()))
            continue
        began_s = time.monotonic()
        languages = sorted({probe.language for probe in out.values()})
        asked = {"k": 4 * PROBE_LANGUAGES, "languages": languages, "max_age_s": behind_s + plan.give_up_s + _BEYOND_S}
        found = retrieval.ids(asked)
        answered_s = time.monotonic()
        failed += found is None
        for candidate_id in set(found or ()) & out.keys():
            seen_s[candidate_id] = answered_s
            del out[candidate_id]
        if out:
            # looked for all the time, what is late would take from the node the time that it is late by
            waited_s = began_s - start_s - max(probe.due_s for probe in out.values())
            pause_s = max(plan.poll_s, _RESOLUTION * waited_s)
            if coming:
                pause_s = min(pause_s, max(plan.poll_s, start_s + coming[0].due_s - began_s))
            time.sleep(max(0.0, began_s + pause_s - time.monotonic()))
            polls.append(time.monotonic() - began_s)
    retrieval.close()
    return Seen(seen_s, np.array(polls) * 1000, failed)
