"""Uvicorn on a socket of ours, on a thread of its own. Knows no routes."""

import logging
import socket
import threading
import time

import uvicorn
from starlette.types import ASGIApp

from schemas.errors import RoostError

_START_S = 10.0
KEEP_ALIVE_S = 75
"""Longer than balancers keep an idle connection, 60 s with many: who keeps it longer sends a question into one that is closing."""


class CannotListen(RoostError):
    """The address is taken or not ours."""


class HttpServer:
    """Serves an application until stopped. The socket is bound on construction: `url` is right before the first request."""

    def __init__(self, app: ASGIApp, *, host: str, port: int, chosen_by: str) -> None:
        """Bind.

        Args:
            chosen_by: what an operator sets to choose another port, such as "ROOST_HTTP_PORT".

        Raises:
            CannotListen: another process has the port, or the host is no address of this machine.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # with the protocol left at 0 asyncio would not turn Nagle's algorithm off: 40 ms an answer
        self._socket = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((host, port))
        except OSError as error:
            self._socket.close()
            raise CannotListen(f"cannot listen on {host}:{port} ({error.strerror}); choose another by {chosen_by}") from error
        bound_port = self._socket.getsockname()[1]
        self.url = f"http://[{host}]:{bound_port}" if ":" in host else f"http://{host}:{bound_port}"
        # access lines are the application's own, with its fields
        config = uvicorn.Config(
            app,
            lifespan="off",
            access_log=False,
            log_config=None,
            log_level=logging.WARNING,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=5,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="http", daemon=True)

    def start(self) -> None:
        """Serve; returns once requests are accepted."""
        self._thread.start()
        deadline_s = time.monotonic() + _START_S
        while not self._server.started and self._thread.is_alive() and time.monotonic() < deadline_s:
            time.sleep(0.005)
        if not self._server.started:
            raise CannotListen(f"the HTTP server at {self.url} did not start; see the log")

    @property
    def running(self) -> bool:
        """Whether the server's thread lives."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Finish the requests in hand, take no more."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join()
        self._socket.close()
