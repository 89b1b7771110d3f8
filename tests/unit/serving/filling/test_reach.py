"""How far an index reaches into the input: a claim holds once so much of the embeddings topic is applied, and not before."""

from serving.filling.reach import SourceReach


def test_a_claim_holds_when_everything_below_its_end_is_applied() -> None:
    """One record less, and the tweet that the caller waits for may be the one that is missing."""
    reach = SourceReach()
    reach.claim(0, 10, {"tweets": 4, "engagements": 7})
    assert reach.positions({0: 9, 1: 99}) == {}
    assert reach.positions({0: 10}) == {"tweets": {0: 4}, "engagements": {0: 7}}


def test_positions_never_go_back() -> None:
    """A report is up to a second old, and marks come with every batch: the older claim must not undo the newer one."""
    reach = SourceReach()
    reach.claim(0, 10, {"tweets": 4})
    reach.claim(0, 8, {"tweets": 3, "engagements": 9})
    assert reach.positions({0: 20}) == {"tweets": {0: 4}, "engagements": {0: 9}}
    # a record that cannot be applied holds the place back; what was reached before stays true
    assert reach.positions({0: 2}) == {"tweets": {0: 4}, "engagements": {0: 9}}


def test_a_claim_that_waits_does_not_hold_up_those_that_are_met() -> None:
    """A report may name an end that comes later than the marks that follow it."""
    reach = SourceReach()
    reach.claim(1, 50, {"tweets": 30})
    reach.claim(1, 20, {"tweets": 12})
    assert reach.positions({1: 20}) == {"tweets": {1: 12}}
    assert reach.positions({1: 50}) == {"tweets": {1: 30}}


def test_a_place_that_stands_still_for_long_keeps_the_newest_claims_only() -> None:
    """One bad record, and a mark comes a thousand times a minute: memory must not grow, nor the newest be lost."""
    reach = SourceReach()
    for number in range(1_000):
        reach.claim(0, number + 1, {"tweets": number})
    assert reach.positions({0: 900}) == {}
    assert reach.positions({0: 1_000}) == {"tweets": {0: 999}}


def test_offsets_of_a_topic_that_is_gone_reach_nowhere_in_the_one_that_has_its_name() -> None:
    """The first tweet of the new one would count as there, since the old one was longer."""
    reach = SourceReach()
    reach.claim(0, 10, {"tweets": 5_000, "articles": 3}, {"tweets": "old", "articles": "same"})
    assert reach.positions({0: 10}, {"tweets": "old", "articles": "same"}) == {"tweets": {0: 5_000}, "articles": {0: 3}}
    assert reach.positions({0: 10}, {"tweets": "new", "articles": "same"}) == {"tweets": {}, "articles": {0: 3}}
    reach.claim(0, 11, {"tweets": 2}, {"tweets": "new"})
    # of an embedder that has not noticed
    reach.claim(1, 11, {"tweets": 5_001}, {"tweets": "old"})
    assert reach.positions({0: 11, 1: 11}, {"tweets": "new"})["tweets"] == {0: 2}


def test_before_the_broker_has_told_the_newest_claims_count() -> None:
    """A node answers while the broker is away; the log is in order, so that what was said last is of the newest topic."""
    reach = SourceReach()
    reach.claim(0, 10, {"tweets": 5_000}, {"tweets": "old"})
    reach.claim(0, 11, {"tweets": 2}, {"tweets": "new"})
    assert reach.positions({0: 11}) == {"tweets": {0: 2}}


def test_claims_that_do_not_say_of_which_topic_they_are_count_as_long_as_there_are_no_others() -> None:
    """Nodes are replaced before embedders: those of an earlier release say nothing of it, and authors wait for their tweets."""
    reach = SourceReach()
    reach.claim(0, 10, {"tweets": 7})
    assert reach.positions({0: 10}, {"tweets": "new"}) == {"tweets": {0: 7}}
    reach.claim(0, 11, {"tweets": 2}, {"tweets": "new"})
    assert reach.positions({0: 11}, {"tweets": "new"}) == {"tweets": {0: 2}}
