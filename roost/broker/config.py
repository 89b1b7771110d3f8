"""The configuration of a one-node Kafka and the ports it may take. Starts nothing."""

import random
import re
import socket
from pathlib import Path

from schemas.errors import BrokerUnavailable

__all__ = ["HOST", "free_port", "port_of", "server_properties", "why_not_free"]

HOST = "127.0.0.1"
# Below the ports that the kernel hands to outgoing connections (from 32768 on Linux, 49152 on macOS): one of those
# could take a broker's port while it is down for a restart.
_PORTS = range(20_000, 32_000)


def server_properties(segments_dir: Path, *, port: int, controller_port: int) -> str:
    """Return Kafka's configuration for one node that is broker and controller, bound to 127.0.0.1.

    One node can keep one replica, so every internal topic has a replication factor and a minimum in-sync set of 1.
    Topics are never made by a client's typo: `auto.create.topics.enable` is off.
    """
    values: dict[str, str | int] = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{HOST}:{controller_port}",
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": str(segments_dir),
        "auto.create.topics.enable": "false",
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "share.coordinator.state.topic.num.partitions": 1,
        # One machine, few members: waiting for more of them to join only delays every start.
        "group.initial.rebalance.delay.ms": 0,
        # After a kill -9 the controller refuses the new process until the old one's session ends: 3 s, not 9.
        "broker.session.timeout.ms": 3_000,
        "broker.heartbeat.interval.ms": 500,
        # 31 days, longer than any topic keeps its records: a machine switched off for a week must not lose its place.
        "offsets.retention.minutes": 44_640,
        # Of three threads for sockets and eight for requests each slept and woke for a few: a sixth of what a broker costs at
        # 1,000 requests/s. Two for requests, so that one that makes a topic's files does not keep the others waiting.
        "num.network.threads": 1,
        "num.io.threads": 2,
        # The cleaner's default of 128 MiB is a quarter of the heap.
        "log.cleaner.dedupe.buffer.size": 8_388_608,
    }
    return "".join(f"{key}={value}\n" for key, value in values.items())


def free_port(but_not: int | None = None) -> int:
    """Return a port of 127.0.0.1 on which nothing listens now; another process may still take it first.

    Raises:
        BrokerUnavailable: none found.
    """
    for port in random.sample(_PORTS, k=200):
        if port == but_not:
            continue
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise BrokerUnavailable(f"found no free port among {_PORTS.start} to {_PORTS.stop}")


def why_not_free(port: int) -> str | None:
    """Return why nothing can listen on this port of 127.0.0.1 now, or None where something can."""
    with socket.socket() as probe:
        # as servers do: what is left of connections that were closed does not count
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            return error.strerror
    return None


def port_of(properties: Path) -> int | None:
    """Return the client port that a written configuration names, or None if there is no such file."""
    try:
        found = re.search(r"^advertised\.listeners=\S+:(\d+)$", properties.read_text(), re.MULTILINE)
    except FileNotFoundError:
        return None
    return int(found.group(1)) if found else None
