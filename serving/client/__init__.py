"""The typed clients of a node, in the base install: httpx, pydantic and tenacity only. Holds names alone."""

from serving.api import Answer, InlineUser, Problem, RetrieveRequest
from serving.client.aio import AsyncClient
from serving.client.errors import AnswerUnreadable, ClientError, NodeIsBehind, NodeUnreachable, NotServing, RequestRefused
from serving.client.sync import Client

__all__ = [
    "Answer",
    "AnswerUnreadable",
    "AsyncClient",
    "Client",
    "ClientError",
    "InlineUser",
    "NodeIsBehind",
    "NodeUnreachable",
    "NotServing",
    "Problem",
    "RequestRefused",
    "RetrieveRequest",
]
