"""Whether a bundle may be rolled out: whole, for this surface, loadable, its gates passed. Knows no rollout state."""

from schemas.bundle import read_bundle
from schemas.errors import BundleError, BundlesUnavailable, InvalidRecord, Refused
from schemas.records.candidates import embedding_subject
from schemas.records.control import RolloutCommand
from schemas.registry.place import RegistryPlace


class Admission:
    """Reads bundles from a registry."""

    def __init__(self, registry: RegistryPlace) -> None:
        self._registry = registry

    def __call__(self, command: RolloutCommand) -> None:
        """Raise `Refused`, with a sentence that says what to do, unless the command's bundle may be rolled out.

        Its towers are loaded and run on the manifest's canary inputs once: a bundle that no node could load, or that yields NaN, is
        refused before any node tries. Raises `BundlesUnavailable` where the registry does not say.
        """
        # onnxruntime costs 40 MB that a controller needs only here
        from schemas.towers import Towers  # noqa: PLC0415

        try:
            bundle = read_bundle(self._registry, command.surface, command.bundle or "")
            bundle.manifest.check_indexed(bundle.id)
            # its vectors need a schema: 32, 64 or 128 values
            embedding_subject(bundle.manifest.dim)
            Towers(bundle)
        except BundlesUnavailable:
            raise
        except (BundleError, InvalidRecord) as error:
            raise Refused(str(error)) from error
        failed = [gate for gate in bundle.manifest.gates if not gate.passed]
        if command.automatic and failed:
            gates = "; ".join(gate.sentence or f"{gate.name} is {gate.value:g}, the limit is {gate.limit:g}" for gate in failed)
            raise Refused(f"bundle {bundle.id} failed its gates ({gates}); start it by hand if you know better")
