"""What a call on a node can end with. Decides no retry.

ClientError
├── NodeUnreachable    nobody answered, or not in time, a balancer's node included (502, 504): ask another node, or later
├── NotServing         the node answered that it cannot (503): no bundle is live, or it is starting
├── NodeIsBehind       the node acts by an older revision, lacks the caller's writes, or the pinned bundle (409)
├── RequestRefused     the request can never succeed as it is (4xx); the message names the limit
└── AnswerUnreadable   an answer that is none: another service at that address, or another release
"""

from schemas.errors import RoostError


class ClientError(RoostError):
    """Base of all. `code` is the node's stable name of the problem, empty where no node answered."""

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class NodeUnreachable(ClientError):
    """No answer: no connection, or none in time."""


class NotServing(ClientError):
    """The node cannot answer now."""


class NodeIsBehind(ClientError):
    """The node has not reached the revision, the writes or the bundle asked for."""


class RequestRefused(ClientError):
    """The node refused the request for good."""


class AnswerUnreadable(ClientError):
    """The bytes are no answer of a node."""
