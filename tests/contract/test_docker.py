"""docker/: what a Docker host would refuse, or a role would pass over in silence, is found without one."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import grimp
import pytest
from pydantic_settings import BaseSettings

from roost import cli
from serving.console.settings import ConsoleSettings
from serving.settings import NodeSettings
from streams.settings import ControllerSettings, EmbedderSettings, LabelerSettings, UserStateSettings
from tests.deployment_files import DOCKER, ROOT, RoleService, Stage, compose, metrics_port, role_services, stages
from tools.setup import REGISTRY_ARTIFACT
from trainer.settings import TrainerSettings

_SETTINGS: dict[str, tuple[type[BaseSettings], ...]] = {
    "embedder": (EmbedderSettings,),
    "labeler": (LabelerSettings, UserStateSettings),
    "controller": (ControllerSettings,),
    "node-1": (NodeSettings,),
    "node-2": (NodeSettings,),
    "console": (ConsoleSettings,),
    "trainer": (TrainerSettings,),
}
# read by options of `roost topics`, not by a settings class
_OF_THE_COMMAND = {
    "topics-init": {"KAFKA_BOOTSTRAP_SERVERS", "ROOST_PARTITIONS", "ROOST_REPLICATION", "ROOST_REGISTRY"},
    "schemas-init": {"ROOST_SCHEMA_REGISTRY_URL", "ROOST_REGISTRY"},
}
_ROLES = [pytest.param(role, id=name) for name, role in role_services().items()]
_PACKAGES = ("roost", "lab", "serving", "streams", "trainer", "schemas")
# of the interpreter and the shell
_NOT_OURS = {"PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"}


def _variables_of(settings: type[BaseSettings]) -> dict[str, str]:
    """Return the field by the environment variable it is read from."""
    prefix = settings.model_config["env_prefix"]
    return {
        str(field.validation_alias) if field.validation_alias else f"{prefix}{name}".upper(): name
        for name, field in settings.model_fields.items()
    }


def test_hadolint_has_nothing_to_say_of_the_dockerfile() -> None:
    """A linter that knows a hundred ways to get one wrong."""
    hadolint = Path(sys.executable).with_name("hadolint")
    said = subprocess.run([hadolint, DOCKER / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


def test_docker_compose_accepts_the_file_where_there_is_one() -> None:
    """Docker's own reading is the one that counts; on a machine without it the other tests read the file."""
    docker = shutil.which("docker")
    has_compose = docker and subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode == 0
    if has_compose:
        command = [str(docker), "compose", "--file", str(DOCKER / "compose.yaml"), "config", "--quiet"]
        said = subprocess.run(command, capture_output=True, text=True, check=False)
        assert said.returncode == 0, said.stderr
    assert compose().keys() == {"name", "services", "volumes", "networks"} | {k for k in compose() if k.startswith("x-")}


def test_every_service_of_the_product_is_there() -> None:
    """The roles of `roost up`, twice the node, and the console: a node that is restarted must not take the answers with it."""
    commands = sorted(role.arguments[:2] for role in role_services().values())
    roles = [("console",), ("control",), ("embed",), ("label",), ("serve",), ("serve",)]
    assert commands == sorted([*roles, ("topics", "create"), ("train", "schedule"), ("schemas", "register")])


@pytest.mark.parametrize("role", _ROLES)
def test_the_command_of_each_service_is_one_that_roost_has(role: RoleService, capsys: pytest.CaptureFixture[str]) -> None:
    """A word that was renamed shows on a host as a container that restarts for ever."""
    assert cli.run([*role.arguments, "--help"]) == 0
    assert "Example: " in capsys.readouterr().out


