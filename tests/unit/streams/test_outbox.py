"""The outbox where threads share it, on the client's own broker in memory."""

import threading
from collections.abc import Callable
from typing import Any

from streams.outbox import Outbox

TOPIC = "tweets"


class Interrupted(dict[Any, Any]):
    """A mapping in which the first look-up is followed by something else, as when another thread's turn comes just then."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        super().__init__()
        self._meanwhile = [meanwhile]

    def get(self, key: Any, default: Any = None) -> Any:
        """See `dict.get`."""
        found = super().get(key, default)
        if self._meanwhile:
            self._meanwhile.pop()()
        return found


def test_what_is_acknowledged_never_steps_back_when_threads_hear_of_it_at_once() -> None:
    """A caller asks an answer to reflect as much (`min_offset`): with less, one without what it wrote would pass."""
    outbox = Outbox("127.0.0.1:9", test_mock_num_brokers=1)
    others: list[threading.Thread] = []

    def send_another() -> None:
        outbox.produce(TOPIC, b"second", partition=0)
        outbox.flush_all(timeout_s=30)

    def let_another_send() -> None:
        others.append(threading.Thread(target=send_another))
        others[0].start()
        # it may have to wait for us
        others[0].join(2)

    outbox.ends = Interrupted(let_another_send)
    outbox.produce(TOPIC, b"first", partition=0)
    outbox.flush_all(timeout_s=30)
    others[0].join()
    assert outbox.ends == {(TOPIC, 0): 2}
