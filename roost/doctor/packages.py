"""Whether the installed packages are those that Roost was released with. Pure: what is installed is passed in."""

from collections.abc import Callable, Iterable

from packaging.requirements import Requirement

from roost.doctor.finding import Finding, note, ok, wrong

# the extras that roles need; the others are for development
ROLE_EXTRAS = ("streams", "serving", "trainer", "console")


def check_packages(requirements: Iterable[str] | None, installed: Callable[[str], str | None]) -> list[Finding]:
    """Return a finding for the base install and one for each role's extra.

    Args:
        requirements: as the distribution's metadata has them (PEP 508); None when Roost runs from its source, not installed.
        installed: returns a package's version, or None.
    """
    if requirements is None:
        return [note("packages", "roost runs from its source: what it needs is in pyproject.toml", "make setup")]
    needed = [Requirement(requirement) for requirement in requirements]
    base = [one for one in needed if _asked(one, "")]
    by_extra = {"": base} | {extra: [one for one in needed if one not in base and _asked(one, extra)] for extra in ROLE_EXTRAS}
    return [_judge(extra, by_extra[extra], installed) for extra in ("", *ROLE_EXTRAS) if by_extra[extra]]


def _asked(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _judge(extra: str, needed: list[Requirement], installed: Callable[[str], str | None]) -> Finding:
    check = f"packages [{extra}]" if extra else "packages"
    target = f"pip install 'roost[{extra}]'" if extra else "pip install roost"
    versions = {one.name: installed(one.name) for one in needed}
    other = [
        f"{one.name} {version} (needs {one.specifier})"
        for one in needed
        # one that is not installed breaks no limit
        if (version := versions[one.name]) is not None and not one.specifier.contains(version, prereleases=True)
    ]
    missing = [name for name, version in versions.items() if version is None]
    if other:
        return wrong(check, f"installed in a version Roost was not tested with: {', '.join(other)}", target)
    if missing and extra:
        return note(check, f"not installed: {', '.join(missing)}; roles of this extra do not run here", target)
    if missing:
        return wrong(check, f"not installed: {', '.join(missing)}", target)
    return ok(check, ", ".join(f"{name} {version}" for name, version in versions.items()))
