"""The allocator's arenas, in a process of their own: they are the whole process's."""

import ctypes
import subprocess
import sys

import pytest

_PROGRAM = """
import ctypes, threading
from roost.allocator import share_arenas

share_arenas() if {shared} else None
barrier = threading.Barrier(6)

def hold():
    held = [bytes(5_000) for _ in range(200)]
    barrier.wait()

threads = [threading.Thread(target=hold) for _ in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
c = ctypes.CDLL(None)
c.fdopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(c.fdopen(1, b"w"))
c.malloc_info(0, file)
c.fflush(file)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="glibc's allocator only")
def test_threads_share_arenas_so_that_memory_that_one_gives_back_another_takes() -> None:
    """Each swap of towers fills an index by new threads: with arenas of their own a node grew by 20 MB a swap."""
    arenas = {}
    for shared in (False, True):
        program = [sys.executable, "-c", _PROGRAM.format(shared=shared)]
        arenas[shared] = subprocess.run(program, capture_output=True, text=True, check=True).stdout.count("<heap nr=")
    assert arenas[True] <= 2 < arenas[False]
