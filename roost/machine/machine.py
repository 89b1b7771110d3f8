"""The one-machine launcher: broker, topics and roles up in order, watched, and down in reverse. Holds no domain logic."""

import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from roost.broker import Broker, KafkaInstall
from roost.broker.config import free_port, why_not_free
from roost.machine.claim import HeldClaim, claim_of_this_process
from roost.machine.deployment import Deployment, claimed
from roost.machine.log_bounds import keep_within
from roost.machine.others import check_alone
from roost.machine.role_process import RoleProcess
from roost.machine.undisturbed import undisturbed
from roost.settings import LauncherSettings
from schemas.claims import claimed_names
from schemas.errors import BrokerUnavailable, RoostError
from schemas.topics import standard_topics
from schemas.wire.admin import alter_topics, create_topics, topic_faults, wait_for_broker

log = logging.getLogger(__name__)

# the order of starting; stopped in reverse, so that readers go before what they read from
ROLES: Mapping[str, tuple[str, ...]] = {
    "control": ("control",),
    "embed": ("embed",),
    "label": ("label",),
    "serve": ("serve",),
    "train": ("train", "schedule"),
    "console": ("console",),
}
_STOP_S = 30.0
_LISTENS_S = 1.0
_BROKER_PAUSE_S = 10.0
# a broker whose launcher was killed is ending: what it holds in memory must reach its disk
_KILLED_BEFORE_S = 15.0


@dataclass(frozen=True, slots=True)
class MachinePlan:
    """What to run where.

    Attributes:
        data_dir: everything the deployment keeps: broker data, bundles, logs.
        surfaces: a surfaces file, or None for the shipped one.
        roles: names out of `ROLES`.
        http_port: port of the node; None takes a free one.
        console_port: port of the console; None takes a free one.
        broker_port: port of the broker, if one is started; None takes the one it had in this folder, or a free one.
        environment: more variables for every role.
        lasting: whether it is to run for more than some minutes; see `roost.broker.Broker`.
    """

    data_dir: Path
    surfaces: Path | None = None
    roles: tuple[str, ...] = tuple(ROLES)
    http_port: int | None = None
    console_port: int | None = None
    broker_port: int | None = None
    environment: Mapping[str, str] | None = None
    lasting: bool = False


