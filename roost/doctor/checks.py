"""The checks on what was measured: disk, clock, lag, topics, roles, embedders, node. Pure: every fact is passed in."""

from collections.abc import Mapping, Sequence

from roost.doctor.finding import Finding, note, ok, wrong
from schemas.groups import Committed, sentence_of, standing, waiting
from schemas.positions import Place
from schemas.wire.admin import TopicFault

_GIB = 1 << 30
LEAST_FREE_BYTES = _GIB
# event times more than 5 minutes ahead of the broker are dead letters: a minute leaves time to mend the clock
MOST_SKEW_MS = 60_000
_NOTABLE_SKEW_MS = 1_000


def check_disk(what: str, place: str, *, free_bytes: int, total_bytes: int) -> Finding:
    """Judge the room left where `what` is kept."""
    said = f"{place} has {free_bytes / _GIB:.1f} GiB free of {total_bytes / _GIB:.0f}"
    if free_bytes < LEAST_FREE_BYTES:
        least = f"less than {LEAST_FREE_BYTES / _GIB:.0f} GiB"
        return wrong(f"disk of {what}", f"{said}, {least}", "make room there, or move it: a full disk stops every role")
    return ok(f"disk of {what}", said)


def ahead_ms(append_ms: int, began_ms: int, ended_ms: int) -> int:
    """Return how far our clock is ahead of the broker's, which stamped a record while ours went from `began_ms` to `ended_ms`.

    Within that round trip no difference can be told: then it is 0.
    """
    if append_ms < began_ms:
        return began_ms - append_ms
    return min(ended_ms - append_ms, 0)


def check_clock(ahead_ms: int) -> Finding:
    """Judge this machine's clock by a broker's append time; `ahead_ms` is how far ours is ahead."""
    way = "ahead of" if ahead_ms >= 0 else "behind"
    said = f"this machine's clock is {abs(ahead_ms) / 1000:.1f} s {way} the broker's"
    if abs(ahead_ms) > MOST_SKEW_MS:
        return wrong("clock", f"{said}; event times over 5 minutes ahead become dead letters", "set both clocks by NTP")
    if abs(ahead_ms) > _NOTABLE_SKEW_MS:
        return note("clock", said, "set both clocks by NTP")
    return ok("clock", "this machine's clock and the broker's agree within a second")


def check_topics_found(count: int, faults: Sequence[TopicFault], bootstrap: str) -> list[Finding]:
    """Turn the faults of `count` topics into findings, each with the command that mends it."""
    if not faults:
        return [ok("topics", f"{count} topics are as they must be")]
    return [wrong(f"topic {fault.topic}", fault.sentence, _topic_fix(fault, bootstrap)) for fault in faults]


def _topic_fix(fault: TopicFault, bootstrap: str) -> str:
    if fault.missing:
        return f"roost topics create --bootstrap {bootstrap}"
    if fault.setting is not None:
        return f"roost topics alter --bootstrap {bootstrap}"
    anew = f"stop all roles, delete the topic, and run `roost topics create --bootstrap {bootstrap}`; its records are lost"
    return f"set ROOST_PARTITIONS, here and for the roles, where all topics of its key have that number; else {anew}"


def check_lag(role: str, before: Committed, after: Committed, ends: Mapping[Place, int], *, apart_s: float) -> Finding:
    """Judge a consumer group's progress, each partition for itself: one that stands still is not hidden by others that move.

    Args:
        role: the command that runs it.
        before, after: the group's committed next offsets at two moments, None where it never committed.
        ends: the partitions' ends.
        apart_s: seconds between the two moments.
    """
    check = f"lag of {role}"
    if all(offset is None for offset in after.values()):
        if total := sum(ends.values()):
            return wrong(check, f"it has committed nothing yet, and {total:,} records wait", f"roost {role}; or see its log")
        return note(check, "it has committed nothing yet, and nothing waits for it")
    total = sum(waiting(after, ends).values())
    if not total:
        return ok(check, "none")
    if stuck := standing(before, after, ends):
        said = sentence_of(stuck, apart_s)
        if before != after:
            return wrong(check, f"{said}; others are taken", f"see the log of roost {role}: it names what a partition waits for")
        return wrong(check, said, f"roost {role}; or see its log")
    return ok(check, f"{total:,} records, and it is taking them")


def check_roles(pids: Mapping[str, int], restarts: Mapping[str, int]) -> Finding:
    """Judge the roles of the launcher on this machine; 0 stands for one that is down just now.

    Args:
        restarts: how often each was started again: one that ends soon after every start mostly runs when it is looked at.
    """
    down = [name for name, pid in pids.items() if not pid]
    if down:
        logs = ", ".join(f"logs/{name}.log" for name in down)
        return wrong("roles", f"down: {', '.join(down)}; the launcher starts them again and again", f"read the end of {logs}")
    running = f"running: {', '.join(pids)}"
    if again := {name: count for name, count in restarts.items() if count}:
        counts = ", ".join(f"{name} {count} times" for name, count in again.items())
        logs = ", ".join(f"logs/{name}.log" for name in again)
        return note("roles", f"{running}; ended and started again since `roost up`: {counts}", f"read in {logs} why")
    return ok("roles", running)


def check_embedders(errors: Sequence[str]) -> list[Finding]:
    """Turn what embedders say is wrong into findings: a bundle set aside, or candidates that get no vector."""
    if not errors:
        return [ok("embedders", "none says that anything is wrong")]
    fix = "roost rollout status; roll back from that bundle, or abort its rollout"
    return [wrong("embedders", error, fix) for error in errors]


def check_node(
    url: str,
    ready: bool | None,  # noqa: FBT001 - a fact, no switch
    reasons: Sequence[str],
    alarms: Sequence[str],
    index_alarms: Sequence[str],
) -> Finding:
    """Judge a serving node by its /readyz; `ready` is None when nobody answered."""
    if ready is None:
        return wrong("node", f"nobody answers at {url}", "roost serve")
    if alarms:
        return wrong(
            "node",
            f"{url}: {'; '.join(alarms)}",
            "the node's log names the record, whose producer is to be mended, or the bundle, to be rolled back from",
        )
    if index_alarms:
        return wrong("node", f"{url}: {'; '.join(index_alarms)}", "roost index audit; and see the node's log")
    if not ready:
        return note("node", f"{url} is not ready: {'; '.join(reasons)}")
    return ok("node", f"{url} is ready")
