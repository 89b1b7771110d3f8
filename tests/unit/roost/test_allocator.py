"""What the allocator keeps, in a process of its own: it is the whole process's."""

import ctypes
import re
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="glibc's allocator only")

_BEGIN = """
import ctypes, threading
from roost.allocator import hold_little

hold_little() if {held} else None
"""
_BY_SIX_THREADS = """
barrier = threading.Barrier(6)

def hold():
    held = [bytes(5_000) for _ in range(200)]
    barrier.wait()

threads = [threading.Thread(target=hold) for _ in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""
_AFTER_A_LARGE_ONE = """
bytes(16_000_000)
held = [bytes(1_000_000) for _ in range(5)]
"""
_TELL = """
c = ctypes.CDLL(None)
c.fdopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(c.fdopen(1, b"w"))
c.malloc_info(0, file)
c.fflush(file)
"""


def told_of(program: str, *, held: bool) -> str:
    """Return what the allocator says of itself at the end of a process."""
    whole = [sys.executable, "-c", _BEGIN.format(held=held) + program + _TELL]
    return subprocess.run(whole, capture_output=True, text=True, check=True).stdout


def test_threads_share_arenas_so_that_memory_that_one_gives_back_another_takes() -> None:
    """Each swap of towers fills an index by new threads: with arenas of their own a node grew by 20 MB a swap."""
    arenas = {held: told_of(_BY_SIX_THREADS, held=held).count("<heap nr=") for held in (False, True)}
    assert arenas[True] <= 2 < arenas[False]


def test_large_blocks_stay_out_of_the_arenas_whatever_was_freed_before() -> None:
    """The first index that was closed put the columns of all that followed among small objects, and a node grew by 6 MB a swap."""
    blocks = {
        held: int(re.findall(r'type="mmap" count="(\d+)"', told_of(_AFTER_A_LARGE_ONE, held=held))[-1]) for held in (False, True)
    }
    assert blocks[True] - blocks[False] == 5
