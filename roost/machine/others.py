"""Whether others have the names that ours would take on a broker: by their claims, or their roles' heartbeats. Starts nothing."""

import time
from collections.abc import Sequence

from schemas.claims import Claim, Claims
from schemas.codec import decode
from schemas.errors import BrokerUnavailable, InvalidInput, RoostError
from schemas.records.control import NodeStatus
from schemas.topics import NODE_STATUS
from schemas.wire.inbound import InboundRecord
from schemas.wire.tail import TailReader

# a controller is heard of every two seconds, the others and launchers every second
_QUIET_S = 4.0
# roles whose launcher was killed are ending, and a launcher may be
_ENDING_S = 12.0
_POLL_S = 0.1


def check_alone(bootstrap: str, own: Claim) -> list[Claim]:
    """Wait until nobody else is heard of under the names of a claim; return the earlier claims, whose launchers are dead.

    By what comes while it listens, as what has ended is in the topic too, and clocks may differ. A claim is heeded by its place in
    the log: of two launchers that start at once, one goes on. Roles that no launcher claimed for, as containers run them, and those
    of a release without claims are known by their heartbeats.

    Args:
        own: already written.

    Raises:
        RoostError: somebody is; the sentence says who, and what to do.
        BrokerUnavailable: no broker answers, or `own` is not in the topic.
    """
    claims = Claims(own)
    with TailReader(bootstrap, NODE_STATUS, [0]) as reader:
        claims.take(reader.read_to_end())
        if not claims.written:
            raise BrokerUnavailable(f"{NODE_STATUS} on {bootstrap} was created anew while this was starting; start it again")
        began_s = quiet_since_s = time.monotonic()
        while (now_s := time.monotonic()) - quiet_since_s < _QUIET_S:
            records = reader.poll(1000, _POLL_S)
            claims.take(records)
            other = _other(claims, records, own)
            if other is None:
                continue
            quiet_since_s = now_s
            if now_s - began_s >= _ENDING_S:
                raise RoostError(
                    f"{other} on the broker {bootstrap}; stop that one, or name another broker with KAFKA_BOOTSTRAP_SERVERS. "
                    "Beside it only roles that it lacks can run (--role), and a node that has a ROOST_NODE_ID of its own"
                )
    return claims.silent()


def _other(claims: Claims, records: Sequence[InboundRecord], own: Claim) -> str | None:
    """Return who is heard of in these records under the own names, as the beginning of a sentence; None without one."""
    spoke = {record.key.decode(errors="replace"): record for record in records if record.key and record.value is not None}
    for claim in claims.holders():
        if claim.heartbeat_key in spoke:
            names = " and ".join(sorted(claim.names & own.names))
            return f"another `roost up`, process {claim.pid} on {claim.host}, has claimed {names}"
    for key, record in spoke.items():
        if any(key == name or key.startswith(f"{name}:") for name in own.names):
            url = _url(record)
            return f"{key} of another deployment{f', at {url},' if url else ''} reports"
    return None


def _url(record: InboundRecord) -> str:
    try:
        return decode(NodeStatus, record.value or b"").url
    except InvalidInput:
        return ""
