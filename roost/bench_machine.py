"""A machine of its own for a benchmark: broker and roles on temporary data, one bundle live, nothing in the index."""

import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lab.bench.freshness import Target
from lab.bench.swap import Target as SwapTarget
from roost.broker.config import free_port
from roost.machine.machine import Machine, MachinePlan
from roost.machine.role_process import RoleProcess
from roost.settings import LauncherSettings
from roost.whole_file import write_whole
from schemas.errors import RoostError
from schemas.records.control import CommandKind, RolloutCommand
from schemas.surfaces import WRITE_TIME, Surface, load_surfaces
from serving.client import Client
from streams.controller.client import RolloutClient

SURFACE = "home-timeline"
SURFACES_TOML = """\
# A benchmark's only surface: as shipped; nothing of a run of minutes leaves its window of two days.
[home-timeline]
candidate_topic = "tweets"
id_prefix = "t:"
feature_spec = "tweet-v1"
dim = 64
popularity = "engagements"
refresh = "{refresh}"
label_window_s = 1800
recency_window_s = 172800
"""

MakeBundle = Callable[[Path, Surface], str]


@contextmanager
def bench_machine(
    make_bundle: MakeBundle,
    *,
    settings: LauncherSettings,
    roles: tuple[str, ...],
    refresh: str,
    keep: Path | None,
    say: Callable[[str], None],
) -> Iterator[Target]:
    """Start a machine with a live bundle, stop it at the end and remove its data.

    Args:
        make_bundle: publishes a bundle for a surface into a registry folder and returns its id.
        refresh: the surface's refresh policy, as in `surfaces.toml`.
        keep: a folder for the data instead, left there.
    """
    with _machine(settings, roles, refresh, keep, say, lasting=True) as (machine, surface):
        bundle = make_bundle(machine.registry, surface)
        say(f"bundle {bundle} is trained; rolling it out")
        _go_live(machine, bundle)
        yield Target(machine.bootstrap, machine.node_url, SURFACE, bundle, settings.partitions, _pids(machine))


@contextmanager
def swap_machine(
    make_bundles: Sequence[MakeBundle], *, settings: LauncherSettings, keep: Path | None, say: Callable[[str], None]
) -> Iterator[SwapTarget]:
    """Start a machine with two replicas and the first bundle live on both, stop it at the end and remove its data.

    Args:
        make_bundles: each publishes another bundle for a surface into a registry folder and returns its id.
        keep: a folder for the data instead, left there.
    """
    with (
        _machine(settings, ("control", "embed", "serve"), WRITE_TIME, keep, say, lasting=True) as (machine, surface),
        ExitStack() as stack,
    ):
        port = free_port()
        second = machine.second_node(port)
        stack.callback(_stop, second)
        bundles = tuple(make(machine.registry, surface) for make in make_bundles)
        say(f"bundles {', '.join(bundles)} are published; rolling the first out")
        urls = (machine.node_url, f"http://127.0.0.1:{port}")
        _go_live(machine, bundles[0], *urls[1:])

        def watch() -> None:
            machine.watch()
            second.revive()

        yield SwapTarget(
            machine.bootstrap,
            machine.registry,
            SURFACE,
            bundles[0],
            bundles,
            urls,
            watch,
            lambda: _stop(second),
            settings.partitions,
            pids={**_pids(machine), "serve-2": second.pid or 0},
            kills=_kills(machine, second),
        )


@contextmanager
def _machine(
    settings: LauncherSettings,
    roles: tuple[str, ...],
    refresh: str,
    keep: Path | None,
    say: Callable[[str], None],
    *,
    lasting: bool,
) -> Iterator[tuple[Machine, Surface]]:
    data_dir = keep.resolve() if keep else Path(tempfile.mkdtemp(prefix="roost-bench-"))
    data_dir.mkdir(parents=True, exist_ok=True)
    surfaces = data_dir / "surfaces.toml"
    write_whole(surfaces, SURFACES_TOML.format(refresh=refresh))
    try:
        with Machine(MachinePlan(data_dir, surfaces, roles, lasting=lasting), settings, say=say) as machine:
            yield machine, load_surfaces(surfaces)[SURFACE]
    finally:
        if keep is None:
            shutil.rmtree(data_dir, ignore_errors=True)


def _stop(role: RoleProcess) -> None:
    role.ask_to_stop()
    role.await_stop(timeout_s=30.0)


def _kills(machine: Machine, second: RoleProcess) -> dict[str, Callable[[], None]]:
    kills = {role.name: role.kill for role in (*machine.roles, second)}
    return kills if machine.broker is None else {**kills, "broker": machine.broker.kill}


def _pids(machine: Machine) -> dict[str, int]:
    pids = {role.name: role.pid for role in machine.roles if role.pid is not None}
    return pids if machine.broker is None else {**pids, "broker": machine.broker.pid}


def _go_live(machine: Machine, bundle: str, *more_nodes: str, timeout_s: float = 120.0) -> None:
    command = RolloutCommand(
        uuid.uuid4().hex,
        SURFACE,
        CommandKind.START,
        actor="bench",
        time_ms=time.time_ns() // 1_000_000,
        bundle=bundle,
        automatic=True,
    )
    deadline_s = time.monotonic() + timeout_s
    with RolloutClient(machine.bootstrap) as rollouts:
        rollouts.send(command, timeout_s=timeout_s)
    for url in (machine.node_url, *more_nodes):
        with Client(url) as client:
            while not _answers_with(client, bundle):
                machine.watch()
                if time.monotonic() > deadline_s:
                    raise RoostError(f"bundle {bundle} did not go live within {timeout_s:g} s; see the logs of the machine's roles")
                time.sleep(0.1)


def _answers_with(client: Client, bundle: str) -> bool:
    try:
        return client.retrieve(SURFACE, k=1).bundle == bundle
    except RoostError:
        return False
