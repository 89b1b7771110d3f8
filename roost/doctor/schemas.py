"""Whether the schema registry answers and holds what `roost schemas register` puts there. Registers nothing."""

from roost.doctor.finding import Finding, ok, wrong
from schemas.errors import RegistryUnavailable
from schemas.progress import OnProgress, untold

_CHECK = "schema registry"


def check_schema_registry(url: str, *, on_progress: OnProgress = untold) -> list[Finding]:
    """Ask the registry at `url`; a role that cannot ask it pauses partitions. `on_progress` is told of its subjects."""
    try:
        from roost.subjects.registered import Registry, names_at_registry  # noqa: PLC0415 - only the streams extra brings its client
    except ModuleNotFoundError as error:
        return [wrong(_CHECK, f"it cannot be asked from here: {error}", "pip install 'roost[streams]'")]
    try:
        registry = Registry(url)
    # the client says so when it is made; the address may hold a password
    except ValueError:
        return [wrong(_CHECK, "its address is none such as http://127.0.0.1:8081", "mend ROOST_SCHEMA_REGISTRY_URL")]
    try:
        with registry:
            faults = registry.faults(on_progress=on_progress)
    except RegistryUnavailable as error:
        return [wrong(_CHECK, str(error), "start it, or mend ROOST_SCHEMA_REGISTRY_URL")]
    if faults:
        return [wrong(_CHECK, fault.sentence, fault.fix) for fault in faults]
    return [ok(_CHECK, f"it answers, and holds the {len(names_at_registry())} subjects of this release")]
