"""When a refresh policy embeds what engagements changed. The tower plays no part: policies only choose."""

from dataclasses import replace

import pytest

from schemas.records.candidates import Candidate, Counters
from schemas.surfaces import load_surfaces
from streams.embedder.refresh import Embedded, Memory, Refresh, Value, refresh_for, steps_moved, steps_of

HOME = load_surfaces()["home-timeline"]
HOUR_MS = 3_600_000
ALL = 1_000


def policy(name: str) -> Refresh:
    """Return a policy of the home timeline by its name in the surfaces file."""
    return refresh_for(replace(HOME, refresh=name))


def candidate(name: str, favorites: int = 0, *, deleted: bool = False) -> Candidate:
    """Return a tweet with so many favorites."""
    return Candidate(f"t:{name}", 1, 0, 1, deleted=deleted, counters=Counters(favorite=favorites))


def names(chosen: list[Candidate]) -> list[str]:
    """Return what was chosen, and with how many favorites."""
    return [f"{one.candidate_id[2:]}{one.counters.favorite}" for one in chosen]


def test_write_time_embeds_every_candidate_engaged_with() -> None:
    """The default: a vector is at most a checkpoint behind its counters."""
    chosen = policy("write-time")
    assert names(chosen.engaged([candidate("a", 1), candidate("b", 1)], 0)) == ["a1", "b1"]
    assert names(chosen.engaged([candidate("a", 2)], 1)) == ["a2"]
    assert chosen.due(10**9, ALL) == []


def test_every_embeds_once_a_cadence_and_then_as_it_is_by_then() -> None:
    """A hundred engagements within the cadence are one vector, of the last of them, and none is forgotten."""
    chosen = policy("every=30s")
    chosen.embedded([candidate("a")], 0)
    for favorites in range(1, 101):
        assert chosen.engaged([candidate("a", favorites)], favorites * 100) == []
    assert chosen.due(29_999, ALL) == []
    assert names(chosen.due(30_000, ALL)) == ["a100"]
    assert chosen.due(60_000, ALL) == []
    assert names(chosen.engaged([candidate("a", 101)], 60_000)) == ["a101"]


def test_every_counts_its_cadence_from_whatever_embedded_the_candidate_last() -> None:
    """An update embeds it in the meantime: the turn of before the update would embed it twice within a second."""
    chosen = policy("every=30s")
    chosen.embedded([candidate("a")], 0)
    chosen.engaged([candidate("a", 1)], 1_000)
    chosen.embedded([candidate("a", 1)], 29_000)
    assert chosen.engaged([candidate("a", 2)], 29_500) == []
    assert chosen.due(30_000, ALL) == []
    assert names(chosen.due(59_000, ALL)) == ["a2"]


def test_threshold_embeds_when_the_engagements_pass_a_power_of_two() -> None:
    """1, 2, 4, 8, …: features are logarithms, so what comes between moves them less and less."""
    chosen = policy("threshold")
    chosen.embedded([candidate("a")], 0)
    passed = [favorites for favorites in range(1, 40) if chosen.engaged([candidate("a", favorites)], favorites)]
    assert passed == [1, 2, 4, 8, 16, 32]
    assert names(chosen.engaged([candidate("a", 31)], 50)) == ["a31"], "an undone one passes it downwards"


def test_value_spends_its_budget_where_the_counters_moved_most() -> None:
    """From 1 to 60 favorites moves a feature by five steps, from 1,000 to 1,100 by none."""
    chosen = policy("value=2/s")
    before = [candidate("much", 1), candidate("some", 1), candidate("little", 1), candidate("none", 1_030)]
    chosen.embedded(before, 0)
    chosen.due(0, ALL)
    assert (
        chosen.engaged([candidate("little", 3), candidate("none", 1_100), candidate("much", 60), candidate("some", 10)], 100) == []
    )
    assert names(chosen.due(1_000, ALL)) == ["much60", "some10"]
    assert names(chosen.due(2_000, ALL)) == ["little3"]
    assert chosen.due(HOUR_MS, ALL) == [], "what cannot have moved costs nothing"


def test_value_never_lets_a_candidate_wait_longer_than_its_bound() -> None:
    """A budget that is too small may not starve the candidates whose changes look small."""
    chosen = Value(Memory(0), rows_per_s=1, bound_s=5)
    everyone = [candidate(str(number)) for number in range(50)]
    chosen.embedded(everyone, 0)
    chosen.due(0, ALL)
    chosen.engaged([candidate(str(number), 1) for number in range(50)], 0)
    early = [len(chosen.due(second * 1000, ALL)) for second in range(1, 5)]
    assert early == [1, 1, 1, 1]
    assert len(chosen.due(5_000, ALL)) == 46
    chosen.engaged([candidate("0", 100)], 5_100)
    assert chosen.due(5_200, ALL) == [], "what the bound took is taken from the budget"


