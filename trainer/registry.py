"""A trained bundle, published with where it comes from. Trains and judges nothing; the layout on disk is `schemas.bundle`'s."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas.bundle import Gate, Manifest, read_bundle, write_bundle
from schemas.errors import BundleError
from schemas.features.spec import FeatureSpec
from schemas.registry.place import RegistryPlace
from schemas.towers import Towers
from trainer.export import Exported


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a bundle comes from, for its manifest. Attributes as in `schemas.bundle.Manifest`."""

    recipe: str
    code_version: str
    created_ms: int
    parent: str | None = None
    examples: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    seeds: Mapping[str, int] = field(default_factory=dict)


def publish(
    root: RegistryPlace,
    exported: Exported,
    *,
    surface: str,
    spec: FeatureSpec,
    origin: Origin,
    metrics: Mapping[str, float] | None = None,
    gates: tuple[Gate, ...] = (),
) -> str:
    """Write a bundle whole and return its id; it is read back and its towers are run before the id is given out.

    Raises:
        BundleError: it cannot be written, or what was read back is not what was written.
    """
    manifest = Manifest(
        surface=surface,
        dim=len(exported.canary.query_vectors[0]),
        metric=exported.metric,
        feature_spec=spec,
        files={name: hashlib.sha256(content).hexdigest() for name, content in exported.files.items()},
        canary=exported.canary,
        created_ms=origin.created_ms,
        recipe=origin.recipe,
        code_version=origin.code_version,
        parent=origin.parent,
        examples=origin.examples,
        seeds=origin.seeds,
        metrics=metrics or {},
        gates=gates,
    )
    try:
        bundle = write_bundle(root, manifest, exported.files)
        Towers(read_bundle(root, surface, bundle))
    except BundleError as error:
        raise type(error)(f"the new bundle cannot be published: {error}") from error
    return bundle
