"""Whether the bundles in use can be used: their bytes, and those that the rollouts name. Reads the registry; loads no tower."""

from collections.abc import Collection, Mapping

from roost.doctor.finding import Finding, note, ok, wrong
from schemas.bundle import bundles_in, read_bundle, surfaces_in
from schemas.errors import BundleError, BundlesUnavailable
from schemas.progress import OnProgress, told, untold
from schemas.records.control import Rollout, Stage
from schemas.registry.place import RegistryPlace
from schemas.rollout import STREAMING, UNDER_WAY


def check_bundles(
    registry: RegistryPlace, known: Mapping[str, Rollout] | None, *, on_progress: OnProgress = untold
) -> list[Finding]:
    """Check every byte of every bundle in the registry, and that each bundle a rollout streams is there.

    Args:
        known: the rollout state by surface; None where it could not be read: any bundle may be in use then.
        on_progress: of the bundles, told as each is read.
    """
    states = known or {}
    try:
        there = [(surface, bundle) for surface in surfaces_in(registry) for bundle in bundles_in(registry, surface)]
        each = told("bundles", there, on_progress)
        faults = {place: fault for place in each if (fault := _fault(registry, *place)) is not None}
    except BundlesUnavailable as error:
        return [wrong("bundles", str(error), "mend ROOST_REGISTRY, or what lies between")]
    used = {(surface, entry.bundle): entry.state for surface, state in states.items() for entry in state.in_stage(*STREAMING)}
    usable = set(there) - faults.keys()
    findings = [
        wrong(
            f"bundle {bundle}",
            f"{surface}: it is {stage} and not in {registry}",
            f"copy {registry}/{surface}/{bundle} back{_or_without_it(states[surface], bundle, usable)}",
        )
        for (surface, bundle), stage in used.items()
        if (surface, bundle) not in there
    ]
    for (surface, bundle), fault in faults.items():
        folder = f"{registry}/{surface}/{bundle}"
        stage = used.get((surface, bundle))
        if known is None:
            fix = f"copy {folder} back from another machine; nothing says that no rollout uses it while the rollouts are not read"
            findings.append(wrong(f"bundle {bundle}", fault, fix))
        elif stage is None:
            findings.append(wrong(f"bundle {bundle}", fault, f"rm -r {folder}"))
        else:
            fix = f"copy {folder} back from another machine{_or_without_it(states[surface], bundle, usable)}"
            findings.append(wrong(f"bundle {bundle}", f"{fault}; it is {stage}", fix))
    if not there:
        findings.append(note("bundles", f"{registry} holds none", "roost train pretrain"))
    elif usable:
        findings.append(ok("bundles", f"{len(usable)} in {registry}, every byte as their ids say"))
    return findings


def _fault(registry: RegistryPlace, surface: str, bundle: str) -> str | None:
    try:
        read_bundle(registry, surface, bundle)
    except BundlesUnavailable:
        # nothing is known against the bundle
        raise
    except BundleError as error:
        # the finding names the bundle itself
        return str(error).removeprefix(f"bundle {bundle}").removeprefix(":").lstrip()
    return None


def _or_without_it(state: Rollout, bundle: str, usable: Collection[tuple[str, str]]) -> str:
    """Return the command that goes on without a bundle; nothing where the controller would refuse each, or it would not help."""
    stage = next(entry.state for entry in state.bundles if entry.bundle == bundle)
    if stage in UNDER_WAY:
        return f", or roost rollout abort {bundle} --surface {state.surface}"
    if stage is Stage.DRAINING:
        return f", or roost rollout retire {bundle} --surface {state.surface}"
    # a node that starts could not load what is not there either
    back = any((state.surface, entry.bundle) in usable for entry in state.in_stage(Stage.DRAINING)[-1:])
    return f", or roost rollout rollback --surface {state.surface}" if back else ""
