"""`roost users …` and `roost authors …`: erasing people, and showing what is left of them. The work is done in `roost.erasure`."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from roost.cli.checked import surfaces_of
from roost.cli.output import EXIT_FAILURE, emit, say, table, tell, to_the_minute
from roost.cli.phases_bar import phases_bar
from roost.cli.target import (
    DEFAULT_DATA_DIR,
    AsJson,
    Bootstrap,
    DataDir,
    Registry,
    Snapshots,
    SurfacesFile,
    broker_of,
    checkpoints_of,
    registry_of,
    snapshots_of,
    surfaces_file_of,
)
from schemas.errors import RoostError
from schemas.ids import check_user_id
from schemas.topics import DAY_MS, INPUTS_KEPT_MS

if TYPE_CHECKING:
    from schemas.progress import OnProgress

users = typer.Typer(no_args_is_help=True, add_completion=False, help="Delete a user, and search every place for what is left.")
authors = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Take down all that an author published, and search for what is left."
)

DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be erased, and write nothing.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
WaitS = Annotated[float, typer.Option("--wait-s", help="Seconds to wait until the roles have folded the deletes.", min=0.0)]
SnapshotsKept = Annotated[
    int, typer.Option("--snapshots-kept", envvar="ROOST_SNAPSHOTS_KEPT", help="How many of each bundle the nodes keep.", min=1)
]
TrainCache = Annotated[
    Path | None,
    typer.Option("--train-cache", envvar="ROOST_TRAIN_CACHE", help="Folder that trainings' data are kept in, as Parquet."),
]
TrainCachesKeptDays = Annotated[
    float,
    typer.Option(
        "--train-caches-kept-days", envvar="ROOST_TRAIN_CACHES_KEPT_DAYS", help="How long the schedule keeps them.", min=0
    ),
]
Checkpoints = Annotated[
    Path | None,
    typer.Option(
        "--checkpoints",
        envvar="ROOST_TRAIN_CHECKPOINTS",
        help="Folder of the states of trainings under way; the local deployment's by default.",
    ),
]
Check = Annotated[bool, typer.Option("--check", help="Exit code 1 while anything is found.")]

# what was published while the first deletes were written is found by the next look
_MOST_LOOKS = 5


def _id(name: str | None) -> str | None:
    try:
        if name is not None:
            check_user_id(name)
    except RoostError as error:
        raise typer.BadParameter(str(error)) from error
    return name


@users.command("delete")
def users_delete(
    user_id: Annotated[str, typer.Argument(callback=_id, help="The user's id.")],
    *,
    author: Annotated[
        str | None, typer.Option("--author", callback=_id, help="The user's id as an author: what it published is taken down too.")
    ] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    wait_s: WaitS = 60.0,
    bootstrap: Bootstrap = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Delete a user: profile and history count no more at once; `roost users traces` shows what is left, and until when.

    Stop what still sends events of the user first.

    Example: roost users delete u:42 --author a:42 --yes --json
    """
    from roost.erasure.user import delete_user, newest_state  # noqa: PLC0415 - Kafka and codecs, which `--help` does not need

    broker = broker_of(bootstrap, data_dir)
    with phases_bar() as progress:
        state = newest_state(broker, user_id, on_progress=progress)
        of_author = None if author is None else _author_data(broker, author, progress)
    data: dict[str, Any] = {
        "user_id": user_id,
        "known": state is not None,
        "follows": 0 if state is None else len(state.follows),
        "history": 0 if state is None else len(state.entries),
    }
    what = f"user {user_id} ({data['history']} entries of history, {data['follows']} followed)"
    if of_author is not None:
        data["author"] = of_author
        what += f" and {_author_sentence(of_author)}"
    if not _goes_on(what, dry_run=dry_run, yes=yes, as_json=as_json):
        emit({**data, "erased": False}, as_json=as_json, show=lambda: tell(f"would erase {what}"))
        return
    with phases_bar() as progress:
        erased = delete_user(broker, user_id, wait_s=wait_s, on_progress=progress)
        if author is not None:
            data["author"] |= _take_down(broker, author, progress, wait_s=wait_s)

    def show() -> None:
        tell(f"erased {what}, as of {to_the_minute(erased.erased_ms)}")
        tell(f"`roost users traces {user_id}` shows what the topics still hold, and until when")

    emit({**data, "erased": True, "erased_ms": erased.erased_ms}, as_json=as_json, show=show)


