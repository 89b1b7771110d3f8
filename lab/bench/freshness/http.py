"""The cheapest client there is: one kept connection, bytes in and out, so that what is measured is the node. Retries nothing."""

import http.client
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from schemas.records.users import MAX_QUERY_FOLLOWS, User

_HEADERS = {"content-type": "application/json"}


def profile(user: User) -> dict[str, Any]:
    """Return a user as a request has one inline: where no labeler runs, the node has no state of it."""
    return {
        "languages": user.languages,
        "region": user.region,
        "interests": user.interests,
        "follows": user.follows[:MAX_QUERY_FOLLOWS],
    }


class Retrieval:
    """Asks one node for one surface. One thread."""

    def __init__(self, node_url: str, surface: str, *, timeout_s: float = 30.0) -> None:
        """Connect at the first question."""
        address = urlsplit(node_url)
        self._connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=timeout_s)
        self._path = f"/v1/surfaces/{surface}/retrieve"

    def ask(self, body: bytes) -> bytes | None:
        """Return the answer's bytes; None when there was none, and the connection is made anew."""
        try:
            self._connection.request("POST", self._path, body, _HEADERS)
            response = self._connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return None
        return answer if response.status == http.client.OK else None

    def ids(self, request: Mapping[str, Any]) -> list[str] | None:
        """Return the ids that answer a request, best first."""
        scores = self.scores(request)
        return None if scores is None else list(scores)

    def scores(self, request: Mapping[str, Any]) -> dict[str, float] | None:
        """Return the score of each id that answers a request, best first."""
        answer = self.ask(json.dumps(request).encode())
        return None if answer is None else {found["candidate_id"]: found["score"] for found in json.loads(answer)["candidates"]}

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