class Machine:
    """A running deployment; a context manager. Not safe to share between threads."""

    def __init__(self, plan: MachinePlan, settings: LauncherSettings, *, say: Callable[[str], None] = log.info) -> None:
        """Describe a deployment; starts nothing.

        Args:
            say: takes a sentence for people at every step.
        """
        if unknown := set(plan.roles) - ROLES.keys():
            raise RoostError(f"unknown roles {sorted(unknown)}; there are {', '.join(ROLES)}")
        self._plan = plan
        self._settings = settings
        self._say = say
        self._stack = contextlib.ExitStack()
        self._roles: list[RoleProcess] = []
        self._environment: Mapping[str, str] = {}
        self._broker_next_s = 0.0
        # whether the deployment's file tells less than is true
        self._changed = False
        self.broker: Broker | None = None
        self.bootstrap = ""
        self.node_url = f"http://127.0.0.1:{plan.http_port or free_port()}"
        self.console_url = f"http://127.0.0.1:{plan.console_port or free_port()}" if "console" in plan.roles else None

    @property
    def registry(self) -> Path:
        """Folder of the bundles."""
        return self._plan.data_dir / "registry"

    @property
    def surfaces(self) -> Path | None:
        """The surfaces file, or None for the shipped one."""
        return self._plan.surfaces

    @property
    def partitions(self) -> int:
        """Of every topic keyed by candidate or by user."""
        return self._settings.partitions

    @property
    def roles(self) -> tuple[RoleProcess, ...]:
        """The roles, in the order they were started."""
        return tuple(self._roles)

    def role(self, name: str) -> RoleProcess:
        """Return a role by name."""
        return next(role for role in self._roles if role.name == name)

    def start(self) -> None:
        """Start broker, topics and roles; returns when the node's process answers (it may still be replaying)."""
        self._stack.enter_context(claimed(self._plan.data_dir))
        self._check_ports()
        log_dir = self._plan.data_dir / "logs"
        log_dir.mkdir(parents=True, exist_ok=True)
        self.registry.mkdir(exist_ok=True)
        started_s = time.monotonic()
        self.bootstrap = self._start_broker()
        self._say(f"broker at {self.bootstrap} ({time.monotonic() - started_s:.1f} s)")
        admin = wait_for_broker(self.bootstrap, timeout_s=60)
        topics = standard_topics(self.partitions)
        if self.broker is not None:
            # nobody else could: a release that asks for other settings would end here, and the broker with it
            for topic, setting in alter_topics(admin, topic_faults(admin, topics)):
                self._say(f"topic {topic}: {setting.name} is {setting.wanted} now, not {setting.found}")
        create_topics(admin, topics)
        self._claim_names()
        environment = {
            "KAFKA_BOOTSTRAP_SERVERS": self.bootstrap,
            "ROOST_REGISTRY": str(self.registry),
            "ROOST_SNAPSHOTS": str(self._plan.data_dir / "snapshots"),
            "ROOST_HTTP_PORT": self.node_url.rpartition(":")[2],
            **({"ROOST_CONSOLE_PORT": self.console_url.rpartition(":")[2]} if self.console_url else {}),
            **({"ROOST_SURFACES": str(self._plan.surfaces)} if self._plan.surfaces else {}),
            **(self._plan.environment or {}),
        }
        self._environment = environment
        for name in (name for name in ROLES if name in self._plan.roles):
            role = RoleProcess(name, ROLES[name], environment=environment, log_dir=log_dir)
            self._roles.append(role)
            role.start()
        self._say(f"roles started: {', '.join(role.name for role in self._roles)} (logs in {log_dir})")
        self._write_deployment()
        if "serve" in self._plan.roles:
            self._await_node(timeout_s=60)
            self._say(f"node at {self.node_url} ({time.monotonic() - started_s:.1f} s)")
        if self.console_url:
            self._say(f"console at {self.console_url}")

    def second_node(self, http_port: int) -> RoleProcess:
        """Start another replica of the node beside the first, at a port; its owner watches and stops it."""
        own = {"ROOST_HTTP_PORT": str(http_port), "ROOST_NODE_ID": f"node-{http_port}"}
        role = RoleProcess(
            "serve-2", ROLES["serve"], environment={**self._environment, **own}, log_dir=self._plan.data_dir / "logs"
        )
        role.start()
        return role

    def watch(self) -> None:
        """Revive the broker and roles that died, and keep their logs within bounds; call it about once a second."""
        self._revive_broker()
        for path in (*(role.log_path for role in self._roles), *((self.broker.log_path,) if self.broker is not None else ())):
            keep_within(path)
        for role in self._roles:
            if sentence := role.revive():
                self._say(sentence)
                self._changed = True
        if self._changed:
            # a full disk must not end the launcher, and every role that still runs with it: the next round tries again
            with contextlib.suppress(OSError):
                self._write_deployment()
                self._changed = False

    def stop(self) -> None:
        """Stop roles in reverse order, each flushed and committed, then the broker if we started it; a signal meanwhile waits."""
        with undisturbed():
            self._stop_roles()
            self._stack.close()

    def _stop_roles(self) -> None:
        alone = bool(self._roles) and not _listens(self.bootstrap)
        asked_s = time.monotonic()
        if alone:
            # nobody reads what another writes, so that there is no order to keep; one after the other each waits for the broker
            for role in self._roles:
                role.ask_to_stop()
        for role in reversed(self._roles):
            if not alone:
                role.ask_to_stop()
                asked_s = time.monotonic()
            if not role.await_stop(timeout_s=max(0.0, asked_s + _STOP_S - time.monotonic())):
                self._say(f"{role.name} did not stop within {_STOP_S:g} s and was killed (log: {role.log_path})")
        self._roles.clear()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _start_broker(self) -> str:
        if self._settings.kafka_bootstrap_servers is not None:
            return self._settings.kafka_bootstrap_servers
        install = KafkaInstall(self._settings.kafka_jars_dir, self._settings.java)
        broker = Broker(
            self._plan.data_dir / "kafka",
            install=install,
            port=self._plan.broker_port or None,
            lasting=self._plan.lasting,
            patience_s=_KILLED_BEFORE_S,
        )
        self.broker = self._stack.enter_context(broker)
        return broker.bootstrap

    def _revive_broker(self) -> None:
        if self.broker is None or self.broker.running or time.monotonic() < self._broker_next_s:
            return
        self._say(f"the broker ended; it starts again (log: {self.broker.log_path})")
        try:
            self.broker.start()
        # its folder's disk is full, most often: the roles wait for it meanwhile
        except (BrokerUnavailable, OSError) as error:
            self._broker_next_s = time.monotonic() + _BROKER_PAUSE_S
            self._say(f"it does not start, and is tried again in {_BROKER_PAUSE_S:g} s: {error}")
        else:
            self._say("the broker started again")

    def _check_ports(self) -> None:
        # Whatever listens there would be taken for ours: the node of another deployment answers as ours does.
        wanted = {"serve": (self._plan.http_port, "--http-port"), "console": (self._plan.console_port, "--console-port")}
        for role, (port, option) in wanted.items():
            if role in self._plan.roles and port and (reason := why_not_free(port)):
                raise RoostError(f"{role} cannot have port {port} ({reason}; another `roost up`?); choose one with {option}")
        port = self._plan.broker_port
        if self._settings.kafka_bootstrap_servers is None and port and (reason := self._why_taken(port)):
            raise RoostError(
                f"the broker cannot have port {port} ({reason}); choose one with --broker-port, or name the broker that is there "
                "with KAFKA_BOOTSTRAP_SERVERS"
            )

    def _claim_names(self) -> None:
        # two of one name would push each other out of their groups and start again, for ever
        names = claimed_names(self._plan.roles, node_id=self._settings.node_id, instance=self._settings.instance)
        if not names:
            return
        held = self._stack.enter_context(HeldClaim(self.bootstrap, claim_of_this_process(names)))
        # nobody else was on a broker that has just been started; who comes to it later is told by the claim
        if self.broker is None:
            held.remove(check_alone(self.bootstrap, held.claim))

    def _why_taken(self, port: int) -> str | None:
        deadline_s = time.monotonic() + _KILLED_BEFORE_S
        while reason := why_not_free(port):
            if time.monotonic() >= deadline_s:
                return reason
            time.sleep(0.1)
        return None

    def _write_deployment(self) -> None:
        Deployment(
            pid=os.getpid(),
            bootstrap=self.bootstrap,
            node_url=self.node_url,
            registry=str(self.registry),
            surfaces=str(self._plan.surfaces) if self._plan.surfaces else None,
            roles={role.name: role.pid or 0 for role in self._roles},
            console_url=self.console_url,
            restarts={role.name: role.restarts for role in self._roles},
        ).write(self._plan.data_dir)

    def _await_node(self, *, timeout_s: float) -> None:
        serve = self.role("serve")
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            if serve.pid is None:
                raise RoostError(f"the node died while starting; its log ends:\n{serve.log_tail()}")
            try:
                if httpx.get(f"{self.node_url}/livez", timeout=1.0).is_success:
                    return
            except httpx.TransportError:
                time.sleep(0.1)
        raise RoostError(f"the node did not answer within {timeout_s:g} s; its log ends:\n{serve.log_tail()}")


def _listens(servers: str) -> bool:
    """Whether somebody listens at the address of one of the brokers."""
    for server in servers.split(","):
        host, _, port = server.rpartition(":")
        with contextlib.suppress(OSError), socket.create_connection((host.strip("[]"), int(port)), timeout=_LISTENS_S):
            return True
    return False
