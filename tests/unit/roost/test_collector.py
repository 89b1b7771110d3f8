"""The collector's settings, in a process of their own: they are the whole interpreter's."""

import subprocess
import sys

_PROGRAM = """
import gc
from roost.collector import keep_pauses_short

full = []
gc.callbacks.append(lambda phase, info: full.append(info) if phase == "start" and info["generation"] == 2 else None)
keep_pauses_short() if {kept_short} else None
full.clear()
kept = [[n] for n in range(400_000)]
print(len(full))
"""


def test_a_growing_role_is_not_stopped_by_full_collections() -> None:
    """Each walks everything held, for a tenth of a second and more: publish-to-retrievable and queries waited for it."""
    full = {}
    for kept_short in (False, True):
        program = [sys.executable, "-c", _PROGRAM.format(kept_short=kept_short)]
        full[kept_short] = int(subprocess.run(program, capture_output=True, text=True, check=True).stdout)
    assert full[True] == 0 < full[False]
