"""Keeps Python's cycle collector from stopping a role for a tenth of a second. Frees nothing itself.

What a role holds for long (candidates, rows, users) is freed by reference counts alone, but a full collection walks all of it:
measured 100 to 370 ms in an embedder of 20,000 candidates, several times a minute, with nothing found.
"""

import gc

# Young cycles, of requests and exceptions, go as before, some thousands of objects at a time: a few milliseconds at most.
_YOUNG_OBJECTS = 2_000
# What young collections leave is walked again only after so many of them, and all that is held with it: an embedder stood still for
# 30 to 50 ms every eight seconds, and for 1.2 s at 365,000 candidates. None of hundreds of walks found a single object.
_MIDDLE_EVERY = 20_000
_FULL_EVERY = 1


def keep_pauses_short() -> None:
    """Leave everything loaded so far out of collections, and make all but young ones rare. For processes that answer or embed."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, _MIDDLE_EVERY, _FULL_EVERY)
