"""`roost topics …`: the topics that every deployment needs, created or checked. The rules are `schemas.topics`'."""

from typing import Annotated

import typer

from roost.cli.output import emit, tell
from roost.cli.target import DEFAULT_DATA_DIR, AsJson, Bootstrap, DataDir, bootstrap_of
from schemas.topics import DEFAULT_PARTITIONS, standard_topics
from schemas.wire.admin import check_topics, create_topics, wait_for_broker

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Create the topics on your own cluster, or check them.")

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
