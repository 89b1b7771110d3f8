"""Whether the installed packages are those that Roost was released with. Pure: what is installed is passed in."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable

from roost.doctor.finding import Finding, note, ok, wrong

# the extras that roles need; the others are for development
ROLE_EXTRAS = ("streams", "serving", "trainer", "console")
_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*(?P<limits>[^;]*?)\s*(?:;(?P<marker>.*))?$")
_LIMIT = re.compile(r"(==|>=|<=|<|>)\s*([0-9][0-9A-Za-z.+]*)")
_EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")


def check_packages(requirements: Iterable[str] | None, installed: Callable[[str], str | None]) -> list[Finding]:
    """Return a finding for the base install and one for each role's extra.

    Args:
        requirements: as the distribution's metadata has them (PEP 508); None when Roost runs from its source, not installed.
        installed: returns a package's version, or None.
    """
    if requirements is None:
        return [note("packages", "roost runs from its source: what it needs is in pyproject.toml", "make setup")]
    by_extra: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for requirement in requirements:
        if (found := _REQUIREMENT.match(requirement)) is not None:
            extra = _EXTRA.search(found["marker"] or "")
            by_extra[extra[1] if extra else ""].append((found["name"], found["limits"]))
    return [_judge(extra, by_extra[extra], installed) for extra in ("", *ROLE_EXTRAS) if by_extra[extra]]


def _judge(extra: str, needed: list[tuple[str, str]], installed: Callable[[str], str | None]) -> Finding:
    check = f"packages [{extra}]" if extra else "packages"
    target = f"pip install 'roost[{extra}]'" if extra else "pip install roost"
    versions = {name: installed(name) for name, _ in needed}
    other = [f"{name} {versions[name]} (needs {limits})" for name, limits in needed if not _within(versions[name], limits)]
    missing = [name for name, version in versions.items() if version is None]
    if other:
        return wrong(check, f"installed in a version Roost was not tested with: {', '.join(other)}", target)
    if missing and extra:
        return note(check, f"not installed: {', '.join(missing)}; roles of this extra do not run here", target)
    if missing:
        return wrong(check, f"not installed: {', '.join(missing)}", target)
    return ok(check, ", ".join(f"{name} {version}" for name, version in versions.items()))


def _within(version: str | None, limits: str) -> bool:
    """Tell whether a version keeps all limits; one that is not installed breaks none."""
    if version is None:
        return True
    have = _numbers(version)
    for relation, limit in _LIMIT.findall(limits):
        want = _numbers(limit)
        kept = {"==": have == want, ">=": have >= want, "<=": have <= want, "<": have < want, ">": have > want}[relation]
        if not kept:
            return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    """Return the release's numbers, without zeros at the end (2.0 and 2 are one) or a local part such as +cu130."""
    numbers = [int(part) for part in re.findall(r"\d+", version.partition("+")[0])]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
