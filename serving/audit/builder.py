"""What is wrong with an index's builder, from its figures. Pure; restarts nothing."""

from serving.index import IndexStats

STALLED_S = 60.0
"""The longest step, sorting a million rows on a busy machine, takes less."""
DEBT_SHARE = 1.0
"""Of the live rows: once so many have settled beyond those that make new cells, or a graph, due, the builder is a corpus behind."""

BUILDER_ALARMS = ("builder_died", "builder_stalled", "builder_failing", "builder_behind")


def builder_alarms(stats: IndexStats) -> dict[str, str]:
    """Each alarm that stands, by name, with its sentence; empty when the builder is well or the index has none."""
    if not stats.builder_wanted:
        return {}
    alarms = {}
    if not stats.builder_running:
        alarms["builder_died"] = "the index builder's thread has ended: rows stay where searching costs most; restart the node"
    elif stats.builder_heartbeat_age_s > STALLED_S:
        alarms["builder_stalled"] = (
            f"the index builder has been in one step for {stats.builder_heartbeat_age_s:.0f} s: it gets no processor time, or hangs"
        )
    if stats.builder_fault is not None:
        alarms["builder_failing"] = f"the index builder fails and tries again: {stats.builder_fault}"
    if 0 < stats.fresh_rows_bound < stats.fresh_rows:
        alarms["builder_behind"] = f"{stats.fresh_rows} rows wait to be settled, the bound is {stats.fresh_rows_bound}"
    elif stats.merge_debt_rows > DEBT_SHARE * max(stats.live, 1):
        alarms["builder_behind"] = (
            f"{stats.merge_debt_rows} rows more have settled than made new cells or a new graph due, of {stats.live} live"
        )
    return alarms
