"""An operator: no surface changes its towers by itself until this is called again with `unfreeze`.

Run: python examples/operate.py 127.0.0.1:9092 freeze "a holiday"
"""

import sys
import time
import uuid

from schemas.errors import CompareAndSetLost
from schemas.records.control import CommandKind, RolloutCommand
from streams.controller.client import RolloutClient

bootstrap, kind, *reason = sys.argv[1:]
with RolloutClient(bootstrap) as rollouts:
    for surface, state in rollouts.states().items():
        command = RolloutCommand(
            uuid.uuid4().hex,
            surface,
            CommandKind(kind),
            time_ms=time.time_ns() // 1_000_000,
            # of two operators the second is told, and looks again
            expected_revision=state.revision,
            reason=" ".join(reason),
        )
        try:
            print(surface, state.live, "frozen:", rollouts.send(command).frozen)
        except CompareAndSetLost as error:
            print(surface, error)
