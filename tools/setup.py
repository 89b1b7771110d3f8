"""Makes this checkout runnable: `.venv` from requirements.lock and Kafka's jars in `.cache/kafka`. Standard library only.

Run by `make setup` with any Python 3.11, and by `make test` with `--with-registry`, which adds what the tests need to speak to a
schema registry: Apicurio, and the jars of a Java program that uses it, in `.cache/java`.
Done twice it does nothing the second time: each part is stamped with a digest of what it was made from, and a part is only made
again when that has changed or the last attempt did not finish.
"""

import ast
import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
LOCK = ROOT / "requirements.lock"
DATASETS = ROOT / "tools" / "datasets.lock"
KAFKA = ROOT / ".cache" / "kafka"
POM = ROOT / "tools" / "kafka" / "pom.xml"
JAR_SUMS = ROOT / "tools" / "kafka" / "jars.sha256"
JAVA_CLIENT = ROOT / ".cache" / "java"
JAVA_POM = ROOT / "tools" / "java" / "pom.xml"
JAVA_SUMS = ROOT / "tools" / "java" / "jars.sha256"
REGISTRY = ROOT / ".cache" / "apicurio"
REGISTRY_ARTIFACT = "io.apicurio:apicurio-registry-app:3.3.3:tar.gz:all"
REGISTRY_SHA256 = "8bc6751c76d963734224b01d5e7f84ccb3cb61c87d3bd77c36c35f10a5cbed63"
HEARTBEAT_S = 15.0

# What the roles import when they start. Importing it once proves that the environment works, and leaves the byte code
# that every later start reads: without it torch alone takes 7 s to import instead of 3.
IMPORTED_AT_START = (
    "confluent_kafka.admin, fastavro, httpx, numpy, pydantic_settings, rich.table, typer, aiokafka, faust, hnswlib, faiss, "
    "onnxruntime, fastapi, uvicorn, prometheus_client, torch, torch.onnx, onnx, onnxscript, pyarrow, pytest, hypothesis, "
    # and the roles' own modules: where no byte code may be written later, a controller then starts in .7 s of a core, not 1.1
    "roost.cli.roles, streams.embedder.role, streams.label_role, streams.controller.role, serving.node.role, "
    "serving.console.role, trainer.role"
)
# Exporting towers imports 1,700 modules more, by no statement of ours. Done once, of the smallest graph, it leaves their byte code:
# where none may be written later, each process that trains would compile them, for 3 s.
EXPORTED_ONCE = "torch.onnx.export(torch.nn.Linear(1, 1).eval(), (torch.zeros(1, 1),), dynamo=True, verbose=False)"


class SetupFailed(Exception):
    """What is wrong and how to mend it; printed without a stack trace."""