@pytest.mark.parametrize("name", ["every=30s", "value=1000/s"])
def test_no_more_is_embedded_at_once_than_is_asked_for_and_the_rest_comes_next(name: str) -> None:
    """1,200 vectors in one go, once a second, were what every tweet of a tenth of that second waited for."""
    chosen = policy(name)
    everyone = [candidate(str(number)) for number in range(50)]
    chosen.embedded(everyone, 0)
    chosen.due(0, ALL)
    chosen.engaged([candidate(str(number), 1) for number in range(50)], 1)
    parts = [chosen.due(60_000, 20) for _ in range(4)]
    assert [len(part) for part in parts] == [20, 20, 10, 0]
    assert {one.candidate_id for part in parts for one in part} == {one.candidate_id for one in everyone}


def test_a_candidate_whose_gain_has_changed_is_ranked_by_the_new_one() -> None:
    """What was liked and is disliked again would be embedded before those that moved more."""
    chosen = policy("value=1/s")
    chosen.embedded([candidate("up"), candidate("down"), candidate("even", 1)], 0)
    chosen.due(0, ALL)
    chosen.engaged([candidate("up", 1), candidate("down", 60), candidate("even", 60)], 100)
    chosen.engaged([candidate("up", 200), candidate("down", 3)], 200)
    assert [names(chosen.due(second * 1000, ALL)) for second in range(1, 5)] == [["up200"], ["even60"], ["down3"], []]


def test_a_surfaces_budget_is_shared_by_its_partitions() -> None:
    """The operator names what a surface may cost: four partitions that each spent it would cost four times that."""
    parts = [refresh_for(replace(HOME, refresh="value=40/s"), partitions=4) for _ in range(4)]
    for part in parts:
        part.embedded([candidate(str(number)) for number in range(50)], 0)
        part.due(0, ALL)
        part.engaged([candidate(str(number), 1) for number in range(50)], 0)
    assert sum(len(part.due(1_000, ALL)) for part in parts) == 40


def test_a_quiet_hour_saves_up_no_storm() -> None:
    """Credit is a second's at most: an hour's would embed everything at once when traffic comes back."""
    chosen = policy("value=10/s")
    everyone = [candidate(str(number)) for number in range(100)]
    chosen.embedded(everyone, 0)
    chosen.due(0, ALL)
    chosen.due(HOUR_MS, ALL)
    chosen.engaged([candidate(str(number), 1) for number in range(100)], HOUR_MS)
    assert len(chosen.due(HOUR_MS + 100, ALL)) <= 11


@pytest.mark.parametrize("name", ["every=30s", "value=1/s"])
def test_what_waits_is_dropped_when_it_is_embedded_or_deleted_for_another_reason(name: str) -> None:
    """An old state written behind a newer one, or behind a delete, would bring it back."""
    chosen = policy(name)
    chosen.embedded([candidate("a"), candidate("b")], 0)
    chosen.due(0, ALL)
    chosen.engaged([candidate("a", 9), candidate("b", 9)], 1)
    chosen.embedded([candidate("a", 10), candidate("b", 9, deleted=True)], 2)
    assert chosen.due(HOUR_MS, ALL) == []


@pytest.mark.parametrize("name", ["every=30s", "threshold", "value=1/s"])
def test_a_candidate_that_a_policy_does_not_know_is_embedded_first(name: str) -> None:
    """After a restart nothing is known of what was held back: waiting on would hold it back for ever."""
    chosen = policy(name)
    chosen.due(0, ALL)
    assert names(chosen.engaged([candidate("a", 5)], 100) + chosen.due(1_000, ALL)) == ["a5"]


def test_a_policy_takes_over_what_the_one_before_it_knew_and_held_back() -> None:
    """Another budget must neither forget who waits nor embed everybody that it has never heard of."""
    every = policy("every=30s")
    every.embedded([candidate("a"), candidate("b", 4)], 0)
    every.engaged([candidate("a", 1), candidate("b", 5)], 1_000)
    assert names(every.held_back()) == ["a1", "b5"]
    threshold = refresh_for(replace(HOME, refresh="threshold"), after=every)
    assert names(threshold.engaged(every.held_back(), 2_000)) == ["a1"], "5 is no threshold after 4"
    value = refresh_for(replace(HOME, refresh="value=1/s"), after=threshold)
    value.due(2_000, ALL)
    assert value.engaged([candidate("a", 1)], 2_000) + value.due(3_000, ALL) == [], "the vector of a is of the same counters"
    assert policy("write-time").held_back() == threshold.held_back() == value.held_back() == []


def test_memory_forgets_what_is_no_longer_retrievable() -> None:
    """Without it an embedder grows by every tweet there ever was."""
    memory = Memory(1_000)
    for number in range(10):
        memory.note([candidate(str(number))], number * 500)
    assert len(memory) == 3
    memory.note([candidate("9", deleted=True)], 4_500)
    assert memory.get("t:9") is None


def test_the_gain_of_an_undone_engagement_is_that_of_the_engagement() -> None:
    """Both move the vector."""
    last = Embedded(0, steps_of(Counters(favorite=3, click=1)), 4)
    assert steps_moved(last, candidate("a", 3)) == 1.0
    assert steps_moved(last, Candidate("t:a", 1, 0, 1, counters=Counters(favorite=3, click=1))) == 0.0
