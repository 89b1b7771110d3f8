"""Notes the status that an application answers with, for what measures or traces it. Changes nothing that is sent."""

from starlette.types import Message, Send


class NotedStatus:
    """Sends what it is called with. `status` is 500 until an answer begins: so it ends for an application that fails before."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 500

    async def __call__(self, message: Message) -> None:
        """Send it on."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)