def main() -> int:
    """Set up what is not set up yet; return the exit code."""
    started_s = time.monotonic()
    try:
        with _alone():
            did_something = _set_up(with_registry="--with-registry" in sys.argv[1:])
    except SetupFailed as failure:
        print(f"setup: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("setup: interrupted; run it again to go on", file=sys.stderr)
        return 130
    if did_something:
        print(f"setup: ready in {time.monotonic() - started_s:.0f} s", flush=True)
    return 0


def _set_up(*, with_registry: bool) -> bool:
    want_python, want_kafka = _python_digest(), _digest(POM, JAR_SUMS)
    python_stamp, kafka_stamp = VENV / ".roost-setup", KAFKA / ".roost-setup"
    # A linked environment is shared with other checkouts and kept by whoever made it.
    python_is_due = not VENV.is_symlink() and _read(python_stamp) != want_python
    kafka_is_due = _read(kafka_stamp) != want_kafka
    registry_stamp = REGISTRY / ".roost-setup"
    registry_is_due = with_registry and _read(registry_stamp) != REGISTRY_SHA256
    want_java, java_stamp = _digest(JAVA_POM, JAVA_SUMS), JAVA_CLIENT / ".roost-setup"
    java_is_due = with_registry and _read(java_stamp) != want_java
    if not (python_is_due or kafka_is_due or registry_is_due or java_is_due):
        return False
    missing = _missing(kafka_is_due=kafka_is_due, maven_is_due=kafka_is_due or registry_is_due or java_is_due)
    if missing:
        raise SetupFailed("this machine lacks something:\n" + "\n".join(f"  - {sentence}" for sentence in missing))
    if python_is_due:
        python_stamp.unlink(missing_ok=True)
        _make_environment()
        python_stamp.write_text(want_python)
    if kafka_is_due:
        kafka_stamp.unlink(missing_ok=True)
        _fetch_kafka()
        kafka_stamp.write_text(want_kafka)
    if registry_is_due:
        _fetch_registry()
        registry_stamp.write_text(REGISTRY_SHA256)
    if java_is_due:
        java_stamp.unlink(missing_ok=True)
        _fetch_jars(JAVA_CLIENT / "libs", JAVA_POM, JAVA_SUMS, "of a Java producer of the tests, by Maven (7 MB)")
        java_stamp.write_text(want_java)
    return True


def _missing(*, kafka_is_due: bool, maven_is_due: bool) -> list[str]:
    """Return one sentence for each thing this machine lacks: what it is and how to get it."""
    sentences = []
    if sys.version_info[:2] != (3, 11):
        sentences.append(
            f"Python 3.11 is needed and this is {sys.version.split()[0]}: install python3.11 (apt, brew, pyenv or uv) "
            "and run `make setup PYTHON=python3.11`."
        )
    if importlib.util.find_spec("ensurepip") is None:
        sentences.append("Python's venv module cannot install pip here: run `apt install python3.11-venv`.")
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        sentences.append(
            "Python's headers (Python.h) are missing: run `apt install python3.11-dev` (`dnf install python3.11-devel`)."
        )
    if not any(shutil.which(name) for name in (os.environ.get("CXX", "c++").split()[0], "c++", "g++", "clang++")):
        sentences.append(
            "A C++ compiler is missing: run `apt install g++` (`dnf install gcc-c++`, macOS: `xcode-select --install`)."
        )
    if kafka_is_due:
        java = _java_major_version()
        if java is None or java < 17:
            found = "is missing" if java is None else f"is version {java}, too old for Kafka 4"
            sentences.append(f"Java {found}: run `apt install openjdk-17-jre-headless` (or set JAVA_HOME to Java 17 or later).")
    if maven_is_due and shutil.which("mvn") is None:
        sentences.append("Maven (mvn) is missing: run `apt install maven` (`dnf install maven`, `brew install maven`).")
    return sentences


def _java_major_version() -> int | None:
    home = os.environ.get("JAVA_HOME")
    java = shutil.which(str(Path(home) / "bin" / "java") if home else "java")
    if java is None:
        return None
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', said)
    return int(version.group(1)) if version else None


def _make_environment() -> None:
    uv = VENV / "bin" / "uv"
    with _step("a virtual environment in .venv, with uv to fill it"):
        if not _is_usable(VENV_PYTHON):
            shutil.rmtree(VENV, ignore_errors=True)
            _run([sys.executable, "-m", "venv", str(VENV)])
        if not uv.exists():
            _pip_install_uv()
    env = _uv_environment()
    with _step("the packages of requirements.lock, each checked against its hash (5 GB, most of it torch; once per machine)"):
        _download([str(uv), "pip", "sync", "--python", str(VENV_PYTHON), "--require-hashes", str(LOCK)], env)
    install = [str(uv), "pip", "install", "--quiet", "--python", str(VENV_PYTHON), "--no-deps"]
    with _step("the data sets that `roost replay` plays, for research use (tools/datasets.lock)"):
        # Without dependencies: the data lies beside a library that would pull half a machine-learning stack of other versions.
        _download([*install, "--require-hashes", "--requirement", str(DATASETS)], env)
    with _step("the project itself, editable, and the `roost` command"):
        _run([*install, "--no-build-isolation", "--offline", "--editable", str(ROOT)], env)
    with _step("a first import of everything, which also compiles it"):
        compiling = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        _run([str(VENV_PYTHON), "-c", f"import {IMPORTED_AT_START}\n{EXPORTED_ONCE}"], compiling, show=False)


def _pip_install_uv() -> None:
    block = re.search(r"^uv==.*?(?=^\S)", LOCK.read_text(), re.MULTILINE | re.DOTALL)
    if block is None:
        raise SetupFailed("requirements.lock names no uv; make it again with `make lock`.")
    with tempfile.TemporaryDirectory(prefix="roost-setup-") as scratch:
        requirements = Path(scratch) / "uv.txt"
        requirements.write_text(block.group())
        _run([*_PIP, "install", "--quiet", "--no-deps", "--require-hashes", "--requirement", str(requirements)])


_PIP = (str(VENV_PYTHON), "-m", "pip", "--disable-pip-version-check")


def _uv_environment() -> Mapping[str, str]:
    """Return the environment for uv, which reads no pip setting: pip's index, mirrors and certificate are handed on."""
    env = {"UV_HTTP_TIMEOUT": "180", **os.environ}
    listed = subprocess.run([*_PIP, "config", "list"], capture_output=True, text=True, check=False).stdout
    for line in listed.splitlines():
        name, _, quoted = line.partition("=")
        value = str(ast.literal_eval(quoted)) if quoted else ""
        key = name.rpartition(".")[2]
        if key == "find-links" and not ("://" in value or Path(value).is_dir()):
            # pip passes over a folder that is not there, uv stops at it
            continue
        if key in _UV_NAME_OF_PIP_SETTING and value:
            env.setdefault(_UV_NAME_OF_PIP_SETTING[key], value)
    return env


_UV_NAME_OF_PIP_SETTING = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "cert": "SSL_CERT_FILE",
}


