"""`roost topics …`: the topics that every deployment needs, created, checked or altered. The rules are `schemas.topics`'."""

from dataclasses import asdict
from typing import Annotated

import typer

from roost.cli.checked import surfaces_of
from roost.cli.output import EXIT_FAILURE, emit, table, tell
from roost.cli.target import DEFAULT_DATA_DIR, AsJson, Bootstrap, DataDir, SurfacesFile, bootstrap_of, surfaces_file_of
from schemas.topics import DEFAULT_PARTITIONS, standard_topics
from schemas.wire.admin import alter_topics, check_topics, create_topics, topic_faults, wait_for_broker

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Create the topics on your own cluster, check or alter them.")

Partitions = Annotated[
    int, typer.Option(envvar="ROOST_PARTITIONS", help="Of every topic keyed by candidate or by user; all roles' must agree.", min=1)
]
WaitS = Annotated[float, typer.Option("--wait-s", help="Seconds to wait for a broker.", min=0.0)]


@app.command()
def create(
    *,
    replication: Annotated[int, typer.Option(envvar="ROOST_REPLICATION", help="Copies of every topic.", min=1)] = 1,
    partitions: Partitions = DEFAULT_PARTITIONS,
    wait_s: WaitS = 60.0,
    bootstrap: Bootstrap = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Create the topics that are missing and check the others; done twice, it changes nothing the second time.

    Example: roost topics create --bootstrap kafka:9092 --replication 3
    """
    wanted = standard_topics(partitions)
    admin = wait_for_broker(bootstrap_of(bootstrap, data_dir), timeout_s=wait_s)
    created = sorted(create_topics(admin, wanted, replication=replication))

    def show() -> None:
        for name in created:
            tell(f"created {name}")
        tell(f"{len(wanted)} topics are as they must be, {len(created)} of them new")

    emit({"created": created, "topics": len(wanted)}, as_json=as_json, show=show)


@app.command()
def check(
    *,
    partitions: Partitions = DEFAULT_PARTITIONS,
    wait_s: WaitS = 60.0,
    bootstrap: Bootstrap = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Check that every topic is as the roles rely on it; exit code 1 and a sentence on the first that is missing or differs.

    Example: roost topics check --bootstrap kafka:9092
    """
    wanted = standard_topics(partitions)
    check_topics(wait_for_broker(bootstrap_of(bootstrap, data_dir), timeout_s=wait_s), wanted)
    emit({"topics": len(wanted)}, as_json=as_json, show=lambda: tell(f"{len(wanted)} topics are as they must be"))


@app.command()
def alter(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be set, and set nothing.")] = False,
    surfaces: SurfacesFile = None,
    partitions: Partitions = DEFAULT_PARTITIONS,
    wait_s: WaitS = 60.0,
    bootstrap: Bootstrap = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Set what differs in the topics' configuration to what the roles rely on, such as after an upgrade.

    Exit code 1 when something is left that no setting mends: a topic that is missing, or another count of partitions.

    Example: roost topics alter --bootstrap kafka:9092 --dry-run
    """
    from roost.topics_in_use import rollouts_at, topics_in_use  # noqa: PLC0415 - the controller's client, which `--help` does not need

    broker = bootstrap_of(bootstrap, data_dir)
    configured = surfaces_of(surfaces_file_of(surfaces, data_dir))
    admin = wait_for_broker(broker, timeout_s=wait_s)
    wanted = topics_in_use(rollouts_at(admin, broker), configured, partitions)
    faults = topic_faults(admin, wanted)
    if not dry_run:
        alter_topics(admin, faults)
    rows = [{"topic": fault.topic, **asdict(fault.setting)} for fault in faults if fault.setting is not None]
    left = [fault.sentence for fault in faults if fault.setting is None]

    def show() -> None:
        if rows:
            now = ("is", "would be") if dry_run else ("was", "is now")
            table(["topic", "setting", *now], (row.values() for row in rows))
        for sentence in left:
            tell(f"{sentence}; no setting mends that")
        tell(f"{len(rows)} settings of {len(wanted)} topics {'would be' if dry_run else 'were'} altered")

    emit({"dry_run": dry_run, "settings": rows, "left": left, "topics": len(wanted)}, as_json=as_json, show=show)
    if left:
        raise typer.Exit(EXIT_FAILURE)
