"""One node from its settings to its end: the wiring, and the order of starting and stopping. The parts do the work."""

import logging
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version

from schemas.positions import SOURCE_TOPICS
from schemas.surfaces import Surface, load_surfaces
from schemas.topics import USER_STATES
from schemas.wire.admin import make_admin
from schemas.wire.identities import TopicIds, asking
from schemas.wire.tracing import Tracing, start_tracing
from serving.filling.masks import Masks
from serving.http.app import build_app
from serving.http.server import HttpServer
from serving.index import TIERS, LiveIndex
from serving.metrics import NodeMetrics
from serving.node.bundle_tail import NodeParts
from serving.node.contact import BrokerContact
from serving.node.heartbeat import NameTaken
from serving.node.node import Node
from serving.query.census import SurfaceCensus
from serving.query.epochs import Routing, RoutingTable
from serving.query.explain import Explainer
from serving.query.retrieve import Retriever
from serving.query.tally import AnswerTally
from serving.query.tap import QueryTap
from serving.query.users import UserStore
from serving.settings import NodeSettings
from serving.snapshots.shared import SharedSnapshots
from serving.snapshots.store import SnapshotStore
from serving.tracing import TracedRequests

log = logging.getLogger(__name__)

# the interpreter's default of 5 ms is what a query would wait for a tail in the middle of a batch
SWITCH_INTERVAL_S = 0.0005
_MOST_QUERY_THREADS = 4


@dataclass(frozen=True, slots=True)
class BuiltNode:
    """A node and its server, not started."""

    node: Node
    server: HttpServer
    pool: ThreadPoolExecutor
    tracing: Tracing | None


def build_node(settings: NodeSettings) -> BuiltNode:
    """Wire a node. Binds its port; connects to nothing.

    Raises:
        CannotListen: the port is taken.
        ValueError: the surfaces file, or a surface named in `serve`, is wrong.
        TracingNotInstalled: spans are asked for, and the extra is missing.
    """
    tracing = start_tracing("roost-node", instance=settings.node_id) if settings.tracing else None
    surfaces = _served(settings)
    metrics = NodeMetrics()
    routings = RoutingTable(
        {name: Routing(surface, waiting_for="the rollouts are still being read") for name, surface in surfaces.items()}
    )
    users = UserStore(skipped=metrics.skipped.labels(USER_STATES).inc)
    make_index = partial(LiveIndex, config=TIERS[settings.index_tiers])
    parts = NodeParts(
        settings.bootstrap,
        settings.registry,
        Masks(),
        metrics,
        make_index,
        BrokerContact(),
        _store(settings),
        tracing,
        TopicIds(asking(make_admin(settings.bootstrap), SOURCE_TOPICS)),
    )
    tap, tally = QueryTap(), AnswerTally()
    node = Node(
        settings.node_id,
        surfaces,
        parts,
        routings=routings,
        users=users,
        snapshot_every_s=settings.snapshot_every_s,
        tap=tap,
        tally=tally,
        audit_cpu_share=settings.audit_cpu_share,
    )
    pool = ThreadPoolExecutor(settings.query_threads or _threads_by_cores(), thread_name_prefix="query")
    retriever = Retriever(
        routings,
        users,
        overheard=tap.offer if settings.audit_cpu_share > 0 else None,
        reflected=metrics.reflected,
        tally=tally,
    )
    app = build_app(
        retriever,
        node,
        metrics,
        explainer=Explainer(routings, users, parts.masks),
        census=SurfaceCensus(routings),
        version=_release(),
        pool=pool,
    )
    served = app if tracing is None else TracedRequests(app, tracing=tracing)
    server = HttpServer(served, host=settings.http_host, port=settings.http_port, chosen_by="ROOST_HTTP_PORT")
    node.url = server.url
    return BuiltNode(node, server, pool, tracing)


def run_node(settings: NodeSettings, stop: threading.Event) -> None:
    """Serve until `stop` is set: then say not ready, answer on for `drain_s`, finish what is in hand, and return.

    Waits for a broker for as long as it takes: /livez is 200 and /readyz gives the reason meanwhile.

    Raises:
        CannotListen, ValueError, TracingNotInstalled: see `build_node`.
        NameTaken: another node had the name first.
        RuntimeError: the HTTP server ended by itself.
    """
    built = build_node(settings)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    built.server.start()
    log.info("node %s answers at %s", settings.node_id, built.server.url)
    built.node.start()
    try:
        while not stop.wait(0.5):
            if not built.server.running:
                raise RuntimeError("the HTTP server ended by itself; see the log")
            if built.node.name_taken:
                raise NameTaken(built.node.name_taken)
        built.node.leave("the node is stopping")
        # whoever balances the load sees /readyz before the port closes; a second `set` cannot cut this short
        threading.Event().wait(settings.drain_s)
    finally:
        built.server.stop()
        built.pool.shutdown()
        built.node.stop()
        if built.tracing is not None:
            built.tracing.close()
        log.info("node %s stopped", settings.node_id)


def _served(settings: NodeSettings) -> dict[str, Surface]:
    surfaces = load_surfaces(settings.surfaces)
    if unknown := set(settings.serve) - surfaces.keys():
        raise ValueError(f"ROOST_SERVE names {sorted(unknown)}; the surfaces are {sorted(surfaces)}")
    return {name: surface for name, surface in surfaces.items() if not settings.serve or name in settings.serve}


def _store(settings: NodeSettings) -> SnapshotStore | None:
    if settings.snapshots is None:
        if settings.snapshots_shared:
            raise ValueError("ROOST_SNAPSHOTS_SHARED needs ROOST_SNAPSHOTS, the folder that a snapshot is fetched to")
        return None
    try:
        shared = SharedSnapshots(settings.snapshots_shared) if settings.snapshots_shared else None
    except (ValueError, ImportError) as error:
        raise ValueError(f"ROOST_SNAPSHOTS_SHARED is {settings.snapshots_shared!r}: {error}") from error
    # by node: two nodes of one machine may name one folder
    return SnapshotStore(settings.snapshots / settings.node_id, keep=settings.snapshots_kept, shared=shared)


def _threads_by_cores() -> int:
    # more than cores wait for each other: on two, four made the slowest queries slower by a fifth
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, _MOST_QUERY_THREADS)


def _release() -> str:
    try:
        return version("roost")
    except PackageNotFoundError:
        return "unreleased"
