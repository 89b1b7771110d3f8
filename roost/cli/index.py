"""`roost index …`: snapshots of the nodes' indexes on disk and on shared places, and what a node's audit says. Keeps no index."""

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from roost.cli.output import EXIT_FAILURE, emit, say, table, tell
from roost.cli.steps_bar import steps_bar
from roost.cli.target import DEFAULT_DATA_DIR, AsJson, DataDir, NodeUrl, node_url_of, snapshots_of
from schemas.errors import RoostError
from serving.snapshots.manifest import Manifest
from serving.snapshots.shared import SharedSnapshots
from serving.snapshots.snapshot import MAX_AGE_MS, SnapshotRefused
from serving.snapshots.store import SnapshotStore, check, manifest_of

app = typer.Typer(no_args_is_help=True, add_completion=False, help="The nodes' indexes: snapshots on disk, and audits.")

Folder = Annotated[
    Path | None,
    typer.Option(
        "--folder", envvar="ROOST_SNAPSHOTS", help="Folder that the nodes write under; the local deployment's by default."
    ),
]
Place = Annotated[str, typer.Argument(help="A place that nodes share: a folder, or a URL such as s3://bucket/roost.")]


@app.command()
def inspect(*, folder: Folder = None, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> None:
    """List the snapshots of the nodes' indexes, by their manifests; reads no vectors. Exit code 1 when a manifest is damaged.

    Example: roost index inspect --folder /var/lib/roost/snapshots
    """
    found = _read(snapshots_of(folder, data_dir), manifest_of, on_progress=lambda _done, _steps: None)
    emit({"snapshots": found}, as_json=as_json, show=lambda: _show_read(found))
    if any(one["reason"] for one in found):
        raise typer.Exit(EXIT_FAILURE)


@app.command()
def verify(*, folder: Folder = None, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> None:
    """Read every snapshot whole and check each byte against its manifest; exit code 1 when one is not sound.

    Example: roost index verify
    """
    with steps_bar("snapshots") as progress:
        read = _read(snapshots_of(folder, data_dir), check, on_progress=progress)
    found = [{**one, "sound": one["reason"] is None} for one in read]
    sound = all(one["sound"] for one in found)
    emit({"snapshots": found, "sound": sound}, as_json=as_json, show=lambda: _show_read(found))
    if not sound:
        raise typer.Exit(EXIT_FAILURE)


@app.command()
def snapshot(place: Place, *, folder: Folder = None, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> None:
    """Copy each node's newest sound snapshot of each bundle to a shared place, whence other nodes start (ROOST_SNAPSHOTS_SHARED).

    What is there and too old to start from, a day, is removed. Exit code 1 when of a node's bundle none could be copied.

    Example: roost index snapshot s3://my-bucket/roost-snapshots
    """
    shared = _shared(place)
    done: set[tuple[str, str]] = set()
    copied = []
    with steps_bar("snapshots") as progress:
        snapshots = _snapshots(snapshots_of(folder, data_dir))
        for number, (node, path) in enumerate(snapshots):
            progress(number, len(snapshots))
            bundle = path.parent.name
            if (node, bundle) in done:
                continue
            try:
                manifest = check(path)
                copied.append({**_row(node, path, manifest), "to": shared.put(path, node=node, bundle=bundle)})
            except SnapshotRefused as refusal:
                say(f"roost: {path} is passed over: {refusal}")
            except FileNotFoundError:
                say(f"roost: {path} is passed over: its node has replaced it while it was copied")
            else:
                done.add((node, bundle))
        progress(len(snapshots), len(snapshots))
    removed = shared.remove_old(time.time_ns() // 1_000_000 - MAX_AGE_MS)

    def show() -> None:
        _show(copied)
        if removed:
            tell(f"{len(removed)} too old to start from are removed there")

    without = sorted({(node, path.parent.name) for node, path in snapshots} - done)
    data = {"copied": copied, "removed": removed, "without": [{"node": node, "bundle": bundle} for node, bundle in without]}
    emit(data, as_json=as_json, show=show)
    for node, bundle in without:
        say(
            f"roost: no snapshot of bundle {bundle} of {node} could be copied; run this again, and where nodes replace them faster "
            "than they are copied let them keep more (ROOST_SNAPSHOTS_KEPT)"
        )
    if without:
        raise typer.Exit(EXIT_FAILURE)


@app.command()
def restore(
    place: Place,
    *,
    node_id: Annotated[
        str, typer.Option("--node-id", envvar="ROOST_NODE_ID", help="The node that is to start from them; by default this host's.")
    ] = "",
    folder: Folder = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Fetch the newest sound snapshot of each bundle from a shared place into a node's folder, before that node starts.

    Exit code 1 when a bundle has none that is sound, or there is nothing to fetch.

    Example: roost index restore s3://my-bucket/roost-snapshots --node-id node-7
    """
    shared, node = _shared(place), node_id or socket.gethostname()
    store = SnapshotStore(snapshots_of(folder, data_dir) / node, keep=2)
    fetched: list[dict[str, Any]] = []
    without: list[str] = []
    with steps_bar("bundles") as progress:
        bundles = sorted(shared.bundles())
        for number, bundle in enumerate(bundles):
            progress(number, len(bundles))
            there = shared.of_bundle(bundle)
            for one in there:
                try:
                    path = store.fetch(shared, one)
                    fetched.append({**_row(node, path, one.manifest), "from": one.path})
                    break
                except SnapshotRefused as refusal:
                    say(f"roost: {one.path} is passed over: {refusal}")
            else:
                # an empty folder is what is left of a bundle that was retired
                without += [bundle] if there else []
        progress(len(bundles), len(bundles))
    if not fetched and not without:
        raise RoostError(
            f"{place} holds no snapshot that can be read; check the address, or fill it by `roost index snapshot {place}`"
        )
    emit({"fetched": fetched, "without": without}, as_json=as_json, show=lambda: _show(fetched))
    for bundle in without:
        say(
            f"roost: {place} holds no sound snapshot of bundle {bundle}: the node reads its topic from the beginning; "
            f"to start sooner, copy a sound one there by `roost index snapshot {place}`"
        )
    if without:
        raise typer.Exit(EXIT_FAILURE)


@app.command()
def audit(*, node: NodeUrl = None, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> None:
    """Show how much of the exact answers a node's live queries found, with lower 95% bounds; exit code 1 while an alarm stands.

    Example: roost index audit --node http://127.0.0.1:8700
    """
    url = node_url_of(node, data_dir)
    try:
        # 503 carries the same figures, of a node that is not ready
        health = httpx.get(f"{url}/readyz", timeout=10.0).json()
    except (httpx.HTTPError, ValueError) as error:
        raise RoostError(f"the node at {url} does not answer ({error}); is it up, and is that its address?") from error
    try:
        bundles = [
            {"surface": surface["surface"], "bundle": bundle["bundle"], "audit": bundle["audit"], "alarms": bundle["index_alarms"]}
            for surface in health["surfaces"]
            for bundle in surface["bundles"]
        ]
    except (KeyError, TypeError) as error:
        raise RoostError(f"what answers at {url} is no node of this release; name one with --node") from error

    def show() -> None:
        rows = [
            (bundle["bundle"], group["kind"], group["group"], group["queries"], f"{group['recall']:.4f}", f"{group['lower']:.4f}")
            for bundle in bundles
            for group in (bundle["audit"] or {"groups": ()})["groups"]
        ]
        table(["bundle", "part", "", "queries #", "recall #", "at least #"], rows)
        if not rows:
            tell("no live query was audited yet; a node audits those it answers, within ROOST_AUDIT_CPU_SHARE of a core")
        for bundle in bundles:
            for name, sentence in bundle["alarms"].items():
                tell(f"ALARM {name} of {bundle['bundle']}: {sentence}")

    emit({"node": url, "bundles": bundles}, as_json=as_json, show=show)
    if any(bundle["alarms"] for bundle in bundles):
        raise typer.Exit(EXIT_FAILURE)


def _snapshots(folder: Path) -> list[tuple[str, Path]]:
    """Each node with each of its snapshots' folders, the newest of a bundle first; raises `RoostError` where no folder is."""
    if not folder.is_dir():
        raise RoostError(f"{folder} is no folder; name the one that nodes write under, their ROOST_SNAPSHOTS, with --folder")
    nodes = sorted(path for path in folder.iterdir() if path.is_dir())
    return [(node.name, path) for node in nodes for path in SnapshotStore(node, keep=1).folders()]


def _read(folder: Path, read: Callable[[Path], Manifest], *, on_progress: Callable[[int, int], None]) -> list[dict[str, Any]]:
    """Each snapshot as `read` finds it, or where it lies and the `reason` why it is refused; without those replaced meanwhile.

    Raises:
        RoostError: there is no such folder, or all were replaced.
    """
    found: list[dict[str, Any]] = []
    snapshots = _snapshots(folder)
    for number, (node, path) in enumerate(snapshots, 1):
        try:
            found.append({**_row(node, path, read(path)), "reason": None})
        except SnapshotRefused as refusal:
            if path.is_dir():
                found.append({"node": node, "bundle": path.parent.name, "snapshot": path.name, "reason": str(refusal)})
            else:
                say(f"roost: {path} is passed over: its node has replaced it while it was read")
        on_progress(number, len(snapshots))
    if snapshots and not found:
        raise RoostError(f"all snapshots in {folder} were replaced while they were read; run this again")
    return found


def _show_read(found: list[dict[str, Any]]) -> None:
    sound = [one for one in found if one["reason"] is None]
    if sound or not found:
        _show(sound)
    for one in found:
        if one["reason"] is not None:
            name = f"{one['node']}/{one['bundle']}/{one['snapshot']}"
            tell(f"{name} is not sound: {one['reason']}; a node starts from an older one")


def _shared(place: str) -> SharedSnapshots:
    try:
        return SharedSnapshots(place)
    except (ValueError, ImportError) as error:
        raise typer.BadParameter(f"{place!r} is no place to share snapshots on: {error}") from error


def _row(node: str, path: Path, manifest: Manifest) -> dict[str, Any]:
    return {
        "node": node,
        "bundle": manifest.of.bundle,
        "snapshot": path.name,
        "rows": manifest.rows,
        "bytes": sum(entry.bytes for entry in manifest.files.values()),
        "written_ms": manifest.written_ms,
        "offsets": {str(partition): offset for partition, offset in sorted(manifest.offsets.items())},
        "dim": manifest.of.dim,
        "metric": manifest.of.metric,
        "topic_id": manifest.of.topic_id,
    }


def _show(rows: list[dict[str, Any]]) -> None:
    if not rows:
        tell("no snapshots; a node with ROOST_SNAPSHOTS writes one a minute while there is news")
        return
    columns = ["node", "bundle", "snapshot", "rows #", "bytes #", "written_ms #"]
    table(columns, ([row[column.removesuffix(" #")] for column in columns] for row in rows))
