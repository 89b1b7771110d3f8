"""Who may import whom. The rule itself is in pyproject.toml and in `_RULES` below; here it is run, and shown to bite."""

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = ("roost", "lab", "serving", "streams", "trainer", "schemas")


def _lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    lint = Path(sys.executable).with_name("lint-imports")
    # A narrow terminal would break the contracts' names over lines.
    return subprocess.run(
        [lint, "--no-logo", "--no-cache"],
        cwd=folder,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_no_package_imports_against_the_arrows() -> None:
    """The three sides meet only through records and bundles; one shortcut and they can no longer be deployed apart."""
    linted = _lint_imports(_ROOT)
    assert linted.returncode == 0, linted.stdout


def test_every_rule_of_the_linter_finds_a_planted_violation(tmp_path: Path) -> None:
    """A misspelt package name in a contract would keep it green for ever."""
    for package in _PACKAGES:
        shutil.copytree(_ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("*.avsc", "__pycache__"))
    shutil.copy(_ROOT / "pyproject.toml", tmp_path)
    planted = {
        "serving": "import streams.planted, faust",
        "streams": "import trainer.planted, torch",
        "trainer": "import serving.planted, hnswlib",
        "schemas": "import trainer.planted, torch",
        "lab": "import roost.planted",
        "roost": "import torch, hnswlib, faust",
    }
    for package, imports in planted.items():
        (tmp_path / package / "planted.py").write_text(imports + "\n")
    (tmp_path / "lab" / "cycle_a").mkdir()
    (tmp_path / "lab" / "cycle_a" / "__init__.py").write_text("from lab import cycle_b\n")
    (tmp_path / "lab" / "cycle_b.py").write_text("from lab import cycle_a\n")

    linted = _lint_imports(tmp_path)

    assert linted.returncode == 1
    assert " KEPT" not in linted.stdout
    for importer, imported in [
        ("serving", "streams"),
        ("streams", "trainer"),
        ("trainer", "serving"),
        ("schemas", "trainer"),
        ("lab", "roost"),
    ]:
        assert f"{importer}.planted -> {imported}.planted" in linted.stdout


def _imported_names(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


_READING = {"os.environ", "os.environb", "os.getenv", "pydantic_settings.BaseSettings", "schemas.settings.RoostSettings"}


def _reads_the_environment(source: str) -> bool:
    tree = ast.parse(source)
    by_attribute = any(
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
        and node.attr in {"environ", "environb", "getenv"}
        for node in ast.walk(tree)
    )
    return by_attribute or not _READING.isdisjoint(_imported_names(tree))


def _imports(source: str, library: str) -> bool:
    return any(name.partition(".")[0] == library for name in _imported_names(ast.parse(source)))


def _modules() -> dict[str, str]:
    return {
        str(path.relative_to(_ROOT)): path.read_text() for package in _PACKAGES for path in sorted((_ROOT / package).rglob("*.py"))
    }


def test_only_settings_modules_read_the_environment() -> None:
    """A variable read in the middle of the code is a setting that nobody can find, freeze or test."""
    readers = [name for name, source in _modules().items() if _reads_the_environment(source)]
    assert [name for name in readers if Path(name).name != "settings.py"] == []


@pytest.mark.parametrize("library", ["hnswlib", "faust", "opentelemetry"])
def test_a_library_with_traps_is_wrapped_by_one_module(library: str) -> None:
    """Faust's and hnswlib's traps are handled where they are imported: a second importer would have to know them all again.

    OpenTelemetry is an extra that most processes do not have.
    """
    importers = [name for name, source in _modules().items() if _imports(source, library)]
    assert len(importers) <= 1, importers


@pytest.mark.parametrize(
    "source",
    [
        "import os\nos.environ['A']",
        "import os\ndef f():\n    return os.getenv('A')",
        "from os import environ",
        "from os import getenv as g",
        "from pydantic_settings import BaseSettings",
        "from schemas.settings import RoostSettings",
    ],
)
def test_the_check_for_the_environment_finds_every_way_to_read_it(source: str) -> None:
    """A check that misses `from os import environ` checks nothing."""
    assert _reads_the_environment(source)
    assert not _reads_the_environment("import os\nos.getpid()")


@pytest.mark.parametrize("source", ["import faust", "import faust.app as a", "from faust import App", "def f():\n    import faust"])
def test_the_check_for_a_library_finds_every_way_to_import_it(source: str) -> None:
    """An import inside a function is an import."""
    assert _imports(source, "faust")
    assert not _imports(source.replace("faust", "faustian"), "faust")
