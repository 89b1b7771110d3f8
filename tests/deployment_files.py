"""docker/ as tests read it: the compose file with its services, and the Dockerfile with its stages. Holds no test."""

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
DOCKER = ROOT / "docker"


@dataclass
class Stage:
    """One target of the Dockerfile, with what it inherits from the stages it stands on."""

    base: str
    instructions: list[tuple[str, str]] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    user: str = ""
    entrypoint: list[str] = field(default_factory=list)
    health_command: list[str] | None = None
    copied_from: set[str] = field(default_factory=set)


def stages() -> dict[str, Stage]:
    """Return the Dockerfile's stages by name, in its order."""
    found: dict[str, Stage] = {}
    current: Stage | None = None
    for word, rest in _instructions((DOCKER / "Dockerfile").read_text()):
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            parent = found.get(base)
            current = found[name] = Stage(base)
            if parent is not None:
                current.environment = dict(parent.environment)
                current.user, current.entrypoint = parent.user, parent.entrypoint
                current.health_command, current.copied_from = parent.health_command, set(parent.copied_from)
        elif current is not None:
            _apply(current, word, rest)
    return found


def compose() -> dict[str, Any]:
    """Return the compose file, its anchors resolved."""
    return dict(yaml.safe_load((DOCKER / "compose.yaml").read_text()))


@dataclass(frozen=True)
class RoleService:
    """A service that runs `roost`.

    Attributes:
        arguments: the words behind `roost`.
        environment: of the image, and the service's own over it.
        health_command: None where the image has no check.
    """

    name: str
    stage: Stage
    service: dict[str, Any]
    arguments: tuple[str, ...]
    environment: dict[str, str]
    health_command: list[str] | None


def role_services() -> dict[str, RoleService]:
    """Return the services that this project builds, by name."""
    by_target = stages()
    found = {}
    for name, service in compose()["services"].items():
        if "build" not in service:
            continue
        stage = by_target[service["build"]["target"]]
        words = [*stage.entrypoint, *service.get("command", ())]
        assert words[0] == "roost"
        environment = {**stage.environment, **service.get("environment", {})}
        found[name] = RoleService(name, stage, service, tuple(words[1:]), environment, stage.health_command)
    return found


def metrics_port(environment: Mapping[str, str]) -> str | None:
    """Return the port on which a role with this environment answers Prometheus; None for one that does not."""
    names = ("ROOST_METRICS_PORT", "ROOST_HTTP_PORT", "ROOST_CONSOLE_PORT")
    return next((environment[name] for name in names if name in environment), None)


def _instructions(text: str) -> list[tuple[str, str]]:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in joined.splitlines()]


def _apply(stage: Stage, word: str, rest: str) -> None:
    stage.instructions.append((word, rest))
    if word == "ENV":
        stage.environment.update(dict(pair.split("=", 1) for pair in shlex.split(rest)))
    elif word == "USER":
        stage.user = rest.strip()
    elif word == "ENTRYPOINT":
        # the shell form is no JSON and raises here: a shell as process 1 keeps SIGTERM to itself
        stage.entrypoint = json.loads(rest)
    elif word == "HEALTHCHECK":
        stage.health_command = None if rest.strip() == "NONE" else json.loads(rest.partition("CMD")[2])
    elif word == "COPY" and (source := re.search(r"--from=(\S+)", rest)):
        stage.copied_from.add(source.group(1))
