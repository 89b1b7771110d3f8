"""Live nearest candidates: arrays in, arrays out. Knows nothing of Kafka, models or users."""

from serving.index.config import (
    COMPRESSED_ONLY,
    EXACT_ONLY,
    GRAPH_ONLY,
    TIERS,
    CellsConfig,
    CompressedConfig,
    GraphConfig,
    IndexConfig,
)
from serving.index.errors import (
    IndexClosed,
    InvalidQuery,
    InvalidRows,
    LiveIndexError,
    MisalignedRows,
    UnusableVectors,
    WrongDimension,
)
from serving.index.exact import ExactIndex
from serving.index.live import LiveIndex
from serving.index.protocol import (
    EVERYTHING,
    Audited,
    Candidate,
    CandidateIndex,
    Census,
    Filter,
    Hits,
    IndexContents,
    IndexStats,
    Rows,
    Tier,
    Version,
)

__all__ = [
    "COMPRESSED_ONLY",
    "EVERYTHING",
    "EXACT_ONLY",
    "GRAPH_ONLY",
    "TIERS",
    "Audited",
    "Candidate",
    "CandidateIndex",
    "CellsConfig",
    "Census",
    "CompressedConfig",
    "ExactIndex",
    "Filter",
    "GraphConfig",
    "Hits",
    "IndexClosed",
    "IndexConfig",
    "IndexContents",
    "IndexStats",
    "InvalidQuery",
    "InvalidRows",
    "LiveIndex",
    "LiveIndexError",
    "MisalignedRows",
    "Rows",
    "Tier",
    "UnusableVectors",
    "Version",
    "WrongDimension",
]