@authors.command("takedown")
def authors_takedown(
    author_id: Annotated[str, typer.Argument(callback=_id, help="The author's id, as the tweets name it.")],
    *,
    dry_run: DryRun = False,
    yes: Yes = False,
    wait_s: WaitS = 60.0,
    bootstrap: Bootstrap = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Take down all that an author published, and take the author's name out of every user's follows and history.

    No node answers with it once the embedder has folded the deletes, which this waits for. Stop the author's producer first.

    Example: roost authors takedown a:42 --dry-run
    """
    broker = broker_of(bootstrap, data_dir)
    with phases_bar() as progress:
        data = _author_data(broker, author_id, progress)
    what = _author_sentence(data)
    if not _goes_on(what, dry_run=dry_run, yes=yes, as_json=as_json):
        emit({**data, "erased": False}, as_json=as_json, show=lambda: tell(f"would erase {what}"))
        return
    with phases_bar() as progress:
        data |= _take_down(broker, author_id, progress, wait_s=wait_s)

    def show() -> None:
        tell(f"took down {what}")
        tell(f"`roost authors traces {author_id}` shows what the topics and snapshots still hold, and until when")

    emit({**data, "erased": True}, as_json=as_json, show=show)


@users.command("traces")
@authors.command("traces")
def traces(
    name: Annotated[str, typer.Argument(metavar="ID", callback=_id, help="The id to search for, a user's or an author's.")],
    *,
    check: Check = False,
    snapshots: Snapshots = None,
    snapshots_kept: SnapshotsKept = 2,
    train_cache: TrainCache = None,
    train_caches_kept_days: TrainCachesKeptDays = INPUTS_KEPT_MS / DAY_MS,
    checkpoints: Checkpoints = None,
    registry: Registry = None,
    surfaces: SurfacesFile = None,
    bootstrap: Bootstrap = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Search every topic, snapshot, bundle, training and log for an id: where it still is, why, and until when at the latest.

    Reads all that the topics hold. The files are those of this machine: run it on every node, and where trainings run.

    Example: roost users traces u:42 --check --json --snapshots /var/lib/roost/snapshots

    Example: roost authors traces a:42
    """
    from roost.erasure.search import NOT_SEARCHED, Places, search  # noqa: PLC0415 - Kafka, codecs and numpy, which `--help` does not need

    places = Places(
        bootstrap=broker_of(bootstrap, data_dir),
        snapshots=snapshots_of(snapshots, data_dir),
        snapshots_kept=snapshots_kept,
        folders={
            registry_of(registry, data_dir).folder: None,
            checkpoints_of(checkpoints, data_dir): None,
            **({} if train_cache is None else {train_cache: int(train_caches_kept_days * DAY_MS)}),
            data_dir.resolve() / "logs": None,
        },
        surfaces=surfaces_of(surfaces_file_of(surfaces, data_dir)),
    )
    with phases_bar() as progress:
        found = search(places, name, on_progress=progress)
    data = {
        "id": name,
        "searched": list(found.searched),
        "not_searched": list(NOT_SEARCHED),
        "traces": [asdict(trace) for trace in found.traces],
        "until_ms": found.until_ms,
    }

    def show() -> None:
        rows = (
            (t.place, t.count, t.at, "for ever" if t.until_ms is None else to_the_minute(t.until_ms), t.sentence)
            for t in found.traces
        )
        if found.traces:
            table(["where", "how many #", "such as", "gone by", "why"], rows)
        else:
            tell(f"{name} is nowhere")
        tell(f"searched: {', '.join(found.searched)}")
        tell(f"not searched: {', '.join(NOT_SEARCHED)}")

    emit(data, as_json=as_json, show=show)
    if check and found.traces:
        raise typer.Exit(EXIT_FAILURE)


def _goes_on(what: str, *, dry_run: bool, yes: bool, as_json: bool) -> bool:
    if dry_run or yes:
        return not dry_run
    if as_json:
        raise typer.BadParameter("--json asks nothing; add --yes, or --dry-run to see what would be erased")
    typer.confirm(f"Erase {what}? It cannot be undone.", abort=True, err=True)
    return True


def _author_data(broker: str, author_id: str, progress: "OnProgress") -> dict[str, Any]:
    from roost.erasure.author import work_of  # noqa: PLC0415 - as above

    work = work_of(broker, author_id, on_progress=progress)
    return {
        "author_id": author_id,
        "candidates": list(work.candidate_ids),
        "followers": len(work.followers),
        "states": len(work.states),
    }


def _author_sentence(data: dict[str, Any]) -> str:
    return (
        f"author {data['author_id']} ({len(data['candidates'])} candidates, "
        f"{data['followers']} followers, named in the states of {data['states']} users)"
    )


def _take_down(broker: str, author_id: str, progress: "OnProgress", *, wait_s: float) -> dict[str, Any]:
    from roost.erasure.author import take_down, work_of  # noqa: PLC0415 - as above

    began_s = time.monotonic()
    taken: set[str] = set()
    for _ in range(_MOST_LOOKS):
        work = work_of(broker, author_id, on_progress=progress)
        if not work.candidate_ids and not work.states:
            return {"candidates": sorted(taken), "took_s": round(time.monotonic() - began_s, 2)}
        say(f"{len(work.candidate_ids)} candidates, {len(work.states)} states")
        take_down(broker, work, wait_s=wait_s, on_progress=progress)
        taken |= set(work.candidate_ids)
    raise RoostError(f"{author_id} still publishes; stop its producer and run this again")
