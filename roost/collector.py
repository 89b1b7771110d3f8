"""Keeps Python's cycle collector from stopping a role for a tenth of a second. Frees nothing itself.

What a role holds for long (candidates, rows, users) is freed by reference counts alone, but a full collection walks all of it:
measured 100 to 370 ms in an embedder of 20,000 candidates, several times a minute, with nothing found.
"""

import gc

# Young cycles, of requests and exceptions, go as before, some thousands of objects at a time: a few milliseconds at most.
_YOUNG_OBJECTS = 2_000
# What so many young collections left is walked together: of more, a role stood still for 30 to 50 ms every eight seconds.
_MIDDLE_EVERY = 5
# A full walk only after the process has grown by so many times 10,000 objects: twenty minutes of 200 new tweets a second.
_FULL_EVERY = 250
# What an embedder holds of its candidates dies by their counts: it stood still for 1.2 s at 365,000 of them, and hundreds of walks
# found not one object. A node, of which whole indexes go, keeps looking.
_SELDOM = 20_000


def keep_pauses_short(*, old_die_by_count: bool = False) -> None:
    """Leave everything loaded so far out of collections, and make full ones rare. For processes that answer or embed.

    Args:
        old_die_by_count: nothing that is held for long is part of a cycle, so that there is hardly ever something to be found.
    """
    gc.collect()
    gc.freeze()
    if old_die_by_count:
        gc.set_threshold(_YOUNG_OBJECTS, _SELDOM, 1)
    else:
        gc.set_threshold(_YOUNG_OBJECTS, _MIDDLE_EVERY, _FULL_EVERY)
