"""The collector's settings, in a process of their own: they are the whole interpreter's."""

import subprocess
import sys

_PROGRAM = """
import gc
from roost.collector import keep_pauses_short

walks = []
gc.callbacks.append(lambda phase, info: walks.append(info["generation"]) if phase == "start" else None)
{setting}
walks.clear()
kept = [[n] for n in range(400_000)]
print(*(walks.count(generation) for generation in (0, 1, 2)))
"""


def walks(setting: str) -> list[int]:
    """Return how often each generation is walked, the young one first, while 400,000 objects come to stay."""
    program = [sys.executable, "-c", _PROGRAM.format(setting=setting)]
    return list(map(int, subprocess.run(program, capture_output=True, text=True, check=True).stdout.split()))


def test_a_growing_role_is_not_stopped_by_full_collections() -> None:
    """Each walks everything held, for a tenth of a second and more: publish-to-retrievable and queries waited for it."""
    assert walks("keep_pauses_short()")[2] == 0 < walks("pass")[2]


def test_of_an_embedder_only_what_is_new_is_walked() -> None:
    """What young collections had left took 30 to 50 ms several times in ten seconds, all of it over a second; nothing was found."""
    young, middle, full = walks("keep_pauses_short(old_die_by_count=True)")
    assert (middle, full) == (0, 0)
    assert young > 100
