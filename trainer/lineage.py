"""How a bundle's towers came to be, as a file of the bundle: enough to make them again. Trains nothing.

The manifest names the examples' offsets, the seeds, the code and the parent; this names the rest: how the fit was configured, what
the corpus was, and a digest of everything the fit read, so that a rebuild from other data is told from one that went otherwise.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

import schemas
import trainer
from schemas.bundle import Bundle
from schemas.errors import BundleMismatch
from schemas.features.catalog import CATALOG
from schemas.surfaces import Surface
from trainer.data.columns import Corpus, Examples
from trainer.learning.ensemble_fit import EnsembleFit, Part
from trainer.learning.fit import FitConfig
from trainer.learning.negatives import Negatives
from trainer.learning.objectives import Objective
from trainer.learning.ranks import processes

LINEAGE = "lineage.json"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Lineage:
    """What a fit depended on, beside what the manifest says.

    Attributes:
        fit: how it was configured; of an ensemble, each part's.
        threads: of torch; sums are ordered by them.
        towers_seed: of the first weights; None where they are the parent's.
        corpus_at_ms: candidates within their recency window then were the corpus.
        corpus_offsets: next offsets of the candidates topic, by partition, when it was read; empty where it came from elsewhere.
        inputs: SHA-256 of the encoded examples and corpus.
        torch: its release.
        served_by: the one bundle whose answers were trained on; None where it did not matter whose they were.
        drawn_back_to, share: the towers are so large a share of the way from that bundle's to what the fit came to; of the whole of
            it, from none.
        processes: that fitted together; sums are ordered by them too.
        examples_topic: Kafka's id of the topic that the manifest's offsets are of; None where nobody knows.
        read_to: by partition, the next offset of the examples topic behind all that was read of it, the held-out part included:
            what was trained on lacks what a delete in there voids. Empty where nobody knows.
    """

    fit: FitConfig | EnsembleFit
    threads: int
    towers_seed: int | None
    corpus_at_ms: int
    corpus_offsets: Mapping[str, int]
    inputs: str
    torch: str
    served_by: str | None = None
    drawn_back_to: str | None = None
    share: float = 1.0
    processes: int = 1
    examples_topic: str | None = None
    read_to: Mapping[str, int] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Return the file's bytes; equal lineages give equal bytes."""
        return json.dumps({"format": FORMAT, **asdict(self)}, sort_keys=True).encode()


def lineage_of(bundle: Bundle) -> Lineage:
    """Return a bundle's lineage; raises `BundleMismatch` where it has none, or one of another release."""
    if LINEAGE not in bundle.files:
        raise BundleMismatch(f"bundle {bundle.id} says too little of how it was trained ({LINEAGE} is missing) to be rebuilt")
    try:
        raw = json.loads(bundle.files[LINEAGE])
        if raw.pop("format") != FORMAT:
            raise BundleMismatch(f"the lineage of bundle {bundle.id} is of another format; use the release that wrote it")
        return Lineage(**{**raw, "fit": _ensemble_fit(raw["fit"]) if "parts" in raw["fit"] else _fit_config(raw["fit"])})
    except (ValueError, KeyError, TypeError) as error:
        raise BundleMismatch(
            f"the lineage of bundle {bundle.id} cannot be read ({error}); use the release that wrote it"
        ) from error


def examples_topic_of(bundle: Bundle) -> str | None:
    """Return the id of the topic that the offsets of a bundle's manifest are of; None where it does not say."""
    try:
        return lineage_of(bundle).examples_topic
    except BundleMismatch:
        return None


def inputs_digest(examples: Examples, corpus: Corpus) -> str:
    """Return the SHA-256 of all that a fit reads, an encoder's numbers too: both by one encoder, the examples first."""
    # numbers of items that no example has depend on what else was encoded, and no fit on them
    shared = np.where(corpus.items <= examples.items.max(initial=-1), corpus.items, -1)
    digest = hashlib.sha256()
    for column in (
        examples.queries.ids[examples.query],
        examples.users,
        examples.candidate_ids,
        examples.items,
        examples.labels,
        examples.popularity,
        corpus.candidate_ids,
        corpus.popularity,
        shared,
    ):
        digest.update(f"{column.dtype} {column.shape} ".encode())
        digest.update(np.ascontiguousarray(column).data)
    return digest.hexdigest()


def training_digest(surface: Surface, recipe: str, config: Any, *, parent: str | None = None, served_by: str | None = None) -> str:
    """Return a digest of what a training is asked to be, its data apart: equal ones make equal towers of equal data.

    Args:
        config: of the recipe, a dataclass.
    """
    asked = {
        "surface": asdict(surface),
        "spec": CATALOG[surface.feature_spec].digest,
        "recipe": recipe,
        "config": asdict(config),
        "parent": parent,
        "served_by": served_by,
        "code": code_version(),
        "torch": torch.__version__,
        "processes": processes(),
    }
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


@cache
def code_version() -> str:
    """Return roost's release and, since a checkout is changed without a new one, a digest of the code that trains."""
    try:
        release = version("roost")
    except PackageNotFoundError:
        release = "not-installed"
    digest = hashlib.sha256()
    for package in (schemas, trainer):
        root = Path(package.__path__[0])
        for path in sorted(root.rglob("*.py")):
            digest.update(f"{root.name}/{path.relative_to(root).as_posix()} ".encode() + hashlib.sha256(path.read_bytes()).digest())
    return f"{release}+{digest.hexdigest()[:12]}"


def _fit_config(raw: Mapping[str, Any]) -> FitConfig:
    objectives = tuple(Objective(**{**one, "negatives": Negatives(**one["negatives"])}) for one in raw["objectives"])
    return FitConfig(**{**raw, "objectives": objectives})


def _ensemble_fit(raw: Mapping[str, Any]) -> EnsembleFit:
    parts = tuple(Part(**{**part, "fit": _fit_config(part["fit"])}) for part in raw["parts"])
    return EnsembleFit(**{**raw, "parts": parts})
