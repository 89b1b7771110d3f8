"""What keeps a foreign page from sending commands in an operator's name: hosts, origins, tokens, headers. Knows no routes.

A command is taken only with a token that a page of ours carried to the same browser (its cookie is the other half), from our own
origin, and under a host name we know: a page elsewhere can neither read a token nor, by a name of its own that points here, be us.
"""

import hashlib
import hmac
import secrets
from collections.abc import Mapping

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "roost_console"
LOCAL_HOSTS = ("127.0.0.1", "localhost", "[::1]", "::1")

_HEADERS = {
    # nothing from elsewhere, no inline scripts or styles
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
}


class Tokens:
    """Tokens of this process: none outlives it."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)

    @staticmethod
    def new_cookie() -> str:
        """Return a value for a browser that has none yet."""
        return secrets.token_urlsafe(24)

    def of(self, cookie: str) -> str:
        """Return the token that forms carry in the browser with this cookie."""
        return hmac.new(self._secret, cookie.encode(), hashlib.sha256).hexdigest()

    def accepts(self, cookie: str | None, token: str | None) -> bool:
        """Tell whether a form's token belongs to the browser's cookie."""
        # as bytes: of texts it compares ASCII alone
        return bool(cookie) and bool(token) and hmac.compare_digest(self.of(cookie or "").encode(), (token or "").encode())


def is_same_origin(headers: Mapping[str, str]) -> bool:
    """Tell whether a request comes from a page of ours, or from no browser at all."""
    site = headers.get("sec-fetch-site")
    if site not in (None, "same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or origin.partition("://")[2] == headers.get("host")


class SecurityHeaders:
    """Puts the headers on every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                # figures of a moment ago are wrong; files are asked for under the release's name
                headers.setdefault("cache-control", "no-store")
            await send(message)

        await self._app(scope, receive, with_headers)