@pytest.mark.parametrize("role", _ROLES)
def test_every_variable_is_one_that_the_role_reads_and_its_value_is_valid(
    role: RoleService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable that no setting knows is passed over without a word, and the default is used."""
    ours = {name: value for name, value in role.environment.items() if name not in _NOT_OURS}
    assert all(isinstance(value, str) for value in ours.values()), "YAML made something else of a value: quote it"
    known = _OF_THE_COMMAND.get(role.name, set())
    for name, value in ours.items():
        monkeypatch.setenv(name, value)
    for settings in _SETTINGS.get(role.name, ()):
        fields = _variables_of(settings)
        known = known | fields.keys()
        read = settings().model_dump(mode="json")
        for name in ours.keys() & fields.keys():
            value = read[fields[name]]
            assert (",".join(value) if isinstance(value, list) else str(value)) == ours[name]
    assert ours.keys() <= known


@pytest.mark.parametrize("role", _ROLES)
def test_each_role_is_locked_in(role: RoleService) -> None:
    """Not root, nothing writable, no capability: what breaks in finds little to use."""
    uid = int(role.stage.user.split(":")[0])
    assert uid >= 1000
    service = role.service
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service


def test_whoever_goes_on_running_has_a_health_check_that_asks_the_port_it_answers_on() -> None:
    """A check of another port calls a sound role sick for ever; without one a process that hangs looks well."""
    for name, role in role_services().items():
        if name in _OF_THE_COMMAND:
            continue
        assert role.health_command is not None, name
        (port,) = re.findall(r":(\d+)/", role.health_command[-1])
        assert port == metrics_port(role.environment), name
    bought = {name: service for name, service in compose()["services"].items() if "build" not in service}
    assert [name for name, service in bought.items() if "healthcheck" not in service] == []


@pytest.mark.parametrize("role", _ROLES)
def test_the_registry_is_writable_for_the_trainer_alone(role: RoleService) -> None:
    """Bundles are published once and never changed; a node that could write one could change what others answer from."""
    mounts = [mount for mount in role.service.get("volumes", ()) if mount.startswith("registry:")]
    assert all(mount.split(":")[1] == role.environment["ROOST_REGISTRY"] for mount in mounts)
    writers = [mount for mount in mounts if not mount.endswith(":ro")]
    assert len(writers) == (1 if role.name == "trainer" else 0)
    assert bool(mounts) == (role.name not in ("topics-init", "schemas-init", "labeler"))


def test_the_console_has_the_results_that_its_page_of_the_paper_shows() -> None:
    """The image holds the wheel, which no result is in: the page was empty."""
    console = role_services()["console"]
    mounts = {inside: (source, mode) for source, inside, mode in (mount.split(":") for mount in console.service["volumes"])}
    source, mode = mounts[console.environment["ROOST_CONSOLE_RESULTS"]]
    assert mode == "ro"
    assert (DOCKER / source / "table1.json").is_file()


def test_every_port_is_bound_to_this_host_alone() -> None:
    """Nothing here asks who is calling: an address of the network would open it to the neighbours."""
    ports = [str(port) for service in compose()["services"].values() for port in service.get("ports", ())]
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in ports)
    host_ports = [port.split(":")[1] for port in ports]
    assert len(host_ports) == len(set(host_ports)) >= 3


def test_everything_a_service_names_exists() -> None:
    """A volume, network, service or file that is not there is found by Docker only when the service is started."""
    file = compose()
    services = file["services"]
    for name, service in services.items():
        assert set(service.get("networks", ())) <= file["networks"].keys(), name
        for mount in service.get("volumes", ()):
            source = mount.split(":")[0]
            if source.startswith("."):
                assert (DOCKER / source).exists(), f"{name}: {source}"
            else:
                assert source in file["volumes"], f"{name}: {source}"
        for needed, how in service.get("depends_on", {}).items():
            assert needed in services
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[needed]
            else:
                assert how["condition"] == "service_completed_successfully"
                assert services[needed]["restart"].startswith("on-failure")


def test_no_role_starts_before_the_topics_exist() -> None:
    """Roles make topics too, but only one replication factor may win."""
    for name, role in role_services().items():
        if name not in _OF_THE_COMMAND:
            assert role.service["depends_on"]["topics-init"]["condition"] == "service_completed_successfully"
            assert role.service["restart"] == "unless-stopped"
        partitions = role.environment.get("ROOST_PARTITIONS")
        assert partitions in (None, role_services()["topics-init"].environment["ROOST_PARTITIONS"])


def test_images_are_pinned_and_broker_and_registry_are_those_the_tests_run_on() -> None:
    """`latest` is another program tomorrow; and what passed here passed on this Kafka and this registry."""
    images = {name: service["image"] for name, service in compose()["services"].items() if "build" not in service}
    assert all(re.fullmatch(r"[a-z/-]+:v?\d+\.\d+\.\d+", image) for image in images.values())
    tested = re.search(r"<kafka\.version>([\d.]+)<", (ROOT / "tools" / "kafka" / "pom.xml").read_text())
    assert tested is not None
    assert images["kafka"] == f"apache/kafka:{tested.group(1)}"
    assert images["schema-registry"] == f"apicurio/apicurio-registry:{REGISTRY_ARTIFACT.split(':')[2]}"


def test_the_broker_has_room_for_what_the_roles_need_of_it() -> None:
    """One broker keeps one replica, and a role that was off for a month must find its place again."""
    environment = compose()["services"]["kafka"]["environment"]
    assert int(environment["KAFKA_OFFSETS_RETENTION_MINUTES"]) >= 31 * 24 * 60
    assert environment["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    replicas = {name: value for name, value in environment.items() if name.endswith(("_REPLICATION_FACTOR", "_MIN_ISR"))}
    assert len(replicas) == 5
    assert set(replicas.values()) == {"1"}


def test_each_role_installs_its_own_extra_and_no_other() -> None:
    """The trainer's torch is 5 GB; a node that carries it takes minutes more to come up on a new machine."""
    extra = re.compile(
        r"uv pip install --constraints requirements\.lock -r pyproject\.toml(?: --extra (\w+))?(?: --extra tracing)?$"
    )
    installed = {}
    for name, role in role_services().items():
        (packages,) = role.stage.copied_from - {"code"}
        runs = [re.sub(r"--mount=\S+\s+", "", rest).strip() for word, rest in stages()[packages].instructions if word == "RUN"]
        matches = [match for run in runs if (match := extra.match(run))]
        assert len(matches) == 1
        installed[name] = matches[0].group(1)
    assert installed == {
        "topics-init": None,
        "schemas-init": "streams",
        "embedder": "streams",
        "labeler": "streams",
        "controller": "streams",
        "node-1": "serving",
        "node-2": "serving",
        "console": "console",
        "trainer": "trainer",
    }


def test_packages_and_code_lie_in_layers_apart() -> None:
    """A change of one line of code must not send the trainer's torch to a registry of images, and to every host, once more."""
    by_name = stages()
    for name, role in role_services().items():
        # the nearest stages first: what a target stands on comes after it
        copies: list[str] = []
        stage: Stage | None = role.stage
        while stage is not None:
            copies[:0] = [rest for word, rest in stage.instructions if word == "COPY"]
            stage = by_name.get(stage.base)
        packages, code = copies
        assert re.fullmatch(r"--from=\w+-packages /opt/roost /opt/roost", packages), name
        assert code == "--from=code /opt/roost /opt/roost", name
    for name in (name for name in by_name if name.endswith("-packages")):
        assert by_name[name].base == "build", f"{name} would be installed anew after a change of code"
        assert not by_name[name].copied_from, name
    assert [rest for word, rest in by_name["build"].instructions if word == "COPY"] == ["pyproject.toml requirements.lock ./"]


def test_an_image_runs_on_other_processors_than_the_one_it_was_built_on() -> None:
    """Built for the host's own, a node that fills a graph on an older one ends with SIGILL, without a word in its log."""
    environment = stages()["serving-packages"].environment
    assert environment["HNSWLIB_NO_NATIVE"] == "1"
    # the default is shared by every build of the host, and with it what other projects compiled for this processor
    mounts = re.findall(r"--mount=type=cache\S*", (DOCKER / "Dockerfile").read_text())
    assert set(mounts) == {"--mount=type=cache,id=roost-uv,target=/root/.cache/uv"}


@pytest.mark.parametrize(
    ("command", "role", "extra"),
    [
        ("embed", "streams.embedder.role", "streams"),
        ("label", "streams.label_role", "streams"),
        ("control", "streams.controller.role", "streams"),
        ("serve", "serving.node.role", "serving"),
        ("console", "serving.console.role", "console"),
    ],
)
def test_a_command_starts_where_only_its_extra_is_installed(command: str, role: str, extra: str) -> None:
    """The console's command had the paper's tables from a module that wants pyarrow: its container ended at once, for ever."""
    absent = {"lab", "trainer"} if extra != "console" else set()
    absent |= {"torch", "pyarrow", "onnx", "onnxscript", "tensorboard", "matplotlib"}
    absent |= {"faust", "aiokafka"} if extra != "streams" else {"fastapi", "uvicorn", "faiss", "hnswlib", "jinja2"}
    code = (
        "import importlib, sys\n"
        f"sys.modules.update(dict.fromkeys({sorted(absent)!r}))\n"
        "from roost import cli\n"
        f"assert cli.run([{command!r}, '--help']) == 0\n"
        f"importlib.import_module({role!r})\n"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout[-500:] + said.stderr[-2000:]


def test_the_image_builds_with_the_versions_the_project_names() -> None:
    """Two places that say a version drift apart."""
    text = (DOCKER / "Dockerfile").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    uv = re.search(r"uv==([\d.]+)", text)
    python = re.search(r"PYTHON_VERSION=(\d+\.\d+)\.", text)
    assert uv is not None
    assert python is not None
    assert f"uv=={uv.group(1)}" in project["optional-dependencies"]["dev"]
    assert project["requires-python"] == f">={python.group(1)}"


def test_the_build_is_sent_all_that_the_wheel_is_made_of_and_nothing_else() -> None:
    """A missing folder builds a wheel without it; without the list, gigabytes of .venv and data go to the builder."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    sent = {line.removeprefix("!") for line in lines if line.startswith("!")}
    hatch = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    assert sent == {*hatch["packages"], "pyproject.toml", "requirements.lock", "README.md", "LICENSE"}


@pytest.mark.parametrize(
    ("extra", "modules"),
    [
        ("streams", ["streams.embedder.role", "streams.label_role", "streams.controller.role"]),
        ("serving", ["serving.node.role"]),
        # the second sends its commands
        ("console", ["serving.console.role", "streams.controller.client"]),
        # the second serves its metrics
        ("trainer", ["trainer.schedule", "streams.metrics"]),
    ],
    ids=["streams", "serving", "console", "trainer"],
)
def test_a_role_imports_only_what_its_extra_installs(extra: str, modules: list[str]) -> None:
    """Here everything is installed; in a role's image an import of another extra's package ends the process.

    What `roost` itself imports is held to the base install by the tests of the wheel.
    """
    # import names by package of an extra
    names = {
        "aiokafka": "aiokafka",
        "faust-streaming": "faust",
        "faiss-cpu": "faiss",
        "fastapi": "fastapi",
        "fastapi-offline": "fastapi_offline",
        "fsspec": "fsspec",
        "hnswlib": "hnswlib",
        "httptools": "httptools",
        "jinja2": "jinja2",
        "onnx": "onnx",
        "onnxruntime": "onnxruntime",
        "onnxscript": "onnxscript",
        "prometheus-client": "prometheus_client",
        "pyarrow": "pyarrow",
        "tensorboard": "tensorboard",
        "torch": "torch",
        "uvicorn": "uvicorn",
        "uvloop": "uvloop",
    }
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    packages = {
        name: {match.group() for line in extras[name] if (match := re.match(r"[a-z0-9-]+", line))}
        for name in ("streams", "serving", "console", "trainer")
    }
    # its extra names the other
    packages["console"] = (packages["console"] - {"roost"}) | packages["serving"]
    own = packages[extra]
    assert set.union(*packages.values()) - names.keys() <= {"confluent-kafka"}
    graph = grimp.build_graph(*_PACKAGES, include_external_packages=True)
    imported = set().union(*(graph.find_upstream_modules(module) for module in modules)) & set(names.values())
    assert imported <= {names[package] for package in own if package in names}
    assert imported, "nothing of the extra is imported at all: the graph did not see it"
