"""Product surfaces as configuration: what each retrieves, with which features, and its windows. Holds no behaviour."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Literal, get_args

from schemas.features.catalog import CATALOG
from schemas.records.candidates import embedding_subject

CandidateTopic = Literal["tweets", "accounts", "articles"]
Popularity = Literal["engagements", "followers"]
Refresh = Literal["write-time"]


@dataclass(frozen=True, slots=True)
class Surface:
    """One surface. All processes of a deployment read the same file.

    Attributes:
        feature_spec: name in `schemas.features.catalog`, for new bundles; a bundle carries its own copy.
        dim: dimension of new bundles: 32, 64 or 128.
        popularity: what counts as an item's popularity (paper, section 4.3.2).
        refresh: when an engagement re-embeds a candidate.
        label_window_s: the label window W of the join, from the impression's event time.
        recency_window_s: a candidate is retrievable this long after its creation; 0 means for ever.
    """

    name: str
    candidate_topic: CandidateTopic
    id_prefix: str
    feature_spec: str
    dim: int
    popularity: Popularity
    refresh: Refresh
    label_window_s: float
    recency_window_s: float

    @property
    def lateness_s(self) -> float:
        """The lateness L of the watermark: a tenth of the label window."""
        return self.label_window_s / 10

    def holds(self, created_ms: int, now_ms: int) -> bool:
        """Tell whether a candidate created at `created_ms` is inside the recency window at `now_ms`."""
        return self.recency_window_s == 0 or created_ms + self.recency_window_s * 1000 > now_ms


Surfaces = Mapping[str, Surface]


def load_surfaces(path: Path | None = None) -> dict[str, Surface]:
    """Read the surfaces from a TOML file, by default the shipped one; raises `ValueError` that names the key to mend."""
    text = path.read_text("utf-8") if path else (resources.files("schemas") / "surfaces.toml").read_text("utf-8")
    known = {field.name for field in fields(Surface)} - {"name"}
    surfaces: dict[str, Surface] = {}
    for name, table in tomllib.loads(text).items():
        if unknown := table.keys() - known:
            raise ValueError(f"surface {name!r} has unknown keys {sorted(unknown)}; known are {sorted(known)}")
        if missing := known - table.keys():
            raise ValueError(f"surface {name!r} lacks {sorted(missing)}")
        surface = Surface(name=name, **table)
        if surface.candidate_topic not in get_args(CandidateTopic):
            raise ValueError(f"surface {name!r}: candidate_topic must be one of {get_args(CandidateTopic)}")
        if surface.refresh not in get_args(Refresh) or surface.popularity not in get_args(Popularity):
            raise ValueError(f"surface {name!r}: refresh must be one of {get_args(Refresh)}, popularity of {get_args(Popularity)}")
        if surface.feature_spec not in CATALOG:
            raise ValueError(f"surface {name!r}: no feature spec {surface.feature_spec!r}; there are {sorted(CATALOG)}")
        embedding_subject(surface.dim)
        surfaces[name] = surface
    return surfaces


def surfaces_of(candidate_id: str, surfaces: Surfaces) -> tuple[Surface, ...]:
    """Return the surfaces a candidate belongs to: those whose id prefix is the longest that matches."""
    matching = [surface for surface in surfaces.values() if candidate_id.startswith(surface.id_prefix)]
    longest = max((len(surface.id_prefix) for surface in matching), default=0)
    return tuple(surface for surface in matching if len(surface.id_prefix) == longest)
