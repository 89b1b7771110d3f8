"""A bundle trained once more from its lineage, and whether the towers are the same bytes. Publishes nothing."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from schemas.bundle import CANDIDATE_TOWER, QUERY_TOWER, Bundle, read_bundle
from schemas.errors import BundleMismatch, Refused
from schemas.registry.place import RegistryPlace
from schemas.surfaces import Surface
from trainer.data.columns import Encoder
from trainer.data.windows import CorpusAt, Window
from trainer.export import WEIGHTS, export, shape_of, unpack_towers
from trainer.learning.ensemble import Ensemble, untrained
from trainer.learning.ensemble_fit import EnsembleFit, fit_ensemble
from trainer.learning.fit import FitConfig, FitProgress, fit
from trainer.learning.interpolation import between
from trainer.learning.ranks import processes
from trainer.learning.towers import TwoTowers
from trainer.lineage import code_version, inputs_digest, lineage_of

TOWER_FILES = (QUERY_TOWER, CANDIDATE_TOWER, WEIGHTS)


@dataclass(frozen=True, slots=True)
class Reproduction:
    """What came of it.

    Attributes:
        hashes: SHA-256 by file name: the bundle's, and the rebuilt one's.
        code, torch: the releases then and now; other code or another machine may well give other last bits.
    """

    hashes: Mapping[str, tuple[str, str]]
    code: tuple[str, str]
    torch: tuple[str, str]

    @property
    def equal(self) -> bool:
        """Whether every file of the towers is the same, byte for byte."""
        return all(then == now for then, now in self.hashes.values())


def reproduce(
    surface: Surface,
    bundle: Bundle,
    window: Window,
    corpus: CorpusAt,
    *,
    registry: RegistryPlace,
    progress: Callable[[FitProgress], None] = lambda _: None,
) -> Reproduction:
    """Train the bundle's towers again.

    Args:
        window: examples that include the offsets of the manifest; what lies beyond them is left out.
        corpus: what could be retrieved when the bundle was trained.

    Raises:
        BundleError: the parent, or what was drawn back to, cannot be read, or the bundle says too little.
        Refused: these are not the data that the bundle was trained on, or not as many processes.
    """
    lineage, manifest = lineage_of(bundle), bundle.manifest
    if lineage.processes != processes():
        raise Refused(f"{bundle.id} was trained by {lineage.processes} processes, which order sums otherwise than {processes()}")
    encoder = Encoder(manifest.feature_spec, surface.popularity)
    trained_on = window.between(manifest.examples)
    if lineage.served_by is not None:
        trained_on = trained_on.of_arm(lineage.served_by)
    train = encoder.examples(trained_on.examples())
    candidates = encoder.corpus(corpus.candidates)
    if inputs_digest(train, candidates) != lineage.inputs:
        raise Refused(
            f"the {len(train)} examples and {len(candidates)} candidates that are there are not what {bundle.id} was trained on: "
            f"{_why_other(bundle, len(train), len(candidates))}; name the cache that was kept of its training"
        )
    torch.set_num_threads(lineage.threads)
    # both before the fit: a bundle that cannot be read should not cost one
    parent = None if manifest.parent is None else read_bundle(registry, surface.name, manifest.parent)
    anchor = None if lineage.drawn_back_to is None else unpack_towers(read_bundle(registry, surface.name, lineage.drawn_back_to))
    if lineage.towers_seed is None and parent is not None:
        towers = unpack_towers(parent)
    else:
        towers = untrained(manifest.feature_spec, shape_of(bundle), seed=lineage.towers_seed or 0)
    if isinstance(towers, Ensemble) and isinstance(lineage.fit, EnsembleFit):
        fit_ensemble(towers, train, candidates, lineage.fit, progress=progress)
    elif isinstance(towers, TwoTowers) and isinstance(lineage.fit, FitConfig):
        fit(towers, train, candidates, lineage.fit, progress=progress)
    else:
        raise BundleMismatch(f"the lineage of bundle {bundle.id} is not of the towers in it; use the release that wrote it")
    if anchor is not None:
        towers = between(anchor, towers, lineage.share)
    files = export(towers, graphs=parent.files if parent else None).files
    return Reproduction(
        # ensembles of before they could be fine-tuned carry no weights
        hashes={
            name: (manifest.files[name], hashlib.sha256(files[name]).hexdigest()) for name in TOWER_FILES if name in manifest.files
        },
        code=(manifest.code_version, code_version()),
        torch=(lineage.torch, torch.__version__),
    )


def _why_other(bundle: Bundle, examples: int, candidates: int) -> str:
    metrics = bundle.manifest.metrics
    examples_then, candidates_then = int(metrics.get("train_examples", examples)), int(metrics.get("corpus", candidates))
    if examples < examples_then or candidates < candidates_then:
        return f"of {examples_then} and {candidates_then} retention, compaction or an erasure has taken some"
    if examples > examples_then:
        return f"it was trained on {examples_then}, without those of users who were deleted by then, and nothing read says who"
    return "they are as many, and some are in another state than then: of a candidate compaction keeps the newest"
