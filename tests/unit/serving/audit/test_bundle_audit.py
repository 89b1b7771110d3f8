"""An index damaged on purpose: the audit says so, repairs it, and says when it is well again."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from serving.audit import bundle_audit
from serving.audit.bounds import FLOOR
from serving.audit.bundle_audit import (
    CLEARED_AFTER_QUERIES,
    PROBED_AGAIN,
    PROBED_AGAIN_AFTER_S,
    REBUILD_EVERY_S,
    RECALL_ALARM,
    REPORT_EVERY_S,
    BundleAudit,
)
from serving.audit.probe import finds
from serving.filling.filled import FilledIndex
from serving.filling.masks import Masks
from serving.health import GroupRecall
from serving.index import EVERYTHING, Candidate, CandidateIndex, Filter, IndexConfig, LiveIndex
from serving.query.tap import LiveQuery
from tests.damaged_index import CODED_EARLY, CODES, DIM, WALKED, lose, queries, rows, settled, shuffle_codes, shuffle_graph


class Audited:
    """An audit of an index, on clocks that move with each query."""

    def __init__(self, index: LiveIndex) -> None:
        self.index = index
        self.now_ms = 20_000_000
        self.clock_s = 0.0
        self.audit = BundleAudit(now_ms=lambda: self.now_ms, clock_s=lambda: self.clock_s)

    def ask(self, count: int, *, k: int = 10, where: Filter = EVERYTHING) -> None:
        """Audit so many queries."""
        for vector in queries(count):
            self._audit(LiveQuery(vector, k, where))

    def ask_until_alarmed(self, at_most: int, *, k: int) -> int:
        """Audit queries until the recall is said to be short; return how many it took."""
        for asked, vector in enumerate(queries(at_most), start=1):
            self._audit(LiveQuery(vector, k, EVERYTHING))
            if self.alarmed:
                return asked
        raise AssertionError(f"no alarm in {at_most} queries")

    def _audit(self, query: LiveQuery) -> None:
        self.passes(REPORT_EVERY_S)
        self.audit.audit(self.index, query)

    def passes(self, seconds: float) -> None:
        """Let time go by."""
        self.now_ms += round(seconds * 1000)
        self.clock_s += seconds

    @property
    def alarmed(self) -> bool:
        """Whether the recall is said to be short."""
        return RECALL_ALARM in self.audit.alarms

    def of(self, kind: str, group: str) -> GroupRecall:
        """Return what is known of a group."""
        return next(g for g in self.audit.health.groups if (g.kind, g.group) == (kind, group))

    def lower(self, kind: str, group: str) -> float:
        """Return a group's lower bound."""
        return self.of(kind, group).lower


@pytest.fixture(params=["codes", "graph"])
def tier(request: pytest.FixtureRequest) -> str:
    """Each settled tier in turn."""
    name: str = request.param
    return name


@pytest.fixture
def audited(tier: str) -> Iterator[Audited]:
    """Yield an index that is searched by that tier."""
    made = Audited(settled(CODES, count=20_000) if tier == "codes" else settled(WALKED, count=5_000))
    yield made
    made.index.close()


def damage(index: LiveIndex, tier: str) -> None:
    """Damage a tier in silence."""
    (shuffle_codes if tier == "codes" else shuffle_graph)(index)


def test_a_sound_index_raises_no_alarm_and_its_bounds_tighten(audited: Audited, tier: str) -> None:
    """An alarm that cries wolf is switched off by the third night."""
    audited.ask(60)
    assert not audited.alarmed
    assert audited.audit.health.queries == 60
    assert audited.audit.health.rebuilds == 0
    first = audited.lower("all", "all")
    audited.ask(200)
    assert not audited.alarmed
    assert audited.lower("all", "all") >= first
    assert audited.lower("all", "all") > FLOOR
    for kind, group in (("tier", tier), ("language", "ja"), ("age", "1 h to 6 h")):
        assert audited.lower(kind, group) > 0


