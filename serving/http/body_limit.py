"""Refuses a request body over a limit before it is parsed. Knows no routes."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.api import PROBLEM_JSON, Problem


class BodyLimit:
    """Answers 413 for a body over `max_bytes`, whether it announces its length or not. An ASGI wrapper."""

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # read whole before the application sees any of it: a framework turns an error in the middle of a body into its own 400
        body = await body_within(self._max_bytes, scope, receive, send)
        if body is None:
            return
        waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replayed() -> Message:
            return waiting.pop() if waiting else await receive()

        await self._app(scope, replayed, send)


async def body_within(max_bytes: int, scope: Scope, receive: Receive, send: Send) -> bytes | None:
    """Return a request's whole body; None when it was over `max_bytes` and is refused, or the client went away."""
    announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    if announced.isdigit() and int(announced) > max_bytes:
        await _refuse(send, max_bytes)
        return None
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if len(body) > max_bytes:
            await _refuse(send, max_bytes)
            return None
        if not message.get("more_body", False):
            return bytes(body)


async def _refuse(send: Send, max_bytes: int) -> None:
    body = PROBLEM_JSON.dump_json(Problem("body_too_large", f"the body is over {max_bytes} bytes; send fewer excluded ids"))
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": body})
