"""How long a runner rests between two batches, so that records gather: requests cost a broker more than records. Never waits."""

_RECORDS_PER_S = 500
_ROUND_S = 0.005
_SMALL_BATCH_RECORDS = 100
_LONGEST_S = 0.02


def rest_s(records: int, spent_s: float) -> float:
    """Return the seconds to rest after a round of so many records that took so long; 0 where they come slowly.

    A round lasts five milliseconds at least. While batches are small, what a batch costs whatever is in it weighs most: the
    rest is then as long as the round was, so that a busy machine, where rounds take long, is asked for fewer and larger ones.
    """
    if records <= _RECORDS_PER_S * max(spent_s, _ROUND_S):
        return 0.0
    as_long_s = min(spent_s, _LONGEST_S) if records < _SMALL_BATCH_RECORDS else 0.0
    return max(0.0, _ROUND_S - spent_s, as_long_s)
