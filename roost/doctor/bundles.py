"""Whether the bundles in use can be used: their bytes, and those that the rollouts name. Reads the registry; loads no tower."""

from collections.abc import Mapping

from roost.doctor.finding import Finding, note, ok, wrong
from schemas.bundle import bundles_in, read_bundle, surfaces_in
from schemas.errors import BundleError, BundlesUnavailable
from schemas.records.control import Rollout, Stage
from schemas.registry.place import RegistryPlace
from schemas.rollout import STREAMING, UNDER_WAY


def check_bundles(registry: RegistryPlace, states: Mapping[str, Rollout]) -> list[Finding]:
    """Check every byte of every bundle in the registry, and that each bundle a rollout streams is there.

    Args:
        states: the rollout state by surface.
    """
    try:
        there = [(surface, bundle) for surface in surfaces_in(registry) for bundle in bundles_in(registry, surface)]
    except BundlesUnavailable as error:
        return [wrong("bundles", str(error), "mend ROOST_REGISTRY, or what lies between")]
    used = {(surface, entry.bundle): entry.state for surface, state in states.items() for entry in state.in_stage(*STREAMING)}
    findings = [
        wrong(
            f"bundle {bundle}",
            f"{surface}: it is {stage} and not in {registry}",
            f"copy {registry}/{surface}/{bundle} back{_or_without_it(states[surface], bundle)}",
        )
        for (surface, bundle), stage in used.items()
        if (surface, bundle) not in there
    ]
    whole = 0
    for surface, bundle in there:
        try:
            read_bundle(registry, surface, bundle)
            whole += 1
        except BundleError as error:
            folder = f"{registry}/{surface}/{bundle}"
            stage = used.get((surface, bundle))
            if stage is None:
                findings.append(wrong(f"bundle {bundle}", f"{error}", f"rm -r {folder}"))
            else:
                fix = f"copy {folder} back from another machine{_or_without_it(states[surface], bundle)}"
                findings.append(wrong(f"bundle {bundle}", f"{error}; it is {stage}", fix))
    if not there:
        findings.append(note("bundles", f"{registry} holds none", "roost train pretrain"))
    elif whole:
        findings.append(ok("bundles", f"{whole} in {registry}, every byte as their ids say"))
    return findings


def _or_without_it(state: Rollout, bundle: str) -> str:
    """Return the command that goes on without a bundle; nothing where the controller would refuse each."""
    stage = next(entry.state for entry in state.bundles if entry.bundle == bundle)
    if stage in UNDER_WAY:
        return f", or roost rollout abort {bundle} --surface {state.surface}"
    if stage is Stage.DRAINING:
        return f", or roost rollout retire {bundle} --surface {state.surface}"
    return f", or roost rollout rollback --surface {state.surface}" if state.in_stage(Stage.DRAINING) else ""
