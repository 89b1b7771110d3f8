"""A builder that died, hangs, fails or lags: each is an alarm by itself."""

import time
from dataclasses import replace

import pytest

from serving.audit.builder import BUILDER_ALARMS, STALLED_S, builder_alarms
from serving.index import ExactIndex, IndexConfig, IndexStats, LiveIndex
from tests.damaged_index import DIM, rows

WELL = replace(ExactIndex(DIM).stats(), live=1_000, builder_wanted=True, builder_running=True, fresh_rows=10, fresh_rows_bound=100)


def until_alarmed(index: LiveIndex, alarm: str) -> str:
    """Wait for an alarm; return its sentence."""
    deadline_s = time.monotonic() + 10
    while alarm not in (alarms := builder_alarms(index.stats())):
        assert time.monotonic() < deadline_s, alarms
        time.sleep(0.005)
    return alarms[alarm]


def test_a_builder_that_is_well_or_not_wanted_raises_none() -> None:
    """An index kept up by its owner has no builder to miss."""
    assert builder_alarms(WELL) == {}
    assert builder_alarms(ExactIndex(DIM).stats()) == {}
    with_builder, without = LiveIndex(DIM), LiveIndex(DIM, IndexConfig(background=False))
    assert builder_alarms(with_builder.stats()) == builder_alarms(without.stats()) == {}
    for index in (with_builder, without):
        index.close()


@pytest.mark.parametrize(
    ("changes", "alarm", "sentence"),
    [
        ({"builder_running": False}, "builder_died", "restart the node"),
        ({"builder_heartbeat_age_s": STALLED_S + 1}, "builder_stalled", "for 61 s"),
        ({"builder_fault": "ValueError: x"}, "builder_failing", "ValueError: x"),
        ({"fresh_rows": 101}, "builder_behind", "101 rows wait"),
        ({"merge_debt_rows": 1_001}, "builder_behind", "1001 rows more have settled"),
    ],
)
def test_each_way_of_being_unwell_has_its_alarm(changes: dict[str, object], alarm: str, sentence: str) -> None:
    """Which one it is decides what the operator does."""
    stats: IndexStats = replace(WELL, **changes)  # type: ignore[arg-type]
    assert alarm in BUILDER_ALARMS
    (found,) = builder_alarms(stats).items()
    assert found[0] == alarm
    assert sentence in found[1]


def test_a_builder_thread_that_ended_without_a_word_is_noticed() -> None:
    """It happened: a race killed a builder in silence, and the index only grew slower."""
    index = LiveIndex(DIM, IndexConfig(fresh_rows=16))
    assert index._builder is not None
    # the thread ends; nobody closed the index
    index._builder.stop()
    assert "ended" in until_alarmed(index, "builder_died")
    index.close()
    assert builder_alarms(index.stats()) == {}, "an index that was closed misses nobody"


def test_a_builder_that_fails_at_every_step_is_noticed_while_rows_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The index answers on, exactly but ever more slowly: the alarm must come before the users'."""
    index = LiveIndex(DIM, IndexConfig(fresh_rows=16, fresh_rows_at_most=32, builder_yields=False))

    def fail() -> bool:
        raise ValueError("no such tier")

    monkeypatch.setattr(index._upkeep, "step", fail)
    monkeypatch.setattr(index._upkeep, "relieve", lambda: None)
    index.upsert(rows(64))
    assert "no such tier" in until_alarmed(index, "builder_failing")
    assert "the bound is 32" in until_alarmed(index, "builder_behind")
    index.close()
