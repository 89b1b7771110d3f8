"""What one run does. Frozen numbers; no behaviour."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes and rates; the defaults fit three minutes on two cores.

    Attributes:
        corpus: tweets there from the beginning; those of the last minute are as many as come in a minute.
        queries_per_s: on each system.
        before_s, after_s: length of the windows before the swap, and after each flip.
        walk_rows_per_s: pace at which the usual way embeds its rows again, as live traffic would leave it.
        k: candidates an answer.
        fresh_s: up to this age a tweet counts as fresh.
        give_up_s: a probe not found for so long is lost, a flip that takes so long a failure.
    """

    corpus: int = 6_000
    tweets_per_s: float = 30.0
    queries_per_s: float = 8.0
    before_s: float = 15.0
    after_s: float = 8.0
    walk_rows_per_s: float = 300.0
    k: int = 200
    fresh_s: float = 60.0
    give_up_s: float = 120.0
    seed: int = 0
