"""`roost explain`: why a candidate was or was not retrieved, with its way through the topics. Parses, asks, prints."""

import time
from datetime import datetime
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from roost.cli.checked import surface_named, surfaces_of
from roost.cli.data import age
from roost.cli.output import emit, out, table, tell
from roost.cli.phases_bar import phases_bar
from roost.cli.target import (
    DEFAULT_DATA_DIR,
    DEFAULT_SURFACE,
    AsJson,
    Bootstrap,
    DataDir,
    NodeUrl,
    Registry,
    SchemaRegistry,
    Surface,
    SurfacesFile,
    broker_of,
    bundle_id_of,
    checked_bundle,
    checked_url,
    node_url_of,
    surfaces_file_of,
)
from schemas.errors import RoostError
from schemas.ids import check_candidate_id


def _candidate(candidate_id: str) -> str:
    try:
        check_candidate_id(candidate_id)
    except RoostError as error:
        raise typer.BadParameter(str(error)) from error
    return candidate_id


def explain(
    *,
    user: Annotated[str, typer.Option("--user", "-u", help="User id.")],
    candidate: Annotated[str, typer.Option("--candidate", "-c", callback=_candidate, help="Candidate id, such as t:42.")],
    surface: Surface = DEFAULT_SURFACE,
    at: Annotated[
        str | None, typer.Option("--at", help="A moment of the past: Unix milliseconds, or such as 2026-11-25T04:00:00+00:00.")
    ] = None,
    k: Annotated[int, typer.Option("--k", "-k", help="How many candidates the answer has.", min=1, max=1000)] = 200,
    language: Annotated[list[str] | None, typer.Option("--language", help="As the query's; may be repeated.")] = None,
    max_age_s: Annotated[float | None, typer.Option(help="As the query's.")] = None,
    pin: Annotated[
        str | None,
        typer.Option("--pin", callback=checked_bundle, help="Ask this bundle, or alias, instead of the one that answers the user."),
    ] = None,
    surfaces: SurfacesFile = None,
    node: NodeUrl = None,
    bootstrap: Bootstrap = None,
    registry: Registry = None,
    schema_registry: SchemaRegistry = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Say why a candidate is, or is not, in a user's answer.

    Its way from publish to retrievable is told for each epoch, from what the topics still hold.

    Example: roost explain --user u:42 --candidate t:1234

    Example: roost explain --user u:42 --candidate t:1234 --at 2026-11-25T04:00:00+00:00
    """
    from roost.explain.report import of_now, of_then  # noqa: PLC0415 - needs httpx and Kafka, `--help` does not
    from schemas.wire.registry import registry_schemas  # noqa: PLC0415 - as above
    from serving.client import Client, ExplainRequest  # noqa: PLC0415 - as above

    configured = surface_named(surface, surfaces_of(surfaces_file_of(surfaces, data_dir)))
    schema_registry = schema_registry and checked_url(schema_registry, example="http://127.0.0.1:8081")
    at_ms = None if at is None else _moment(at)
    pin = pin and bundle_id_of(pin, surface, registry=registry, data_dir=data_dir)
    languages = None if language is None else tuple(language)
    try:
        request = ExplainRequest(candidate_id=candidate, user_id=user, k=k, languages=languages, max_age_s=max_age_s, pin=pin)
    except ValidationError as error:
        fault = error.errors()[0]
        raise typer.BadParameter(f"{fault['loc'][0]}: {fault['msg']}") from error
    broker = broker_of(bootstrap, data_dir)
    if at_ms is not None:
        with registry_schemas(schema_registry) as lookup, phases_bar() as progress:
            data = of_then(broker, configured, user, candidate, at_ms=at_ms, lookup=lookup, on_progress=progress)
    else:
        with (
            Client(node_url_of(node, data_dir), timeout_s=30.0) as client,
            registry_schemas(schema_registry) as lookup,
            phases_bar() as progress,
        ):
            data = of_now(broker, configured, client, request, lookup=lookup, on_progress=progress)
    emit(data, as_json=as_json, show=lambda: _show(data))


def _moment(text: str) -> int:
    try:
        at_ms = int(text) if text.isdigit() else round(datetime.fromisoformat(text).astimezone().timestamp() * 1000)
    except ValueError:
        raise typer.BadParameter(f"--at {text!r} is neither Unix milliseconds nor such as 2026-11-25T04:00:00+00:00") from None
    if at_ms > time.time_ns() // 1_000_000:
        raise typer.BadParameter(f"--at {text} lies in the future")
    return at_ms


def _show(data: dict[str, Any]) -> None:
    tell(f"{data['why']}: {data['sentence']}")
    places = {
        name: data[name]
        for name in ("bundle", "arm", "revision", "rank", "exact_rank", "score", "last_score")
        if data.get(name) is not None
    }
    table(["", " #"], ((name, f"{value:.4f}" if isinstance(value, float) else value) for name, value in places.items()))
    out.print()
    first_ms = data["timeline"][0]["at_ms"] if data["timeline"] else 0
    rows = (
        (_clock(step["at_ms"]), age((step["at_ms"] - first_ms) / 1000), step["what"], step["bundle"] or "", _record(step))
        for step in data["timeline"]
    )
    if data["timeline"]:
        table(["at", "since #", "what", "bundle", "record"], rows, title="What the topics still hold of it")
    for epoch in data.get("epochs", ()):
        tell(f"{epoch['bundle']} ({epoch['stage']}): {epoch['sentence']}")


def _clock(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000).astimezone().strftime("%H:%M:%S.%f")[:-3]


def _record(step: dict[str, Any]) -> str:
    return f"{step['topic']}/{step['partition']}/{step['offset']}"
