"""Child processes: in the launcher's session, in a process group of their own."""

import os
import sys
from pathlib import Path

from roost.child import spawn


def test_a_child_has_a_process_group_of_its_own_and_the_session_of_whoever_made_it(tmp_path: Path) -> None:
    """Ctrl-C must not reach it before its launcher says so; in a session of its own Linux would give what it does at the lowest
    priority as much as all that the other roles do.
    """
    with (tmp_path / "log").open("wb") as log:
        child = spawn([sys.executable, "-c", "import os; print(os.getpid(), os.getpgrp(), os.getsid(0))"], log=log)
        assert child.wait(60) == 0
    pid, group, session = map(int, (tmp_path / "log").read_text().split())
    assert (group, session) == (pid, os.getsid(0))
    assert group != os.getpgrp()
