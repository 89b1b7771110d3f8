"""When each piece of a checkpoint is due, so that a checkpoint is no burst. Knows no checkpoint; time is passed in, in seconds."""

# a checkpoint of a few pieces ends soon all the same
_FEW_PIECES = 10


class Spread:
    """Pieces of work at even distances over a time; what is late is due at once."""

    def __init__(self, pieces: float, *, over_s: float, now_s: float) -> None:
        """Begin now; about so many pieces will come."""
        self._gap_s = over_s / max(pieces, _FEW_PIECES)
        self._next_s = now_s

    def due_in_s(self, now_s: float) -> float:
        """Return the seconds until the next piece is due; 0 when it is."""
        return max(0.0, self._next_s - now_s)

    def took(self) -> None:
        """Note that a piece was done."""
        self._next_s += self._gap_s
