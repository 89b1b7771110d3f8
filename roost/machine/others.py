"""Whether another deployment's roles report on a broker under names that ours would take. Starts and stops nothing."""

import time
from collections.abc import Collection
from contextlib import closing

from schemas.records.control import CONTROLLER, EMBEDDER, NODE, NodeStatus
from streams.controller.journal import Heartbeats

# of one embedder and one controller, whatever their instances: two would share the partitions and not the folder of bundles
_ONLY_ONE = {"embed": EMBEDDER, "control": CONTROLLER}
# a controller is heard of every two seconds, the others every second
_QUIET_S = 4.0
# roles whose launcher was killed are ending
_ENDING_S = 12.0


def still_reports(bootstrap: str, roles: Collection[str], *, node_id: str) -> NodeStatus | None:
    """Return the heartbeat of another's embedder, controller or node in the place of ours; None once they are silent.

    By what comes while it listens, as what has ended is in the topic too, and clocks may differ.

    Raises:
        BrokerUnavailable: no broker answers.
    """
    ours = tuple(prefix for role, prefix in _ONLY_ONE.items() if role in roles)
    node = NODE + node_id if "serve" in roles else None
    with closing(Heartbeats(bootstrap)) as heartbeats:
        heartbeats.catch_up()
        began_s = quiet_since_s = time.monotonic()
        heard: dict[str, NodeStatus] | None = None
        while True:
            heartbeats.refresh()
            now = {s.instance: s for s in heartbeats.all() if s.instance == node or s.instance.startswith(ours)}
            if not now:
                return None
            now_s = time.monotonic()
            if heard is not None and (news := [s for name, s in now.items() if s != heard.get(name)]):
                if now_s - began_s >= _ENDING_S:
                    return news[0]
                quiet_since_s = now_s
            heard = now
            if now_s - quiet_since_s >= _QUIET_S:
                return None
            time.sleep(0.1)
