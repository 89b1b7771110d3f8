"""The one-machine launcher on a real broker. Its roles are tested where they are written."""

import os
import signal
import time
from pathlib import Path

from roost.machine.machine import Machine, MachinePlan
from roost.settings import LauncherSettings
from schemas.wire.admin import wait_for_broker


def test_a_broker_that_died_is_started_again_with_what_it_held(launcher_settings: LauncherSettings, tmp_path: Path) -> None:
    """Out of memory, or a disk that was full: the roles waited for ever for a broker that nobody started again."""
    own = launcher_settings.model_copy(update={"kafka_bootstrap_servers": None})
    said: list[str] = []
    with Machine(MachinePlan(tmp_path, roles=()), own, say=said.append) as machine:
        assert machine.broker is not None
        os.kill(machine.broker.pid, signal.SIGKILL)
        deadline_s = time.monotonic() + 10.0
        while machine.broker.running and time.monotonic() < deadline_s:
            time.sleep(0.05)
        machine.watch()
        assert said[-2].startswith("the broker ended; it starts again")
        assert "tweets" in wait_for_broker(machine.bootstrap, timeout_s=5.0).list_topics(timeout=5.0).topics
        before = list(said)
        machine.watch()
        assert said == before, "nothing to say of a broker that runs"
