"""docs/paper.md and its pictures, drawn anew from kept results: a figure on the page is in a result, never typed. Runs nothing.

A block of the page stands between `<!-- NAME -->` and `<!-- end of NAME -->`, and is replaced whole.
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lab.paper.shown import gate_tables, plots, tables
from lab.paper.shown.claims import claims, continual_claims
from lab.paper.shown.origin import sentence
from schemas.errors import InvalidInput

EXPERIMENTS = ("table1", "sweep", "table2", "fig3", "fig5", "fig6", "continual", "gates", "freshness", "arms")
# Table 1 on other seeds; it has no block of its own, only its claims are shown
AGAIN = "table1_again"
# the benches have a file of the first name
_FILES = {"freshness": "value-of-freshness", AGAIN: "table1-again"}
# what of a kept result is read to judge it anew, or to train by it
_READ = {"continual": ("seeds", "days", "replay", "per_seed"), "gates": ("seeds", "users", "rows"), "sweep": ("criteria", "rows")}
_SEEDS_RANGE = "; in brackets the lowest and highest seed"
_RANGES = {
    "gates": "; in brackets 95% intervals",
    "freshness": "; in brackets 95% intervals",
    "sweep": "; figures are means of them",
}


def kept(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the results kept in a folder, by experiment; those that were never kept are left out.

    Raises:
        InvalidInput: a file is no JSON object; the sentence names it.
    """
    found = {}
    for name in (*EXPERIMENTS, AGAIN):
        path = folder / f"{_FILES.get(name, name)}.json"
        if path.exists():
            found[name] = read(path, name)
    return found


def read(path: Path, name: str) -> dict[str, Any]:
    """Return one kept result.

    Raises:
        InvalidInput: the file is not there, no JSON object, or another experiment's; the sentence names it.
    """
    advice = f"run `roost paper {name} --json > {path}`"
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path} is no JSON ({error}); {advice}") from error
    if not isinstance(content, dict):
        raise InvalidInput(f"{path} holds no JSON object; {advice}")
    if lacking := [key for key in _READ.get(name, ()) if key not in content]:
        raise InvalidInput(f"{path} is no result of `roost paper {name}`: it has no {', '.join(lacking)}; {advice}")
    return content


def rewritten(page: str, results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the page with every block redrawn whose result is there.

    Raises:
        InvalidInput: the page has no place for a result.
    """
    for name in (name for name in results if name in EXPERIMENTS):
        page = _replaced(page, name, block(name, results[name]))
    if "table1" in results:
        page = _replaced(page, "claims", claims(*(results[name] for name in ("table1", AGAIN) if name in results)))
    if "continual" in results:
        page = _replaced(page, "continual claims", continual_claims(results["continual"]))
    if "gates" in results:
        for name, told in (
            ("verdicts", gate_tables.verdicts),
            ("refusals", gate_tables.refusals),
            ("trainings", gate_tables.trainings),
        ):
            page = _replaced(page, f"gate {name}", told(results["gates"]))
        page = _replaced(page, "gate sentence", gate_tables.sentence(results["gates"]))
    return page


def block(name: str, result: Mapping[str, Any]) -> str:
    """Return what stands on the page for one result."""
    draw: Callable[[Mapping[str, Any]], tuple[list[str], tables.Rows]] = getattr(tables, name)
    seeds = ", ".join(str(seed) for seed in result["seeds"])
    table = tables.markdown(*draw(result))
    head = f"{'Seeds' if len(result['seeds']) > 1 else 'Seed'} {seeds}{_RANGES.get(name, _SEEDS_RANGE)}. {sentence(result)}"
    return f"{head}\n\n{table}\n\n![{name}](paper/{name}.png)"


def draw_all(results: Mapping[str, Mapping[str, Any]], folder: Path) -> list[Path]:
    """Draw every result's plot into a folder; return the files."""
    paths = []
    for name in (name for name in results if name in EXPERIMENTS):
        paths.append(folder / f"{name}.png")
        plots.save(getattr(plots, name)(results[name]), paths[-1])
    return paths


def _replaced(page: str, name: str, content: str) -> str:
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    found = re.search(f"{re.escape(begin)}.*?{re.escape(end)}", page, re.DOTALL)
    if found is None:
        raise InvalidInput(f"the page has no place for {name}; write {begin} and {end} on lines of their own")
    return f"{page[: found.start()]}{begin}\n\n{content}\n\n{end}{page[found.end() :]}"
