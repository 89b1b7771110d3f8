"""How a process is a member of its consumer group. Frozen numbers; no behaviour."""

from dataclasses import dataclass

from streams.settings import StreamsSettings


@dataclass(frozen=True, slots=True)
class GroupSettings:
    """One consumer group.

    Attributes:
        group: its id; the committed offsets are its position.
        instance: tells apart the group's processes. A process that comes back under its name gets its partitions back at once,
            and one that still runs under it is fenced (KIP-345).
        session_timeout_s: a killed member's partitions are given to another after this long.
        commit_interval_s: how often acknowledged offsets are committed.
        flush_timeout_s: how long a batch waits for the broker's acknowledgement before the process ends.
        wedged_after_s: how long a partition may stand still with records to read, or this process be no member of its group while
            the broker answers, before the process ends.
        stop_timeout_s: how long a stop may take before it is given up: without a broker, nothing can be flushed or committed.
    """

    bootstrap: str
    group: str
    instance: str
    session_timeout_s: float = 20.0
    commit_interval_s: float = 1.0
    flush_timeout_s: float = 60.0
    wedged_after_s: float = 60.0
    stop_timeout_s: float = 20.0


def group_settings(settings: StreamsSettings, group: str, *, wedged_after_s: float) -> GroupSettings:
    """Return a role's settings as those of its consumer group."""
    return GroupSettings(
        settings.bootstrap,
        group,
        settings.instance,
        session_timeout_s=settings.session_timeout_s,
        commit_interval_s=settings.checkpoint_interval_s,
        wedged_after_s=wedged_after_s,
    )
