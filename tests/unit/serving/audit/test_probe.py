"""New candidates looked for as a user would: the time until a query finds one, and the ones none finds."""

from collections.abc import Iterator

import numpy as np
import pytest

from serving.audit.probe import EVERY_S, NewcomerProbe
from serving.filling.embeddings import EmbeddingBatch
from tests.damaged_index import CODES, lose, rows, settled


class Probed:
    """A probe of an index, on clocks that the test moves."""

    def __init__(self) -> None:
        self.index = settled(CODES, count=1_000)
        self.heard: list[float | None] = []
        self.clock_s = 100.0
        self.probe = NewcomerProbe(self.heard.append, now_ms=lambda: 20_250, clock_s=lambda: self.clock_s)

    def look(self, *positions: int) -> None:
        """Apply a batch of the first rows, of which those at `positions` are new, and look."""
        batch = EmbeddingBatch(rows(10), np.full(10, 20_000), (), (), ())
        self.probe.look(self.index, batch, positions)


@pytest.fixture
def probed() -> Iterator[Probed]:
    """Yield a probe."""
    made = Probed()
    yield made
    made.index.close()


def test_a_new_candidate_is_as_old_as_its_append_when_a_query_finds_it(probed: Probed) -> None:
    """An index that holds a row and does not find it is as stale as one that lacks it."""
    probed.look(3)
    assert probed.heard == [0.25]


def test_a_new_candidate_that_no_query_finds_is_no_fast_one(probed: Probed) -> None:
    """A time without the lost ones would be best where most are lost."""
    lose(probed.index, rows(10).candidate_ids[3])
    probed.look(3)
    assert probed.heard == [None]


def test_probes_cost_one_search_a_second_and_only_what_is_new_is_looked_for(probed: Probed) -> None:
    """The thread that fills the index must not spend its time on looking; a refreshed row was findable before."""
    probed.look()
    assert probed.heard == []
    probed.look(1)
    probed.look(2)
    probed.clock_s += EVERY_S
    probed.look(2)
    assert len(probed.heard) == 2


def test_a_candidate_deleted_in_the_same_breath_is_not_missed(probed: Probed) -> None:
    """A takedown is no fault of the index."""
    gone = rows(10).candidate_ids[3]
    probed.index.delete([gone], np.array([[10**12, 0]]))
    probed.look(3)
    assert probed.heard == []