def _download(command: list[str], env: Mapping[str, str]) -> None:
    try:
        _run(command, env)
    except SetupFailed:
        if "UV_SYSTEM_CERTS" in env:
            raise
        # A proxy's own certificate is usually in the system's store, which uv does not read unless told.
        print("setup: that failed; once more with the system's certificates", flush=True)
        _run(command, {**env, "UV_SYSTEM_CERTS": "1"})


def _fetch_kafka() -> None:
    _fetch_jars(KAFKA / "libs", POM, JAR_SUMS, "of Kafka, by Maven (54 MB)")
    with _step("a class archive, with which Kafka starts in half the time"):
        _run([str(VENV_PYTHON), "-m", "roost.broker.archive"])


def _fetch_jars(libs: Path, pom: Path, sums_file: Path, what: str) -> None:
    sums = {name: digest for digest, name in map(str.split, sums_file.read_text().splitlines())}
    if _is_exactly(libs, sums):
        return
    with _step(f"the {len(sums)} jars {what}, each checked against its hash"):
        shutil.rmtree(libs, ignore_errors=True)
        libs.parent.mkdir(parents=True, exist_ok=True)
        goal = ["dependency:copy-dependencies", f"-DoutputDirectory={libs}", "-DincludeScope=runtime"]
        # Maven writes colour codes even when told not to.
        _run(["mvn", "-q", "-B", "-ntp", "--strict-checksums", "-f", str(pom), *goal], show=False)
    if not _is_exactly(libs, sums):
        raise SetupFailed(
            f"Maven's jars in {libs} differ from {sums_file.relative_to(ROOT)}; empty your Maven repository of them and run again."
        )


def _fetch_registry() -> None:
    with (
        _step("the schema registry of the tests, by Maven (158 MB), checked against its hash"),
        tempfile.TemporaryDirectory(dir=REGISTRY.parent) as scratch,
    ):
        goal = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
        to = [f"-Dartifact={REGISTRY_ARTIFACT}", f"-DoutputDirectory={scratch}"]
        _run(["mvn", "-q", "-B", "-ntp", "--strict-checksums", goal, *to], show=False)
        (archive,) = Path(scratch).glob("*.tar.gz")
        if hashlib.sha256(archive.read_bytes()).hexdigest() != REGISTRY_SHA256:
            raise SetupFailed(f"Maven's {REGISTRY_ARTIFACT} is not the one that was tested; remove it from your Maven repository.")
        shutil.rmtree(REGISTRY, ignore_errors=True)
        with tarfile.open(archive) as opened:
            opened.extractall(REGISTRY, filter="data")


def _is_exactly(folder: Path, sums: Mapping[str, str]) -> bool:
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.jar")}
    return found == sums


def _is_usable(python: Path) -> bool:
    """Whether this environment was made here by the running Python: its scripts hold absolute paths, so a moved one is not."""
    if not python.exists():
        return False
    program = "import sys; print(sys.version, sys.base_prefix)"
    told = subprocess.run([str(python), "-c", program], capture_output=True, text=True, check=False)
    made_here = f"{VENV}" in _read(VENV / "bin" / "activate")
    return made_here and told.stdout.strip() == f"{sys.version} {sys.base_prefix}"


def _python_digest() -> str:
    digest = hashlib.sha256(f"{sys.version}\0{sys.base_prefix}\0{VENV}\0".encode())
    for path in (LOCK, DATASETS, ROOT / "pyproject.toml"):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _digest(*paths: Path) -> str:
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in paths)).hexdigest()


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _run(command: list[str], env: Mapping[str, str] | None = None, *, show: bool = True) -> None:
    """Run a command with no input; without `show` its output appears only if it fails."""
    output = None if show else subprocess.PIPE
    merged = None if show else subprocess.STDOUT
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=merged, cwd=ROOT, env=env, check=False)
    if done.returncode != 0:
        if done.stdout:
            print(done.stdout.decode(errors="replace"), file=sys.stderr)
        raise SetupFailed(f"`{' '.join(command)}` failed with exit code {done.returncode}; its own words are above.")


@contextmanager
def _step(what: str) -> Iterator[None]:
    """Say what is being made, and that it still is: downloads are minutes of silence without a terminal."""
    print(f"setup: {what}", flush=True)
    started_s = time.monotonic()
    done = threading.Event()

    def beat() -> None:
        while not done.wait(HEARTBEAT_S):
            print(f"setup:   … {time.monotonic() - started_s:.0f} s", flush=True)

    heartbeat = threading.Thread(target=beat, daemon=True)
    heartbeat.start()
    try:
        yield
    finally:
        done.set()
        heartbeat.join()


@contextmanager
def _alone() -> Iterator[None]:
    """Keep a second set-up of this checkout waiting until the first is done."""
    (ROOT / ".cache").mkdir(exist_ok=True)
    with (ROOT / ".cache" / "setup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    sys.exit(main())
