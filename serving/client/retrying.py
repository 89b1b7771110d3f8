"""Which failed calls are worth another try, and when. Sends nothing.

Questions change nothing on a node, so that any may be asked again. Those are that another node behind the same address, or the same
one a moment later, may answer. A node that is behind is no reason: its caller may prefer to ask without the condition.
"""

from typing import Any

from tenacity import AsyncRetrying, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from serving.client.errors import NodeUnreachable, NotServing

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 1.0


def checked(retries: int) -> int:
    """Return a number of retries; raises `ValueError` for one below 0."""
    if retries < 0:
        raise ValueError(f"retries={retries}: 0 asks once, 2 asks up to three times")
    return retries


# a fresh one for each call: tenacity's objects remember the attempt they are in
def _policy(retries: int) -> dict[str, Any]:
    return {
        "retry": retry_if_exception_type((NodeUnreachable, NotServing)),
        "stop": stop_after_attempt(retries + 1),
        # apart by chance, or all the clients of a node that restarts come back at once
        "wait": wait_exponential_jitter(multiplier=FIRST_PAUSE_S, max=LONGEST_PAUSE_S, jitter=FIRST_PAUSE_S),
        "reraise": True,
    }


def retrying(retries: int) -> Retrying:
    """Return a caller that tries again up to `retries` times, then raises what the last try raised."""
    return Retrying(**_policy(retries))


def retrying_async(retries: int) -> AsyncRetrying:
    """Return the same for coroutines."""
    return AsyncRetrying(**_policy(retries))
