"""Refuses a request body over a limit before it is parsed. An ASGI wrapper; knows no routes."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.api import PROBLEM_JSON, Problem


class BodyLimit:
    """Answers 413 for a body over `max_bytes`, whether it announces its length or not."""

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if announced.isdigit() and int(announced) > self._max_bytes:
            await self._refuse(send)
            return
        held: list[Message] = []
        received = 0
        # read whole before the application sees any of it: a framework turns an error in the middle of a body into its own 400
        while not held or held[-1].get("more_body", False):
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                await self._refuse(send)
                return
            held.append(message)
        waiting = iter(held)

        async def replayed() -> Message:
            return next(waiting, None) or await receive()

        await self._app(scope, replayed, send)

    async def _refuse(self, send: Send) -> None:
        sentence = f"the body is over {self._max_bytes} bytes; send fewer excluded ids"
        body = PROBLEM_JSON.dump_json(Problem("body_too_large", sentence))
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": body})
