"""Which of several launchers has a role's name on a broker: their claims on `node-status`. Reads and writes no topic.

A launcher writes its claim once, under a key of its own, before any role starts; then a heartbeat every second, under another key.
Written once, a claim keeps its place in the log whatever compaction removes. Of two claims on one name the one with the lower
offset holds, whatever clocks say, while its launcher's heartbeats come. A launcher that ends writes nulls under both keys. Either
record is a `NodeStatus` without content; whoever knows nothing of claims passes over names that are none of a role's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from schemas.records.control import CONTROLLER, EMBEDDER, NODE
from schemas.wire.inbound import InboundRecord

CLAIM, LAUNCHER = "claim:", "launcher:"
"""What the key of a claim and of its launcher's heartbeat begins with."""
LABELER = "labeler:"

_BEFORE_ALL = -1


@dataclass(frozen=True, slots=True)
class Claim:
    """Names that a launcher claims for its roles.

    Attributes:
        host: the launcher's machine.
        pid: its process id there.
        token: tells apart two processes of one id on one host: a host may be a container that was made anew.
        names: as `claimed_names` gives them.
    """

    host: str
    pid: int
    token: str
    names: frozenset[str]

    @property
    def claim_key(self) -> str:
        """Key of the claim: one record, and later perhaps a null."""
        return CLAIM + self._text

    @property
    def heartbeat_key(self) -> str:
        """Key of the heartbeats that say that its launcher still runs."""
        return LAUNCHER + self._text

    @property
    def _text(self) -> str:
        return f"{self.host}:{self.pid}:{self.token}:{','.join(sorted(self.names))}"

    @staticmethod
    def of(text: str) -> "Claim | None":
        """Return the claim that a key names behind its prefix; None for a text that is none."""
        host, _, rest = text.partition(":")
        pid, _, rest = rest.partition(":")
        token, _, names = rest.partition(":")
        return Claim(host, int(pid), token, frozenset(names.split(","))) if pid.isdecimal() and token and names else None


def claimed_names(roles: Sequence[str], *, node_id: str, instance: str) -> frozenset[str]:
    """Return the names that only one launcher on a broker may have.

    Embedder and controller are one each, whatever their instances: two would share the partitions and not the folder of bundles.
    Labelers of different instances share the partitions; nodes of different ids share nothing.

    Args:
        roles: as `roost up --role` names them; what is claimed by none of them adds nothing.
        node_id: of the node.
        instance: of the labeler.
    """
    claimed = {"embed": EMBEDDER, "control": CONTROLLER, "label": LABELER + instance, "serve": NODE + node_id}
    return frozenset(claimed[role].rstrip(":") for role in roles if role in claimed)


class Claims:
    """The claims on a broker, as the launcher of one of them sees them."""

    def __init__(self, own: Claim) -> None:
        """Know of none yet, not even that `own` was written."""
        self._own = own
        self._own_at: int | None = None
        # offsets: of each claim that stands, and of each launcher's newest heartbeat
        self._at: dict[Claim, int] = {}
        self._heard_at: dict[Claim, int] = {}

    @property
    def written(self) -> bool:
        """Whether the own claim was read: until then nothing can be said of others."""
        return self._own_at is not None

    def take(self, records: Sequence[InboundRecord]) -> None:
        """Take in records of `node-status`, read from its beginning in log order; those of roles are passed over."""
        for record in records:
            key = (record.key or b"").decode(errors="replace")
            if key.startswith(CLAIM):
                self._take_claim(Claim.of(key.removeprefix(CLAIM)), record)
            elif key.startswith(LAUNCHER) and (claim := Claim.of(key.removeprefix(LAUNCHER))) is not None:
                if record.value is None:
                    self._heard_at.pop(claim, None)
                else:
                    self._heard_at[claim] = record.offset

    def _take_claim(self, claim: Claim | None, record: InboundRecord) -> None:
        if claim is None:
            return
        if claim == self._own:
            self._own_at = record.offset if self._own_at is None else self._own_at
        elif record.value is None:
            self._at.pop(claim, None)
        else:
            self._at[claim] = record.offset

    def holders(self) -> list[Claim]:
        """Return the earlier claims on one of the own names whose launchers were heard of after the own claim.

        A launcher that is heard of without a claim is earlier, too: it claimed before the topic was created anew, or its claim was
        removed while it was taken for dead.
        """
        return [claim for claim in self._earlier() if self._is_heard(claim) and claim.names & self._own.names]

    def silent(self) -> list[Claim]:
        """Return the earlier claims whose launchers were not heard of after the own claim: once time has passed, the dead ones."""
        return [claim for claim in self._earlier() if not self._is_heard(claim)]

    def _earlier(self) -> list[Claim]:
        own_at = self._own_at
        if own_at is None:
            return []
        known = dict.fromkeys([*self._at, *self._heard_at])
        return [claim for claim in known if claim != self._own and self._at.get(claim, _BEFORE_ALL) < own_at]

    def _is_heard(self, claim: Claim) -> bool:
        return self._own_at is not None and self._heard_at.get(claim, _BEFORE_ALL) > self._own_at
