"""Ends what is done for a caller who went away. Knows no routes, and costs a caller who stays next to nothing."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from starlette.types import Receive

from serving.query.errors import QueryRefused

T = TypeVar("T")

WATCHED_AFTER_S = 0.05
"""Most questions are answered by then: only those that stand in line, or wait for writes, are worth a look at their callers."""


class CallerGone(QueryRefused):
    """Nobody waits for the answer any more."""


async def while_connected(receive: Receive, asked: Awaitable[T]) -> T:
    """Return what is asked for; cancels it when the caller disconnects.

    Args:
        receive: of a request whose body has been read.

    Raises:
        CallerGone: the caller disconnected first.
    """
    watch = _Watch(receive)
    begun = asyncio.get_running_loop().call_later(WATCHED_AFTER_S, watch.begin)
    try:
        return await asked
    except asyncio.CancelledError:
        if not watch.gone:
            raise
        watch.asking.uncancel()
        raise CallerGone("the caller disconnected before there was an answer") from None
    finally:
        begun.cancel()
        watch.end()


class _Watch:
    """Waits beside a task for its caller to disconnect, and cancels it then."""

    def __init__(self, receive: Receive) -> None:
        self.gone = False
        self.asking = _this_task()
        self._receive = receive
        self._watching: asyncio.Task[None] | None = None

    def begin(self) -> None:
        self._watching = asyncio.create_task(self._watch())

    def end(self) -> None:
        if self._watching is not None:
            self._watching.cancel()

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        self.asking.cancel()


def _this_task() -> "asyncio.Task[object]":
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("a request is answered by a task")
    return task
