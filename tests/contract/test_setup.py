"""What `make setup` says on a machine that lacks something, or whose downloads are not what the lock promises."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a checkout that was never set up, with what set-up reads."""
    shutil.copytree(_ROOT / "tools", tmp_path / "tools")
    for name in ("requirements.lock", "pyproject.toml", "Makefile"):
        shutil.copy(_ROOT / name, tmp_path)
    return tmp_path


def _set_up(checkout: Path, *, path: Path) -> subprocess.CompletedProcess[str]:
    """Run set-up on a machine that has only the programs in `path`."""
    return subprocess.run(
        [sys.executable, checkout / "tools" / "setup.py"],
        env={"PATH": str(path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def _program(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_everything_that_is_missing_is_named_at_once_with_how_to_get_it(checkout: Path) -> None:
    """Told one at a time, a newcomer runs set-up four times and gives up at the third."""
    told = _set_up(checkout, path=checkout / "empty")
    assert told.returncode == 1
    assert "Traceback" not in told.stderr
    for what, remedy in [("C++ compiler", "apt install g++"), ("Java", "apt install openjdk-17"), ("Maven", "apt install maven")]:
        (sentence,) = [line for line in told.stderr.splitlines() if what in line and "missing" in line]
        assert remedy in sentence
    assert not (checkout / ".venv").exists()


def test_an_old_java_is_named_with_its_version(checkout: Path) -> None:
    """Kafka 4 on Java 11 dies with a class-file version error that tells nobody what to do."""
    programs = checkout / "programs"
    _program(programs, "java", "echo 'openjdk version \"11.0.2\" 2019-01-15' >&2")
    _program(programs, "mvn", "exit 0")
    _program(programs, "c++", "exit 0")
    told = _set_up(checkout, path=programs)
    assert told.returncode == 1
    assert "version 11, too old" in told.stderr


def test_a_machine_without_python_3_11_is_told_so_by_make(checkout: Path) -> None:
    """The first command must not end in `python3.11: not found`."""
    make = shutil.which("make")
    assert make is not None
    told = subprocess.run([make, "setup", "PYTHON="], cwd=checkout, capture_output=True, text=True, check=False)
    assert told.returncode != 0
    assert "Python 3.11 is missing: install python3.11" in told.stderr


def test_every_package_in_the_lock_has_a_hash_and_no_address() -> None:
    """Hash checking is off for whoever has no hash; and an address would send every install to one host."""
    lock = (_ROOT / "requirements.lock").read_text()
    blocks = [block for block in lock.split("\n") if block and not block.startswith((" ", "#"))]
    assert len(blocks) > 100
    for line in blocks:
        assert "==" in line
        assert line.endswith("\\")
    assert "://" not in lock


def test_the_sums_of_the_jars_are_those_of_the_jars_in_use() -> None:
    """A truncated download of a jar must be found before a broker fails on it."""
    jars = _ROOT / ".cache" / "kafka" / "libs"
    lines = (_ROOT / "tools" / "kafka" / "jars.sha256").read_text().splitlines()
    listed = {name: digest for digest, name in map(str.split, lines)}
    found = {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in jars.glob("*.jar")}
    assert found == listed
