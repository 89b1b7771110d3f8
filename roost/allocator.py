"""Lets a role's threads share few of the allocator's arenas, so that what one frees another takes. Allocates nothing itself.

glibc gives threads arenas of their own, eight a core, and what is freed in one stays there. Each bundle's index is filled by a new
thread: after twenty swaps a node of 20,000 candidates held 760 MB. With shared arenas it holds 440.
"""

import ctypes

# of glibc's malloc.h
_M_ARENA_MAX = -8
# the interpreter lets one thread allocate at a time; the second is for work outside of it, such as building a graph
_ARENAS = 2


def share_arenas() -> bool:
    """Limit the arenas that threads begin from now on; False where the C library has none."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and mallopt(_M_ARENA_MAX, _ARENAS) == 1
