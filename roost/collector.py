"""Keeps Python's cycle collector from stopping a role for a tenth of a second. Frees nothing itself.

What a role holds for long (candidates, rows, users) is freed by reference counts alone, but a full collection walks all of it:
measured 100 to 370 ms in an embedder of 20,000 candidates, several times a minute, with nothing found.
"""

import gc

# Young cycles, of requests and exceptions, go as before, some thousands of objects at a time: a few milliseconds at most.
_YOUNG_OBJECTS = 5_000
_MIDDLE_EVERY = 10
# A full walk only after the process has grown by so many times 50,000 objects: twenty minutes of 200 new tweets a second.
_FULL_EVERY = 50


def keep_pauses_short() -> None:
    """Leave everything loaded so far out of collections, and make full ones rare. For processes that answer or embed."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, _MIDDLE_EVERY, _FULL_EVERY)
