"""Keeps what a role frees from staying with it: threads share few arenas, and large blocks go back. Allocates nothing itself.

glibc gives threads arenas of their own, eight a core, and what is freed in one stays there. Each bundle's index is filled by a new
thread: after twenty swaps a node of 20,000 candidates held 760 MB. With shared arenas it held 440.

Each large block that is freed raises the size, up to 32 MB, below which blocks come from the arenas and not from the system: the
columns of an index and of the next then lie between the small objects of both, and the holes that they leave are for nobody. Filled
and closed in turn, two at a time, fourteen indexes of 20,000 rows held 195 MB so, and hold 120 with a size that stays.
"""

import ctypes

# of glibc's malloc.h
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
# the interpreter lets one thread allocate at a time; the second is for work outside of it, such as building a graph
_ARENAS = 2
# what glibc begins with; given, it stays
_LARGE_BYTES = 128 * 1024


def hold_little() -> bool:
    """Limit the arenas that threads begin from now on, and keep large blocks out of them; False where the C library has none."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return all(mallopt(setting, value) == 1 for setting, value in ((_M_ARENA_MAX, _ARENAS), (_M_MMAP_THRESHOLD, _LARGE_BYTES)))
