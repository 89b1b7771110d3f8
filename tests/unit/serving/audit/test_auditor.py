"""The auditing thread: what it audits, what it costs, and that a fault does not end it."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from serving.audit import auditor as auditor_module
from serving.audit.auditor import Auditor
from serving.filling.filled import FilledIndex
from serving.filling.masks import Masks
from serving.index import EVERYTHING, Audited, ExactIndex, Filter
from serving.query.epochs import Epoch
from serving.query.tap import LiveQuery, QueryTap
from tests.damaged_index import DIM, queries, rows

COST_S = 0.01


class Costly(ExactIndex):
    """An index whose audit costs a known time of the processor."""

    def __init__(self) -> None:
        super().__init__(DIM)
        self.audits = 0
        self.failing = False

    def audit(self, query: np.ndarray, k: int, where: Filter = EVERYTHING) -> Audited:
        """As `ExactIndex.audit`."""
        self.audits += 1
        if self.failing:
            raise ValueError("a fault of ours")
        begun_s = time.thread_time()
        while time.thread_time() - begun_s < COST_S:
            pass
        return super().audit(query, k, where)


@dataclass
class Tail:
    """A bundle on a node."""

    bundle: str
    filled: FilledIndex | None
    epoch: Epoch | None


def tail(bundle: str = "a" * 16) -> Tail:
    """Return a bundle with a costly index of some rows."""
    filled = FilledIndex(Costly(), Masks(), id_prefix="t:")
    filled._upsert(rows(20))
    return Tail(bundle, filled, Epoch(bundle, None, filled.index, None))  # type: ignore[arg-type]


def index_of(one: Tail) -> Costly:
    """Return its index."""
    assert one.filled is not None
    assert isinstance(one.filled.index, Costly)
    return one.filled.index


@pytest.fixture
def asking() -> Iterator[QueryTap]:
    """Yield a tap that users keep asking at."""
    tap, stop = QueryTap(), threading.Event()

    def ask() -> None:
        while not stop.wait(0.001):
            tap.offer("a" * 16, LiveQuery(queries(1)[0], 5, EVERYTHING))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    yield tap
    stop.set()
    thread.join(5)


def test_audits_take_no_more_of_the_processor_than_they_are_given(asking: QueryTap) -> None:
    """The users' queries come first: an audit of everything would double the cost of answering."""
    one = tail()
    auditor = Auditor(lambda: [one], asking, cpu_share=0.1, now_ms=lambda: 0)
    begun_s = time.monotonic()
    auditor.start()
    time.sleep(1.5)
    auditor.stop()
    elapsed_s = time.monotonic() - begun_s
    audits = index_of(one).audits
    assert audits >= 2
    assert audits * COST_S <= 0.1 * elapsed_s + 2 * COST_S


def test_a_fault_of_an_audit_ends_neither_the_thread_nor_the_next_audits(asking: QueryTap, monkeypatch: pytest.MonkeyPatch) -> None:
    """An auditor that dies quietly looks just like an index that is well."""
    monkeypatch.setattr(auditor_module, "AFTER_FAULT_S", 0.01)
    one = tail()
    index_of(one).failing = True
    auditor = Auditor(lambda: [one], asking, cpu_share=1.0, now_ms=lambda: 0)
    auditor.start()
    deadline_s = time.monotonic() + 10
    while index_of(one).audits < 2:
        assert time.monotonic() < deadline_s
        time.sleep(0.005)
    index_of(one).failing = False
    while (audit := auditor.of(one.bundle)) is None or audit.health.queries < 2:
        assert time.monotonic() < deadline_s
        time.sleep(0.005)
    auditor.stop()


def test_only_whole_bundles_are_audited_and_those_that_left_are_forgotten() -> None:
    """A half-filled index misses by its nature; a retired one must not keep its figures."""
    tap, one = QueryTap(), tail()
    whole = one.epoch
    tails = [one]
    auditor = Auditor(lambda: tails, tap, cpu_share=0.1, now_ms=lambda: 0)
    one.epoch = None
    tap.offer(one.bundle, LiveQuery(queries(1)[0], 5, EVERYTHING))
    assert not auditor.round()
    assert auditor.of(one.bundle) is None
    one.epoch = whole
    assert auditor.round()
    audit = auditor.of(one.bundle)
    assert audit is not None
    assert (audit.health.queries, audit.health.probes) == (1, 1)
    assert not auditor.round(), "nothing new was asked and nothing new came"
    index_of(one).close()
    tap.offer(one.bundle, LiveQuery(queries(1)[0], 5, EVERYTHING))
    assert not auditor.round(), "it was closed between the look and the audit"
    tails.clear()
    auditor.round()
    assert auditor.of(one.bundle) is None
