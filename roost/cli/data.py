"""`roost publish`, `replay` and `query`: events in, answers out. Parses words; the work is done elsewhere."""

import re
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from roost.cli.output import EXIT_FAILURE, emit, err, out, say, table, tell
from roost.cli.phases_bar import phases_of
from roost.cli.steps_bar import steps_bar
from roost.cli.target import DEFAULT_DATA_DIR, DEFAULT_SURFACE, AsJson, Bootstrap, DataDir, NodeUrl, Surface, broker_of, node_url_of
from roost.publish import TOPICS, publish_file
from roost.retrievable import wait_until_retrievable
from schemas.errors import RoostError
from schemas.positions import SOURCE_TOPICS
from schemas.progress import OnProgress
from serving.client import Answer, Client
from streams.producer import Producer


def publish(
    topic: Annotated[str, typer.Argument(help=f"One of {', '.join(TOPICS)}.")],
    file: Annotated[
        Path, typer.Argument(help=".jsonl, .avro or .parquet; - reads JSON lines from standard input.", allow_dash=True)
    ],
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Return once every live node reflects what was just published.")] = False,
    timeout_s: Annotated[float, typer.Option(help="How long --wait waits, in seconds.", min=0)] = 30.0,
    bootstrap: Bootstrap = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Publish events from a file; returns once the broker acknowledged them all.

    Example: roost publish tweets tweets.jsonl

    Example: roost publish tweets tweets.jsonl --wait
    """
    if topic not in TOPICS:
        raise typer.BadParameter(f"nothing is published to {topic!r} by hand; choose one of {', '.join(TOPICS)}")
    if wait and topic not in SOURCE_TOPICS:
        raise typer.BadParameter(f"--wait is for {', '.join(SOURCE_TOPICS)}: nothing of {topic} is retrieved")
    broker = broker_of(bootstrap, data_dir)
    with _events_bar() as progress, Producer(broker) as producer:
        count = publish_file(topic, None if str(file) == "-" else file, producer, on_progress=progress)
    data: dict[str, Any] = {"topic": topic, "acknowledged": count, "written": producer.written}
    if not wait:
        emit(data, as_json=as_json, show=lambda: tell(f"{count} events acknowledged on {topic}"))
        return
    started_s = time.monotonic()
    with _events_bar() as progress:
        lacks = wait_until_retrievable(broker, producer.written, timeout_s=timeout_s, on_progress=progress)
    data |= {"retrievable": not lacks, "waited_s": round(time.monotonic() - started_s, 3), "lacking": lacks}

    def show() -> None:
        if not lacks:
            tell(f"{count} events acknowledged on {topic}; every live node reflects them after {data['waited_s']:.1f} s")
            return
        tell(f"{count} events acknowledged on {topic}; not on every live node after {timeout_s:g} s:")
        for sentence in lacks:
            tell(f"  {sentence}")

    emit(data, as_json=as_json, show=show)
    if lacks:
        raise typer.Exit(EXIT_FAILURE)


def query(
    *,
    surface: Surface = DEFAULT_SURFACE,
    user: Annotated[str, typer.Option("--user", "-u", help="User id.")],
    k: Annotated[int, typer.Option("--k", "-k", help="How many candidates.", min=1, max=1000)] = 20,
    context: Annotated[
        list[str] | None, typer.Option("--context", help="key=value of the request's context; may be repeated.")
    ] = None,
    language: Annotated[list[str] | None, typer.Option("--language", help="Only these languages; may be repeated.")] = None,
    max_age_s: Annotated[float | None, typer.Option(help="Only candidates younger than this many seconds.")] = None,
    exclude: Annotated[list[str] | None, typer.Option("--exclude", help="Never this candidate; may be repeated.")] = None,
    author: Annotated[list[str] | None, typer.Option("--author", help="Only of these authors; may be repeated.")] = None,
    exclude_author: Annotated[
        list[str] | None, typer.Option("--exclude-author", help="Never of this author; may be repeated.")
    ] = None,
    max_per_author: Annotated[int | None, typer.Option(help="Of each author at most so many, the best.", min=1, max=1000)] = None,
    min_offset: Annotated[
        list[str] | None,
        typer.Option("--min-offset", help="TOPIC/PARTITION/NEXT_OFFSET that the index must reflect; may be repeated."),
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Score every candidate, to see what the index should have found.")] = False,
    liked: Annotated[
        bool, typer.Option("--liked", help="First show what a user of a replayed data set rated highest, to judge the answer by.")
    ] = False,
    node: NodeUrl = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Retrieve candidates for a user.

    Example: roost query --surface home-timeline --user u:42 --k 10

    Example: roost query --surface movies --user ml-42 --liked

    Example: roost query --user u:42 --min-offset tweets/3/1042
    """
    positions = _positions(min_offset or ())
    pairs = [pair.partition("=") for pair in context or ()]
    if bad := [name for name, equals, _ in pairs if not equals]:
        raise typer.BadParameter(f"--context {bad[0]!r} is not key=value")
    with Client(node_url_of(node, data_dir)) as client:
        answer = client.retrieve(
            surface,
            user_id=user,
            k=k,
            context={name: value for name, _, value in pairs},
            languages=language,
            max_age_s=max_age_s,
            exclude=exclude or (),
            authors=author,
            exclude_authors=exclude_author or (),
            max_per_author=max_per_author,
            min_offset=positions,
            exact=exact,
        )
    favourites = _favourites(user) if liked else None

    def show() -> None:
        if favourites is not None:
            table(
                ["stars #", "liked"], ((f"{film['stars']:g}", film["text"]) for film in favourites), title=f"{user} rated highest"
            )
            out.print()
        print_answer(answer)

    emit(asdict(answer) | ({} if favourites is None else {"liked": favourites}), as_json=as_json, show=show)


def replay(
    dataset: Annotated[str, typer.Argument(help="movielens-100k.")],
    *,
    speed: Annotated[float, typer.Option(help="Data seconds a second; 0 = as fast as the broker acknowledges.", min=0)] = 0.0,
    first: Annotated[int | None, typer.Option(help="Only so many ratings, the first.", min=1, show_default="all")] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Return once the labeler has made an example of each rating: all are there to train on.")
    ] = False,
    timeout_s: Annotated[float, typer.Option(help="How long --wait waits, in seconds.", min=0)] = 900.0,
    bootstrap: Bootstrap = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Play recorded interactions through the same topics as live traffic.

    Example: roost replay movielens-100k --speed 0

    Example: roost replay movielens-100k --wait
    """
    from lab.replay import examples_from_now, lacking  # noqa: PLC0415 - only this command needs the data set
    from lab.replay import replay as play  # noqa: PLC0415 - as above

    broker = broker_of(bootstrap, data_dir)
    with ExitStack() as stack:
        examples = stack.enter_context(examples_from_now(broker)) if wait else None
        with _events_bar() as progress, Producer(broker) as producer:
            summary = play(dataset, producer, speed=speed, count=first, on_progress=partial(progress, dataset))
        data: dict[str, Any] = {"dataset": dataset, **summary}
        if examples is not None:
            started_s = time.monotonic()
            with steps_bar("examples") as told:
                lacks = lacking(examples, summary["impressions"], timeout_s=timeout_s, on_progress=told)
            data |= {"waited_s": round(time.monotonic() - started_s, 3), "without_example": lacks}

    def show() -> None:
        table(["", " #"], ((name, f"{value:.1f}" if isinstance(value, float) else value) for name, value in data.items()))

    emit(data, as_json=as_json, show=show)
    if data.get("without_example"):
        say(
            f"roost: {data['without_example']:,} of {summary['impressions']:,} ratings have no example after {timeout_s:g} s; "
            "does `roost label` run? `roost doctor` says how far it is"
        )
        raise typer.Exit(EXIT_FAILURE)


def print_answer(answer: Answer, *, to: Console = out) -> None:
    """Print an answer as a table for people."""
    cold = ", a user never seen: answered from context" if answer.cold else ""
    table(
        ["#", "candidate", "score #", "language", "age #", "text"],
        ((c.rank, c.candidate_id, f"{c.score:.3f}", c.language, age(c.age_s), c.text) for c in answer.candidates),
        title=f"{answer.surface}: {len(answer.candidates)} candidates by bundle {answer.bundle}{cold}",
        to=to,
    )


def age(seconds: float) -> str:
    """Return an age for people: 850 ms, 12 s, 5 min, 3 h, 2 d."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    for unit, size in (("s", 60.0), ("min", 60.0), ("h", 24.0)):
        if seconds < size:
            return f"{seconds:.0f} {unit}"
        seconds /= size
    return f"{seconds:.0f} d"


def _positions(places: Iterable[str]) -> dict[str, dict[int, int]]:
    positions: dict[str, dict[int, int]] = {}
    for place in places:
        parts = re.fullmatch(r"([a-z-]+)/(\d+)/(\d+)", place)
        if parts is None:
            raise typer.BadParameter(f"--min-offset {place!r} is not TOPIC/PARTITION/NEXT_OFFSET, such as tweets/3/1042")
        positions.setdefault(parts[1], {})[int(parts[2])] = int(parts[3])
    return positions


@contextmanager
def _events_bar() -> Iterator[OnProgress]:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}: {task.completed:,.0f} events"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err) as progress:
        yield phases_of(progress, progress.add_task("", visible=False))


def _favourites(user: str) -> list[dict[str, Any]]:
    from lab.replay import liked  # noqa: PLC0415 - only this option needs the data set

    films = liked(user)
    if not films:
        raise RoostError(f"{user!r} liked nothing in the replayed data set; its users are ml-1 to ml-943")
    return [{"candidate_id": film.candidate_id, "text": film.text, "stars": film.stars} for film in films]
