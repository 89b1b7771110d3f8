"""The typed clients of a node, in the base install: httpx, pydantic and tenacity only. Holds names alone."""

from serving.api import Answer, ExplainRequest, Explanation, InlineUser, Problem, RetrieveRequest
from serving.client.aio import AsyncClient
from serving.client.errors import AnswerUnreadable, ClientError, NodeIsBehind, NodeUnreachable, NotServing, RequestRefused
from serving.client.sync import Client

__all__ = [
    "Answer",
    "AnswerUnreadable",
    "AsyncClient",
    "Client",
    "ClientError",
    "ExplainRequest",
    "Explanation",
    "InlineUser",
    "NodeIsBehind",
    "NodeUnreachable",
    "NotServing",
    "Problem",
    "RequestRefused",
    "RetrieveRequest",
]
