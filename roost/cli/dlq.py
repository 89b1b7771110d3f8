"""`roost dlq …`: what could not be processed, counted, shown and sent again. The work is `roost.dead_letters`'."""

import base64
from collections import Counter, defaultdict
from typing import Annotated, Any

import typer
from rich.progress import Progress

from roost.cli.output import emit, err, out, say, table, tell, to_the_minute
from roost.cli.phases_bar import phases_bar
from roost.cli.target import DEFAULT_DATA_DIR, AsJson, Bootstrap, DataDir, broker_of
from roost.dead_letters import dead_letter_topics, read_dead_letters, send_again, without_dead_letter_topic
from schemas.codec import schema_name
from schemas.errors import RoostError
from schemas.topics import dlq
from schemas.wire.dlq import DeadLetter

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Records that could not be processed.")


def _checked_topic(topic: str) -> str:
    known = dead_letter_topics()
    if topic not in known:
        raise typer.BadParameter(f"{topic[:64]!r} has no dead letters; choose of {', '.join(known)}")
    return topic


# topic, kind of error, producer, schema id
_Group = tuple[str, str, str | None, int | None]

Topic = Annotated[str, typer.Argument(callback=_checked_topic, help="A topic, such as tweets.")]


@app.command("list")
def dlq_list(*, bootstrap: Bootstrap = None, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> None:
    """Count the entries by topic, error, the producer that wrote them, and the schema they were written with.

    A producer is told by the name that it gave itself (`Producer(..., name="timeline-writer")`, or a header `roost-producer`); one
    without a name by its schema, which tells one release from another.

    Example: roost dlq list
    """
    broker = broker_of(bootstrap, data_dir)
    counts: Counter[_Group] = Counter()
    newest_ms: dict[_Group, int] = defaultdict(int)
    missing = without_dead_letter_topic(broker)
    with phases_bar() as progress:
        for topic in (topic for topic in dead_letter_topics() if topic not in missing):
            for entry in read_dead_letters(broker, topic, on_progress=progress):
                group = (topic, entry.error_kind, entry.producer, entry.schema_id)
                counts[group] += 1
                newest_ms[group] = max(newest_ms[group], entry.timestamp_ms)
    rows: list[dict[str, Any]] = [
        {
            "topic": group[0],
            "error": group[1],
            "producer": group[2],
            "schema": schema_name(group[3]),
            "schema_id": group[3],
            "entries": count,
            "newest_ms": newest_ms[group],
        }
        for group, count in counts.items()
    ]

    def show() -> None:
        if rows:
            table(
                ["topic", "error", "producer", "written with", "entries #", "newest"],
                (
                    (r["topic"], r["error"], r["producer"] or "unnamed", r["schema"], r["entries"], to_the_minute(r["newest_ms"]))
                    for r in rows
                ),
            )
        else:
            tell("no dead letters")

    emit({"dead_letters": rows, "missing": [dlq(topic) for topic in missing]}, as_json=as_json, show=show)
    for topic in missing:
        say(f"roost: topic {dlq(topic)} does not exist at {broker}; `roost topics create` creates it")


@app.command("show")
def dlq_show(
    topic: Topic,
    *,
    limit: Annotated[int, typer.Option(help="At most this many, the newest.", min=1)] = 20,
    bootstrap: Bootstrap = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Show a topic's entries: where and when they were, what is wrong, the schema they name, the original bytes and headers.

    Example: roost dlq show tweets
    """
    with phases_bar() as progress:
        entries = list(read_dead_letters(broker_of(bootstrap, data_dir), topic, on_progress=progress))[-limit:]

    def show() -> None:
        for entry in entries:
            out.print(f"[bold]{entry.record_key.decode()}[/bold]  {entry.error_kind}, tried {entry.attempts} times")
            tell(f"  {entry.error}")
            by = entry.producer or "a producer without a name"
            tell(f"  appended {to_the_minute(entry.timestamp_ms)}  by {by}, written with {schema_name(entry.schema_id)}")
            tell(f"  key {entry.key!r}  value {(entry.value or b'')[:80]!r}")
            if entry.headers:
                tell(f"  headers {', '.join(f'{header.key}={header.value!r}' for header in entry.headers)}")
        if not entries:
            tell(f"no dead letters of {topic}")

    emit({"topic": topic, "entries": [_entry_data(entry) for entry in entries]}, as_json=as_json, show=show)


@app.command("replay")
def dlq_replay(
    topics: Annotated[list[str] | None, typer.Argument(help="Topics whose letters are sent again.", show_default=False)] = None,
    *,
    entry: Annotated[
        list[str] | None, typer.Option("--entry", help="Only this one, topic/partition/offset; may be repeated.")
    ] = None,
    error: Annotated[str | None, typer.Option("--error", help="Only those whose error, its class or its text, holds this.")] = None,
    producer: Annotated[str | None, typer.Option("--producer", help="Only those of the producer of this name.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent, and send nothing.")] = False,
    bootstrap: Bootstrap = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Send letters to their topic again, with their original key, value and headers, once what was wrong is mended.

    Example: roost dlq replay tweets --error UnknownSchema --dry-run

    Example: roost dlq replay engagements --producer timeline-writer

    An entry is removed when its record is acknowledged. A record that fails again is a new entry, and its attempts are counted on.
    """
    chosen = _chosen_topics(topics, entry)
    broker = broker_of(bootstrap, data_dir)
    letters = _selected(broker, chosen, entry, error, producer)
    if not dry_run and letters:
        with Progress(console=err) as progress:
            task = progress.add_task("sending", total=len(letters))
            send_again(broker, letters, on_progress=lambda done: progress.update(task, completed=done))
    rows = [
        {"entry": letter.record_key.decode(), "attempts": letter.attempts, "error_kind": letter.error_kind, "error": letter.error}
        for letter in letters
    ]

    def show() -> None:
        if rows:
            table(["entry", "tried #", "error", ""], (row.values() for row in rows))
        tell(f"{len(rows)} records {'would be' if dry_run else 'were'} sent again")

    emit({"dry_run": dry_run, "sent": 0 if dry_run else len(rows), "letters": rows}, as_json=as_json, show=show)


def _chosen_topics(topics: list[str] | None, entries: list[str] | None) -> list[str]:
    topics = topics or sorted({entry.partition("/")[0] for entry in entries or ()})
    if not topics:
        raise typer.BadParameter("name a topic, or an --entry of `roost dlq show`")
    # named twice, its letters would be sent twice
    return [_checked_topic(topic) for topic in dict.fromkeys(topics)]


def _selected(
    bootstrap: str, topics: list[str], entries: list[str] | None, error: str | None, producer: str | None
) -> list[DeadLetter]:
    wanted = set(entries or ())
    with phases_bar() as progress:
        found = [
            letter
            for topic in topics
            for letter in read_dead_letters(bootstrap, topic, on_progress=progress)
            if (not wanted or letter.record_key.decode() in wanted)
            and (error is None or error in letter.error_kind or error in letter.error)
            and producer in (None, letter.producer)
        ]
    if missing := wanted - {letter.record_key.decode() for letter in found}:
        raise RoostError(f"no such entry: {', '.join(sorted(missing))}; nothing was sent. `roost dlq show TOPIC` lists them")
    if wanted and (left_out := sorted(letter.record_key.decode() for letter in found if letter.left_out)):
        raise RoostError(
            f"too large for a dead letter: {', '.join(left_out)}; nothing was sent. Their producer must send them anew"
        )
    # a null in its place would be a delete
    return [letter for letter in found if not letter.left_out]


def _entry_data(entry: DeadLetter) -> dict[str, Any]:
    data = entry.to_avro() | {"producer": entry.producer}
    for name in ("key", "value"):
        data[name] = None if data[name] is None else base64.b64encode(data[name]).decode()
    data["headers"] = [
        {"key": h["key"], "value": None if h["value"] is None else base64.b64encode(h["value"]).decode()} for h in data["headers"]
    ]
    return data
