"""Child processes: each in a session of its own."""

import os
import sys
from pathlib import Path

from roost.child import spawn


def test_a_child_has_a_session_of_its_own(tmp_path: Path) -> None:
    """Ctrl-C must not reach it before its launcher says so. In the launcher's, on a machine that is full, the one thread of an
    embedder came after all those of a broker: from append to embedded 47 ms in the median instead of 34.
    """
    with (tmp_path / "log").open("wb") as log:
        child = spawn([sys.executable, "-c", "import os; print(os.getpid(), os.getsid(0))"], log=log)
        assert child.wait(60) == 0
    pid, session = map(int, (tmp_path / "log").read_text().split())
    # through `setpriv`, where there is one, in the same process
    assert session == pid
    assert session != os.getsid(0)
