"""Why a query gets no answer, as types the HTTP layer maps to a status. Every message says what to do.

QueryRefused
├── UnknownSurface    no such surface on this node (404)
├── NothingLive       no bundle can answer yet (503)
├── NodeBehind        the node acts by an older revision than asked for (409)
├── WritesMissing     the index does not reflect yet what the caller has written (409)
└── BundleNotHeld     the pinned bundle has no full index here (409)
"""

from schemas.errors import RoostError


class QueryRefused(RoostError):
    """Base of the refusals."""


class UnknownSurface(QueryRefused):
    """The node serves no such surface."""


class NothingLive(QueryRefused):
    """No bundle is live, or the live one's index is still being filled."""


class NodeBehind(QueryRefused):
    """The node has not reached the revision the caller insists on."""


class WritesMissing(QueryRefused):
    """The index has not reached the input positions the caller insists on."""


class BundleNotHeld(QueryRefused):
    """The pinned bundle is not held, or not whole yet."""
