"""`roost dlq …`: what could not be processed, counted and shown. Reads; replays nothing."""

import base64
from typing import Annotated, Any

import typer

from roost.cli.output import emit, out, table, tell
from roost.cli.target import DEFAULT_DATA_DIR, AsJson, Bootstrap, DataDir, bootstrap_of
from roost.dead_letters import dead_letter_topics, read_dead_letters
from schemas.wire.dlq import DeadLetter

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Records that could not be processed.")

Topic = Annotated[str, typer.Argument(help="A topic, such as tweets.")]


@app.command("list")
def dlq_list(*, bootstrap: Bootstrap = None, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> None:
    """Count the entries by topic and error.

    Example: roost dlq list
    """
    broker = bootstrap_of(bootstrap, data_dir)
    counts: dict[tuple[str, str], int] = {}
    for topic in dead_letter_topics():
        for entry in read_dead_letters(broker, topic):
            counts[topic, entry.error_kind] = counts.get((topic, entry.error_kind), 0) + 1
    rows = [{"topic": topic, "error": kind, "entries": count} for (topic, kind), count in counts.items()]

    def show() -> None:
        if rows:
            table(["topic", "error", "entries #"], (row.values() for row in rows))
        else:
            tell("no dead letters")

    emit({"dead_letters": rows}, as_json=as_json, show=show)


@app.command("show")
def dlq_show(
    topic: Topic,
    *,
    limit: Annotated[int, typer.Option(help="At most this many, the newest.")] = 20,
    bootstrap: Bootstrap = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Show a topic's entries: where they were, what is wrong, and the original bytes.

    Example: roost dlq show tweets
    """
    entries = list(read_dead_letters(bootstrap_of(bootstrap, data_dir), topic))[-limit:]

    def show() -> None:
        for entry in entries:
            out.print(f"[bold]{entry.record_key.decode()}[/bold]  {entry.error_kind}")
            tell(f"  {entry.error}")
            tell(f"  key {entry.key!r}  value {(entry.value or b'')[:80]!r}")
        if not entries:
            tell(f"no dead letters of {topic}")

    emit({"topic": topic, "entries": [_entry_data(entry) for entry in entries]}, as_json=as_json, show=show)


def _entry_data(entry: DeadLetter) -> dict[str, Any]:
    data = entry.to_avro()
    for name in ("key", "value"):
        data[name] = None if data[name] is None else base64.b64encode(data[name]).decode()
    data["headers"] = [
        {"key": h["key"], "value": None if h["value"] is None else base64.b64encode(h["value"]).decode()} for h in data["headers"]
    ]
    return data