def test_a_damaged_tier_is_alarmed_of_dropped_and_found_well_once_it_is_built_anew(audited: Audited, tier: str) -> None:
    """A damaged tier answers quickly, with true scores and the wrong candidates; nothing else would notice."""
    damage(audited.index, tier)
    audited.ask(10)
    assert audited.alarmed
    assert tier in audited.audit.alarms[RECALL_ALARM] or "recall of" in audited.audit.alarms[RECALL_ALARM]
    assert audited.audit.health.rebuilds == 1
    assert audited.index.stats().counters[f"distrusted_{tier}"] == 1
    at_once = audited.index.audit(queries(1)[0], 10)
    assert at_once.found.mean() > FLOOR, "the rows are searched elsewhere from that moment on"
    audited.index.maintain()
    stats = audited.index.stats()
    assert (stats.compressed_rows if tier == "codes" else stats.graph_rows) > 0, "and the tier is built anew"
    audited.ask(CLEARED_AFTER_QUERIES // 2)
    assert audited.alarmed, "a few good queries prove nothing yet"
    audited.ask(CLEARED_AFTER_QUERIES)
    assert not audited.alarmed


def test_codes_too_poor_for_an_answer_of_ten_are_told_by_answers_of_two_hundred_and_built_anew() -> None:
    """Learned of one topic, codes found .99 of the true 200 of others, but a quarter too few of the true ten: no audit told."""
    index = LiveIndex(DIM, replace(CODES, compressed=replace(CODED_EARLY, most_lost=math.inf)))
    topic = rows(CODED_EARLY.train_from_rows)
    index.upsert(replace(topic, vectors=(1 / math.sqrt(DIM) + topic.vectors / 30).astype(np.float32)))
    index.maintain()
    index.upsert(rows(20_000, first=len(topic)))
    index.maintain()
    audited = Audited(index)
    # half a minute of audits
    audited.ask_until_alarmed(60, k=200)
    assert audited.of("all", "all").recall > FLOOR > audited.of("rank", "first 10").upper
    assert "rank first 10" in audited.audit.alarms[RECALL_ALARM]
    index.maintain()
    assert index.stats().compressed_rows > 0
    audited.ask(CLEARED_AFTER_QUERIES, k=200)
    assert not audited.alarmed
    assert audited.of("rank", "first 10").recall > 0.99
    index.close()


def test_one_bad_query_is_no_proof(audited: Audited, tier: str) -> None:
    """The alarm must rest on an interval, not on a guess."""
    damage(audited.index, tier)
    audited.ask(1)
    assert not audited.alarmed


def test_a_tier_is_not_dropped_again_and_again(audited: Audited, tier: str) -> None:
    """If building it anew does not help, building it every second helps less: an operator is asked instead."""
    for _ in range(3):
        damage(audited.index, tier)
        audited.ask(10)
        audited.index.maintain()
    assert audited.alarmed
    assert audited.audit.health.rebuilds == 1
    audited.passes(REBUILD_EVERY_S)
    damage(audited.index, tier)
    audited.ask(10)
    assert audited.audit.health.rebuilds == 2


def test_a_clock_that_is_set_back_stops_no_audit(audited: Audited, tier: str) -> None:
    """For as long as it was set back by, a damaged tier raised no alarm and stayed."""
    audited.ask(1)
    audited.now_ms -= 3_600_000
    damage(audited.index, tier)
    audited.ask(10)
    assert audited.alarmed
    assert audited.audit.health.rebuilds == 1


def test_filtered_queries_are_audited_with_their_filter(audited: Audited) -> None:
    """Recall among one language is what a user of that language gets."""
    audited.ask(10, where=Filter(languages=frozenset({"ja"})))
    assert {g.group for g in audited.audit.health.groups if g.kind == "language"} == {"ja"}


def probed(config: IndexConfig, count: int) -> tuple[Audited, FilledIndex]:
    """Return an index filled as a node fills it."""
    index = LiveIndex(rows(1).vectors.shape[1], config)
    filled = FilledIndex(index, Masks(), id_prefix="t:")
    filled._upsert(rows(count))
    index.maintain()
    return Audited(index), filled


def test_a_new_candidate_that_its_own_vector_does_not_find_is_inserted_again() -> None:
    """Its author asks within seconds why it is not there."""
    audited, filled = probed(CODES, 1_000)
    newest = filled.newest_ids(1)[0]
    lose(audited.index, newest)
    vector = rows(1_000).vectors[-1]
    assert newest not in audited.index.search(vector, 10).candidate_ids
    assert audited.audit.probe(filled)
    assert audited.audit.health.probes_missed == 1
    assert newest in audited.index.search(vector, 10).candidate_ids
    assert len(audited.index) == 1_000
    filled.close()


def test_a_candidate_lost_after_it_settled_is_found_missing_a_minute_later() -> None:
    """A row is lost, if at all, when it moves from one tier to the next."""
    audited, filled = probed(CODES, 1_000)
    newest = filled.newest_ids(1)[0]
    audited.audit.probe(filled)
    assert audited.audit.health.probes_missed == 0
    assert not audited.audit.probe(filled), "nothing new came"
    lose(audited.index, newest)
    audited.passes(PROBED_AGAIN_AFTER_S)
    assert audited.audit.probe(filled)
    assert audited.audit.health.probes_missed == 1
    assert newest in audited.index.search(rows(1_000).vectors[-1], 10).candidate_ids
    filled.close()


def test_however_many_come_some_are_looked_for_a_minute_later() -> None:
    """At five new candidates a second each was pushed out of the line before its minute was over."""
    audited, filled = probed(CODES, 1_000)
    first = filled.newest_ids(1)[0]
    audited.audit.probe(filled)
    lose(audited.index, first)
    for n in range(2 * PROBED_AGAIN):
        filled._upsert(rows(1, first=1_000 + n))
        audited.passes(PROBED_AGAIN_AFTER_S / PROBED_AGAIN * 0.8)
        audited.audit.probe(filled)
    assert audited.audit.health.probes_missed == 1
    filled.close()


def test_a_deleted_candidate_is_never_inserted_again() -> None:
    """A repair that resurrects a takedown would be worse than the fault."""
    audited, filled = probed(CODES, 1_000)
    newest = filled.newest_ids(1)[0]
    audited.audit.probe(filled)
    filled.mask([newest], np.array([[10**9, 0]]))
    audited.passes(PROBED_AGAIN_AFTER_S)
    audited.audit.probe(filled)
    assert audited.index.get(newest) is None
    assert audited.audit.health.probes_missed == 0
    filled.close()


def test_a_refresh_that_comes_between_the_probe_and_its_repair_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the version of what it replaces: written back, the older vector would stand until the next engagement."""
    audited, filled = probed(CODES, 1_000)
    batch = rows(1_000)
    newest = filled.newest_ids(1)[0]
    lose(audited.index, newest)
    refreshed = replace(batch, vectors=np.roll(batch.vectors, 1, axis=0))

    def found_then_refreshed(index: CandidateIndex, candidate: Candidate) -> bool:
        found = finds(index, candidate)
        filled._upsert(refreshed)
        return found

    monkeypatch.setattr(bundle_audit, "finds", found_then_refreshed)
    audited.audit.probe(filled)
    assert audited.audit.health.probes_missed == 1
    held = audited.index.get(newest)
    assert held is not None
    unit = refreshed.vectors[-1] / np.linalg.norm(refreshed.vectors[-1])
    np.testing.assert_allclose(held.vector, unit, atol=1e-6)
    filled.close()


def test_many_candidates_with_one_vector_are_not_taken_for_lost_ones() -> None:
    """A template posted a hundred times: any ten of them are the right answer."""
    index = LiveIndex(rows(1).vectors.shape[1], CODES)
    filled = FilledIndex(index, Masks(), id_prefix="t:")
    batch = rows(100)
    batch.vectors[:] = batch.vectors[0]
    filled._upsert(batch)
    audited = Audited(index)
    assert audited.audit.probe(filled)
    assert audited.audit.health.probes_missed == 0
    filled.close()
