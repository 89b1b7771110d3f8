"""Writes docs/reference/ from the code: the HTTP interface, the settings, the events and topics, the commands.

Run it after a change of any of them: `python -m tools.reference`. A test compares.
"""

import json
import re
import socket
from collections.abc import Iterator, Sequence
from inspect import cleandoc
from pathlib import Path
from typing import Any

from pydantic import AliasChoices
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

import schemas
from roost import __version__
from roost.cli.commands import COMMANDS
from roost.settings import LauncherSettings
from schemas.topics import standard_topics
from serving import api
from serving.api import RetrieveRequest
from serving.console.settings import ConsoleSettings
from serving.filling.masks import Masks
from serving.health import NodeHealth
from serving.http.app import build_routes
from serving.metrics import NodeMetrics
from serving.query.census import SurfaceCensus
from serving.query.epochs import RoutingTable
from serving.query.errors import UnknownSurface
from serving.query.explain import Explainer
from serving.query.users import UserStore
from serving.settings import NodeSettings
from streams.settings import ControllerSettings, EmbedderSettings, LabelerSettings, UserStateSettings
from trainer.options.settings import EnsembleOptions, FinetuneOptions, GateOptions, PretrainOptions
from trainer.settings import TrainerSettings

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
OPENAPI = "openapi.json"

_GENERATED = "<!-- Written by `python -m tools.reference`; edit the code instead. -->\n"
_ROLES: dict[str, type[BaseSettings]] = {
    "roost embed": EmbedderSettings,
    "roost label, the labeler": LabelerSettings,
    "roost label, user state": UserStateSettings,
    "roost control": ControllerSettings,
    "roost serve": NodeSettings,
    "roost train": TrainerSettings,
    "roost train, pre-training": PretrainOptions,
    "roost train, fine-tuning": FinetuneOptions,
    "roost train, ensembles": EnsembleOptions,
    "roost train, the gates": GateOptions,
    "roost console": ConsoleSettings,
    "roost up, roost demo": LauncherSettings,
}
_LIMITS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤"}
# what a machine puts in, and not the code
_OF_THE_MACHINE = {socket.gethostname(): "the host's name"}


def pages() -> dict[str, str]:
    """Return every page's text, by file name."""
    interface = _interface()
    return {
        OPENAPI: json.dumps(interface, indent=2, ensure_ascii=False) + "\n",
        "http.md": _page("HTTP interface", _http(interface)),
        "configuration.md": _page("Configuration", _configuration()),
        "events.md": _page("Events and topics", _events()),
        "commands.md": _page("Commands", _commands()),
    }


class _NoNode:
    def health(self) -> NodeHealth:
        """See `HasHealth`."""
        return NodeHealth("", ready=False, reasons=(), surfaces=(), users=0, masked=0, flips=0, broker_age_s=None)


async def _ask(surface: str, _: RetrieveRequest) -> bytes:
    raise UnknownSurface(f"no surface {surface!r}: nothing is served here")


def _interface() -> dict[str, Any]:
    table = RoutingTable({})
    app = build_routes(
        _ask,
        _NoNode(),
        NodeMetrics(),
        explainer=Explainer(table, UserStore(), Masks()),
        census=SurfaceCensus(table),
        version=__version__,
    )
    return app.openapi()


def _page(title: str, lines: Iterator[str]) -> str:
    return "\n".join([_GENERATED, f"# {title}", "", *lines]).rstrip() + "\n"


def _row(*cells: str) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def _table(*titles: str) -> list[str]:
    return [_row(*titles), _row(*["---"] * len(titles))]


def _configuration() -> Iterator[str]:
    yield "Each role reads its settings once, when it starts, from environment variables. A value out of its range ends the start"
    yield "with a sentence that names the variable."
    for command, settings in _ROLES.items():
        yield f"\n## {command}\n"
        yield from _table("variable", "default", "meaning")
        meanings = _attributes(settings)
        for name, found in settings.model_fields.items():
            variable = _variable(name, found, str(settings.model_config.get("env_prefix", "")))
            yield _row(f"`{variable}`", _default(found), found.description or meanings[name])


def _variable(name: str, found: FieldInfo, prefix: str) -> str:
    alias = found.validation_alias
    if isinstance(alias, AliasChoices):
        alias = str(alias.choices[0])
    return str(alias or prefix + name).upper()


def _default(found: FieldInfo) -> str:
    value = found.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, Path) and value.is_absolute():
        value = value.relative_to(FOLDER.parents[1]) if value.is_relative_to(FOLDER.parents[1]) else value.name
    if isinstance(value, float):
        # .003 / 10 is not .0003 to the last digit
        value = round(value, 12)
    text = " ".join(map(str, value)) if isinstance(value, tuple | list) else "" if value is None else str(value)
    text = _OF_THE_MACHINE.get(text, text)
    return f"`{text}`" if text else ""


def _attributes(of: type) -> dict[str, str]:
    """Return what the "Attributes:" of a class and its bases say, by name."""
    found: dict[str, str] = {}
    for kind in reversed(of.__mro__):
        found |= _meanings(cleandoc(kind.__doc__ or ""))
    return found


def _meanings(text: str) -> dict[str, str]:
    _, _, section = text.partition("Attributes:\n")
    found: dict[str, str] = {}
    for names, meaning in re.findall(r"^ {4}(\w+(?:, \w+)*): (.*(?:\n {8,}.*)*)", section, re.MULTILINE):
        found |= dict.fromkeys(names.split(", "), meaning)
    return found


