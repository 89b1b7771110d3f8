"""The built wheel, as somebody who installs it gets it: all packages and schemas inside, and light without extras."""

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = ("roost", "lab", "serving", "streams", "trainer", "schemas")
_HEAVY = ("torch", "faust", "aiokafka", "onnxruntime", "onnx", "hnswlib", "faiss", "fastapi", "uvicorn", "pyarrow", "opentelemetry")

# What a program that publishes, queries or operates imports: each must work without any extra.
_SDK = (
    "roost.broker",
    "roost.cli",
    "schemas.codec",
    "schemas.errors",
    "schemas.features.query",
    "schemas.rollout",
    "schemas.surfaces",
    "schemas.tokens",
    "schemas.topics",
    "schemas.wire.admin",
    "schemas.wire.dlq",
    "schemas.wire.tail",
    "schemas.wire.tracing",
    "serving.client",
    "streams.producer",
)


def _run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel, built from this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    _run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, _ROOT, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def light_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of a new environment that holds the wheel and its base dependencies, nothing else."""
    folder = tmp_path_factory.mktemp("light")
    uv = Path(sys.executable).with_name("uv")
    _run(uv, "venv", "--quiet", "--python", sys.executable, folder / "env", cwd=folder)
    python = folder / "env" / "bin" / "python"
    install: list[str | Path] = [
        uv,
        "pip",
        "install",
        "--quiet",
        "--python",
        python,
        "--constraints",
        _ROOT / "requirements.lock",
        wheel,
    ]
    # `make setup` has left every package in uv's cache; only if that was emptied is the network asked.
    offline = subprocess.run([*map(str, install), "--offline"], cwd=folder, capture_output=True, check=False)
    if offline.returncode != 0:
        _run(*install, cwd=folder)
    return python


def test_the_wheel_holds_every_package_and_every_file_beside_the_code(wheel: Path) -> None:
    """A missing .avsc shows only on the machine of whoever installed the wheel."""
    inside = set(zipfile.ZipFile(wheel).namelist())
    beside_us = {
        str(path.relative_to(_ROOT))
        for package in _PACKAGES
        for path in (_ROOT / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert any(name.endswith(".avsc") for name in beside_us)
    assert beside_us <= inside
    assert {name.partition("/")[0] for name in inside if ".dist-info/" not in name} == set(_PACKAGES)


def test_the_base_install_brings_nothing_heavy(light_python: Path) -> None:
    """A producer in somebody's web server must not install 5 GB of torch, nor an index, nor a stream processor."""
    program = f"import importlib.util, json; print(json.dumps([m for m in {_HEAVY!r} if importlib.util.find_spec(m)]))"
    assert json.loads(_run(light_python, "-I", "-c", program, cwd=light_python.parent)) == []


def test_the_base_install_is_as_large_as_the_guide_says(light_python: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever adds a producer to a small image asks for one figure; a dependency that doubles it must be seen."""
    folder = Path(
        _run(light_python, "-I", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=light_python.parent).strip()
    )
    megabytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    packages = len(list(folder.glob("*.dist-info")))
    with capsys.disabled():
        print(f"\nthe base install: {packages} packages, {megabytes:.0f} MB")  # noqa: T201  a run shows what it is today
    told = re.search(
        r"base install \((\d+) packages, (\d+) MB", (_ROOT / "docs" / "guides" / "producers.md").read_text(encoding="utf-8")
    )
    assert told is not None
    assert int(told[1]) == packages
    assert abs(int(told[2]) - megabytes) < 0.1 * megabytes


def test_every_sdk_module_imports_in_the_base_install(light_python: Path) -> None:
    """An import of an extra at the top of an SDK module breaks every producer and client."""
    program = f"""
import importlib, json, traceback
failures = {{}}
for name in {_SDK!r}:
    try:
        importlib.import_module(name)
    except Exception:
        failures[name] = traceback.format_exc()
print(json.dumps(failures))
"""
    assert json.loads(_run(light_python, "-I", "-W", "error", "-c", program, cwd=light_python.parent)) == {}


def test_who_installs_the_sdk_has_its_types(light_python: Path, tmp_path: Path) -> None:
    """Without the marker of PEP 561 a caller's checker takes every answer for `Any`, and finds no misspelt field."""
    program = tmp_path / "caller.py"
    program.write_text("""
from serving.client import AsyncClient, Client
from streams.producer import Producer

answer = Client("http://127.0.0.1:8470").retrieve("home-timeline", user_id="ann", kk=20)
reveal_type(answer.candidates[0].score)
reveal_type(AsyncClient.ready)
Producer("127.0.0.1:9092").tweet("t:1")
""")
    words = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--python-executable",
        light_python,
        "--cache-dir",
        tmp_path / "cache",
        program,
    ]
    said = subprocess.run([str(word) for word in words], cwd=tmp_path, capture_output=True, text=True, check=False).stdout
    lines = [line.partition(": ")[2] for line in said.splitlines()]
    assert [line.partition("  [")[0] for line in lines if line.startswith("error")] == [
        'error: Unexpected keyword argument "kk" for "retrieve" of "Client"',
        'error: No overload variant of "tweet" of "Producer" matches argument type "str"',
    ], said
    assert 'note: Revealed type is "float"' in lines, said
    assert any(line.endswith('typing.Coroutine[Any, Any, bool]"') for line in lines), said


def test_the_command_works_in_the_base_install(light_python: Path) -> None:
    """`pip install roost` promises a `roost` that at least says who it is."""
    said = _run(light_python.with_name("roost"), "--version", cwd=light_python.parent)
    assert re.fullmatch(r"roost \d+\.\d+\.\d+\n", said)


def test_spans_without_their_extra_are_refused_in_a_sentence(light_python: Path) -> None:
    """A variable that does nothing in silence is found missing on the day the traces are needed."""
    program = """
from schemas.wire.tracing import TracingNotInstalled, start_tracing
try:
    start_tracing("x")
except TracingNotInstalled as error:
    print(error)
"""
    assert "install roost[tracing]" in _run(light_python, "-I", "-c", program, cwd=light_python.parent)
