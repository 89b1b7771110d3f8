"""One reading of everything, put together from its parts. Without a broker, by a clock that a test sets."""

import threading
from collections.abc import Iterable
from dataclasses import replace

import pytest

from schemas.records.control import Stage
from schemas.topics import embeddings_topic_name
from schemas.wire.inbound import InboundRecord
from serving.console.readings import BrokerReading, NodeReading
from serving.console.views.overview import overview
from serving.console.watch import watcher as module
from serving.console.watch.watcher import Watcher
from tests.console_fakes import HOME, LIVE, NOW_MS, URL, controller, embedder, node, rollout, stage
from tests.filled_epochs import DIM, live, tweeted


class _Deployment:
    """A broker and nodes that take their time; what is read of them is set, and the clock goes on while a node is asked."""

    def __init__(self, broker: BrokerReading) -> None:
        self.now_ms = NOW_MS
        self.node_takes_ms = 0
        self.asked_at_once: threading.Barrier | None = None
        self.records: list[InboundRecord] = []
        self._broker = broker

    def watcher(self, monkeypatch: pytest.MonkeyPatch) -> Watcher:
        """Return a watcher of this deployment, which is not started."""
        made = Watcher("127.0.0.1:1", {HOME.name: HOME})
        for part in ("_broker", "_nodes", "_newest"):
            monkeypatch.setattr(made, part, _Part(self, part))
        monkeypatch.setattr(module, "wall_clock_ms", lambda: self.now_ms)
        return made


class _Part:
    """What the watcher reads by, each in its own way."""

    def __init__(self, deployment: _Deployment, part: str) -> None:
        self._of = deployment
        self._part = part

    def read(self, *asked: object, per_partition: int = 0) -> BrokerReading | NodeReading | list[InboundRecord]:
        """Return what there is."""
        match self._part, asked:
            case "_broker", ():
                return self._of._broker
            case "_nodes", (str(instance), str(url)):
                self._of.now_ms += self._of.node_takes_ms
                if self._of.asked_at_once is not None:
                    self._of.asked_at_once.wait()
                return NodeReading(instance, url, f"{url} does not answer")
            case _, (topic, Iterable()):
                return [record for record in self._of.records if record.topic == topic][:per_partition]
            case _:
                raise AssertionError(asked)


class _Monotonic:
    """The clock that nobody sets, as `time` has it."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        """Return it."""
        return self.now_s


def reading_of(since_ms: int) -> BrokerReading:
    """Return what the broker says of a deployment whose bundle is live since a time."""
    beats = {beat.status.instance: beat for beat in (node(), embedder(), controller())}
    state = rollout(stage(LIVE, Stage.LIVE, since_ms=since_ms))
    return BrokerReading(None, {HOME.name: state}, heartbeats=beats, ends={HOME.candidate_topic: {0: 9}})


def test_who_was_heard_of_when_the_broker_was_read_is_not_silent_because_a_node_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """With nodes that do not answer, the page said of all that lived that nobody had heard of them for ten seconds."""
    deployment = _Deployment(reading_of(NOW_MS - 60_000))
    deployment.node_takes_ms = 12_000
    moment = deployment.watcher(monkeypatch)._read()
    assert deployment.now_ms == NOW_MS + 12_000
    assert (len(moment.live_nodes()), len(moment.live_embedders()), len(moment.live_controllers())) == (1, 1, 1)


def test_nobody_is_silent_for_want_of_a_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten seconds into its outage the page showed no node, though all of them answered, and said which roles to start."""
    there = reading_of(NOW_MS - 60_000)
    deployment = _Deployment(there)
    watcher = deployment.watcher(monkeypatch)
    watcher._read()
    deployment.now_ms += 60_000
    deployment._broker = replace(there, trouble="the broker at b:1 does not answer", ends={})
    moment = watcher._read()
    assert [reading.instance for reading in moment.nodes] == ["node:n1"]
    assert overview([moment], HOME).troubles == ("the broker at b:1 does not answer", f"{URL} does not answer")
    deployment._broker = there
    assert not watcher._read().live_nodes(), "the broker tells, and of nobody"


@pytest.mark.parametrize(("live_for_ms", "measured"), [(30_000, 1), (5_000, 0)])
def test_what_was_written_before_a_bundle_went_live_is_no_delay_of_new_candidates(
    monkeypatch: pytest.MonkeyPatch, live_for_ms: int, measured: int
) -> None:
    """For a minute after every rollout the waterfall showed the corpus's age, days, as what a new tweet waits for its vector."""
    deployment = _Deployment(reading_of(NOW_MS - live_for_ms))
    record = live(tweeted("t:1"), [1.0] + [0.0] * (DIM - 1))
    deployment.records = [record._replace(topic=embeddings_topic_name(LIVE), timestamp_ms=NOW_MS - 10_000)]
    moment = deployment.watcher(monkeypatch)._read()
    assert len(moment.delays[HOME.name].new.logged) == measured


def test_nodes_that_do_not_answer_are_waited_for_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second each, six of them behind a firewall made all figures 12 s old, and the page said that nothing can be read."""
    beats = {f"node:n{at}": replace(node(), status=replace(node().status, instance=f"node:n{at}")) for at in range(6)}
    deployment = _Deployment(replace(reading_of(NOW_MS - 60_000), heartbeats=beats))
    # breaks where one is asked when another has answered
    deployment.asked_at_once = threading.Barrier(len(beats), timeout=10)
    moment = deployment.watcher(monkeypatch)._read()
    assert {reading.instance for reading in moment.nodes} == {*beats}


@pytest.mark.parametrize("set_by_s", [-3_600, 3_600])
def test_figures_over_time_begin_anew_when_the_clock_is_set(monkeypatch: pytest.MonkeyPatch, set_by_s: int) -> None:
    """Set back it showed queries a second below zero; set ahead every role with a record to read had stood still for an hour."""
    deployment, monotonic = _Deployment(reading_of(NOW_MS - 60_000)), _Monotonic()
    watcher = deployment.watcher(monkeypatch)
    monkeypatch.setattr(module, "time", monotonic)
    for step_s in (0, 2, 2 + set_by_s, 2):
        deployment.now_ms += step_s * 1000
        monotonic.now_s += 2
        watcher._keep(watcher._read())
        if step_s == 2:
            # a slow reading is no clock that was set
            monotonic.now_s += 5
            deployment.now_ms += 5_000
    assert [moment.at_ms for moment in watcher.moments()] == [NOW_MS + (9 + set_by_s) * 1000, NOW_MS + (11 + set_by_s) * 1000]