def _http(interface: dict[str, Any]) -> Iterator[str]:
    yield "What a node answers, as its [OpenAPI document](openapi.json) has it, which generators of clients read. Python has"
    yield "[clients](../guides/serving.md)."
    for path, methods in interface["paths"].items():
        for method, route in methods.items():
            yield f"\n## {method.upper()} {path}\n"
            yield " ".join(route.get("description", route["summary"]).split())
            yield ""
            yield from _table("", "status", "JSON")
            if "requestBody" in route:
                yield _row("request", "", _content(route["requestBody"]))
            for status, answer in route["responses"].items():
                yield _row("answer", status, _content(answer))
    for name, schema in interface["components"]["schemas"].items():
        told = cleandoc(schema.get("description", ""))
        yield f"\n## {name}\n"
        yield " ".join(told.partition("Attributes:")[0].split())
        yield ""
        yield from _table("field", "type", "default", "meaning")
        # of its bases too, which the document does not know
        meanings = _attributes(getattr(api, name)) if hasattr(api, name) else _meanings(told)
        for field, of in schema["properties"].items():
            default = (
                "required" if field in schema.get("required", ()) else f"`{json.dumps(of['default'])}`" if "default" in of else ""
            )
            yield _row(f"`{field}`", _json_type(of), default, meanings.get(field, ""))


def _content(of: dict[str, Any]) -> str:
    (content,) = of.get("content", {"": {}}).values()
    return _json_type(content["schema"]) if content.get("schema") else "no JSON"


def _json_type(of: dict[str, Any]) -> str:
    if "$ref" in of:
        name = of["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in of:
        return " or ".join(_json_type(one) for one in of["anyOf"])
    if "const" in of or "enum" in of:
        return ", ".join(f"`{value}`" for value in of.get("enum", [of.get("const")]))
    kind = of.get("type", "any")
    if kind == "array":
        items = of.get("items") or (of["prefixItems"][0] if "prefixItems" in of else {})
        return f"array of {_json_type(items)}"
    if kind == "object" and isinstance(of.get("additionalProperties"), dict):
        return f"map to {_json_type(of['additionalProperties'])}"
    limits = [f"{sign} {of[name]:g}" for name, sign in _LIMITS.items() if name in of]
    return f"{kind} {', '.join(limits)}".strip()


def _events() -> Iterator[str]:
    yield "## Topics\n"
    yield from _table("topic", "key", "partitions", "configuration")
    for topic in standard_topics():
        config = ", ".join(f"{name}={value}" for name, value in topic.config.items())
        yield _row(f"`{topic.name}`", topic.key, str(topic.partitions), config)
    yield "\n`embeddings.<bundle>` is created for each bundle as its rollout starts, and deleted when it is retired."
    for folder in sorted((Path(schemas.__file__).parent / "avro").iterdir()):
        newest = max(folder.glob("v*.avsc"), key=lambda path: int(path.stem[1:]))
        schema = json.loads(newest.read_text(encoding="utf-8"))
        yield f"\n## {folder.name}, {newest.stem}\n"
        yield f"{schema['doc']}\n"
        yield from _table("field", "type", "meaning")
        for field in schema["fields"]:
            yield _row(f"`{field['name']}`", _type(field["type"]), field.get("doc", ""))


def _type(of: Any) -> str:
    if isinstance(of, list):
        return " or ".join(_type(branch) for branch in of)
    if not isinstance(of, dict):
        return str(of)
    if of["type"] == "array":
        return f"array of {_type(of['items'])}"
    if of["type"] == "map":
        return f"map of {_type(of['values'])}"
    return str(of.get("name", of["type"]))


def _commands() -> Iterator[str]:
    yield (
        "Exit codes: 0 done, 1 failure, 2 wrong usage, 3 refused by a gate or a limit, 4 somebody else was first, 130 and 143 "
        "interrupted. With `--json`"
    )
    yield (
        "one object is printed on standard output, of a failure too: `error`, its sentence, and `exit_code`. All else goes to "
        "standard error. `roost --install-completion` lets your shell complete commands and options."
    )
    for word, entry in COMMANDS.items():
        yield from _command([word], entry.load(word), entry.line)


def _command(words: Sequence[str], command: Any, line: str = "") -> Iterator[str]:
    yield f"\n{'#' * (1 + len(words))} roost {' '.join(words)}\n"
    told, *examples = cleandoc(command.help or line).split("\nExample: ")
    yield " ".join(told.split())
    if examples:
        yield ""
        yield from (f"    {' '.join(example.split())}" for example in examples)
    options = [option for option in command.params if option.name not in ("help", "install_completion", "show_completion")]
    if options:
        yield ""
        yield from _table("argument", "meaning")
        for option in options:
            names = option.opts if option.param_type_name == "option" else [option.name.upper()]
            yield _row(", ".join(f"`{name}`" for name in names), _meaning(option))
    for name, part in getattr(command, "commands", {}).items():
        yield from _command([*words, name], part)


def _meaning(option: Any) -> str:
    told: str = getattr(option, "help", "") or ""
    return f"{told} From `{option.envvar}` where it is not given." if option.envvar else told


if __name__ == "__main__":
    for file, text in pages().items():
        (FOLDER / file).write_text(text, encoding="utf-8")
