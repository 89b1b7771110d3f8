"""docs/paper.md and its pictures, drawn anew from kept results: a figure on the page is in a result, never typed. Runs nothing.

A block of the page stands between `<!-- NAME -->` and `<!-- end of NAME -->`, and is replaced whole.
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lab.paper.shown import plots, tables
from lab.paper.shown.claims import claims, continual_claims
from schemas.errors import InvalidInput

EXPERIMENTS = ("table1", "table2", "fig3", "fig5", "fig6", "continual")


def kept(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the results kept in a folder, by experiment; those that were never kept are left out.

    Raises:
        InvalidInput: a file is no JSON object; the sentence names it.
    """
    found = {}
    for name in EXPERIMENTS:
        path = folder / f"{name}.json"
        if path.exists():
            try:
                content = json.loads(path.read_bytes())
            except ValueError as error:
                raise InvalidInput(f"{path} is no JSON ({error}); run `roost paper {name} --json > {path}`") from error
            if not isinstance(content, dict):
                raise InvalidInput(f"{path} holds no JSON object; run `roost paper {name} --json > {path}`")
            found[name] = content
    return found


def rewritten(page: str, results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the page with every block redrawn whose result is there.

    Raises:
        InvalidInput: the page has no place for a result.
    """
    for name, result in results.items():
        page = _replaced(page, name, block(name, result))
    if "table1" in results:
        page = _replaced(page, "claims", claims(results["table1"]))
    if "continual" in results:
        page = _replaced(page, "continual claims", continual_claims(results["continual"]))
    return page


def block(name: str, result: Mapping[str, Any]) -> str:
    """Return what stands on the page for one result."""
    draw: Callable[[Mapping[str, Any]], tuple[list[str], tables.Rows]] = getattr(tables, name)
    seeds = ", ".join(str(seed) for seed in result["seeds"])
    table = tables.markdown(*draw(result))
    return f"Seeds {seeds}; in brackets the lowest and highest seed.\n\n{table}\n\n![{name}](paper/{name}.png)"


def draw_all(results: Mapping[str, Mapping[str, Any]], folder: Path) -> list[Path]:
    """Draw every result's plot into a folder; return the files."""
    paths = []
    for name, result in results.items():
        paths.append(folder / f"{name}.png")
        plots.save(getattr(plots, name)(result), paths[-1])
    return paths


def _replaced(page: str, name: str, content: str) -> str:
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    found = re.search(f"{re.escape(begin)}.*?{re.escape(end)}", page, re.DOTALL)
    if found is None:
        raise InvalidInput(f"the page has no place for {name}; write {begin} and {end} on lines of their own")
    return f"{page[: found.start()]}{begin}\n\n{content}\n\n{end}{page[found.end() :]}"
