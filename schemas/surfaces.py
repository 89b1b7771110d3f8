"""Product surfaces as configuration: what each retrieves, with which features, and its windows. Holds no behaviour."""

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Literal, get_args

from schemas.features.catalog import CATALOG
from schemas.ids import is_surface_name
from schemas.records.candidates import DIMENSIONS

CandidateTopic = Literal["tweets", "accounts", "articles"]
Popularity = Literal["engagements", "followers"]

WRITE_TIME = "write-time"
FILES_REFRESH = "default"
"""Asked for as a refresh policy at run time: what the surfaces file says."""
FIXED = {
    "candidate_topic": "its bundles were trained on it, and their topics hold it; configure a surface of another name",
    "id_prefix": "what its bundles' topics hold already was chosen by it; configure a surface of another name",
    "feature_spec": "a bundle carries the spec it was trained with; train a bundle with the new one and roll that out",
    "dim": "a bundle's topic and indexes have its vectors' dimension; train a bundle with the new one and roll that out",
    "popularity": "towers were trained on the features it makes; train a bundle with the new one and roll that out",
    "label_window_s": "labeler and trainer take it up at their start; change the surfaces file and restart every role",
    "recency_window_s": "the retention of its bundles' topics follows from it when they are made; change the surfaces file, "
    "restart every role and roll out a bundle",
}
"""What of a surface no command changes at run time: why, and what to do."""
_REFRESH = re.compile(r"write-time|threshold|every=[1-9]\d{0,5}s|value=[1-9]\d{0,5}/s")

MAX_WINDOW_S = 10 * 366 * 86_400
_PREFIXES: dict[str, str] = {"tweets": "t:", "accounts": "a:", "articles": "n:"}


@dataclass(frozen=True, slots=True)
class Surface:
    """One surface. All processes of a deployment read the same file.

    Attributes:
        feature_spec: name in `schemas.features.catalog`, for new bundles; a bundle carries its own copy.
        dim: dimension of new bundles: 32, 64 or 128.
        popularity: what counts as an item's popularity (paper, section 4.3.2).
        refresh: when an engagement re-embeds a candidate: "write-time" at the next checkpoint, "every=30s" at most so often,
            "threshold" at 1, 2, 4, 8, … engagements, "value=100/s" within a budget of vectors, where they move most. What a
            revision of the surface's rollout names goes before it (`roost rollout configure`).
        label_window_s: the label window W of the join, from the impression's event time.
        recency_window_s: a candidate is retrievable this long after its creation; 0 means for ever.
    """

    name: str
    candidate_topic: CandidateTopic
    id_prefix: str
    feature_spec: str
    dim: int
    popularity: Popularity
    refresh: str
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


def names_of(text: object) -> object:
    """Return the surface names of a comma-separated list, as environment variables give them; anything else as it is."""
    return tuple(name.strip() for name in text.split(",") if name.strip()) if isinstance(text, str) else text


def load_surfaces(path: Path | None = None) -> dict[str, Surface]:
    """Read the surfaces from a TOML file, by default the shipped one; raises `ValueError` that names the key to mend."""
    text = path.read_text("utf-8") if path else (resources.files("schemas") / "surfaces.toml").read_text("utf-8")
    surfaces = {name: _surface(name, table) for name, table in tomllib.loads(text).items()}
    if not surfaces:
        raise ValueError("it names no surface; each is a table, such as [home-timeline]")
    return surfaces


def _surface(name: str, table: object) -> Surface:
    known = {field.name for field in fields(Surface)} - {"name"}
    if not is_surface_name(name) or not isinstance(table, dict):
        raise ValueError(f"surface {name!r} must be a table named with 1 to 64 letters, digits, - and _")
    if unknown := table.keys() - known:
        raise ValueError(f"surface {name!r} has unknown keys {sorted(unknown)}; known are {sorted(known)}")
    if missing := known - table.keys():
        raise ValueError(f"surface {name!r} lacks {sorted(missing)}")
    for key, allowed in (
        ("candidate_topic", get_args(CandidateTopic)),
        ("popularity", get_args(Popularity)),
        ("feature_spec", tuple(CATALOG)),
        ("dim", DIMENSIONS),
    ):
        if type(table[key]) not in (str, int) or table[key] not in allowed:
            raise ValueError(f"surface {name!r}: {key} must be one of {', '.join(map(str, allowed))}, not {table[key]!r}")
    if fault := refresh_fault(table["refresh"]):
        raise ValueError(f"surface {name!r}: {fault}")
    prefix = _PREFIXES[table["candidate_topic"]]
    if not isinstance(table["id_prefix"], str) or not table["id_prefix"].startswith(prefix):
        raise ValueError(f"surface {name!r}: id_prefix must begin with {prefix!r}, as the ids on {table['candidate_topic']} do")
    for key, least in (("label_window_s", 0.001), ("recency_window_s", 0)):
        number = table[key]
        if type(number) not in (int, float) or not least <= number < MAX_WINDOW_S:
            raise ValueError(f"surface {name!r}: {key} must be a number of seconds from {least} to {MAX_WINDOW_S}, not {number!r}")
    return Surface(name=name, **table)


def refresh_fault(refresh: object) -> str:
    """Return what is wrong with a refresh policy, and what would be right; nothing when it is one."""
    if isinstance(refresh, str) and _REFRESH.fullmatch(refresh):
        return ""
    return f"refresh must be one of write-time, threshold, every=30s, value=100/s, not {refresh!r}"


def asked_refresh_fault(refresh: str) -> str:
    """Return the same of a policy asked for at run time, which may be `FILES_REFRESH`."""
    fault = "" if refresh == FILES_REFRESH else refresh_fault(refresh)
    return fault and f"{fault}; or {FILES_REFRESH}, for what the surfaces file says"


def surfaces_of(candidate_id: str, surfaces: Surfaces) -> tuple[Surface, ...]:
    """Return the surfaces a candidate belongs to: those whose id prefix is the longest that matches."""
    return surface_finder(surfaces)(candidate_id)


def surface_finder(surfaces: Surfaces) -> Callable[[str], tuple[Surface, ...]]:
    """Return `surfaces_of` with the surfaces sorted once, for those who ask for every candidate."""
    by_prefix: dict[str, tuple[Surface, ...]] = {}
    for surface in surfaces.values():
        by_prefix[surface.id_prefix] = (*by_prefix.get(surface.id_prefix, ()), surface)
    longest_first = sorted(by_prefix.items(), key=lambda entry: len(entry[0]), reverse=True)

    def find(candidate_id: str) -> tuple[Surface, ...]:
        for prefix, members in longest_first:
            if candidate_id.startswith(prefix):
                return members
        return ()

    return find
