"""One answer, one epoch: what a query reads, and what it is told when there is no answer."""

import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from schemas.codec import encode
from schemas.errors import BundleCorrupt
from schemas.ids import Version
from schemas.records.feedback import CandidateToken, QueryToken
from schemas.records.users import QueryFeatures, UserEntry, UserEventKind, UserState
from schemas.tokens import read_token
from serving.api import ANSWER_JSON, Answer, InlineUser, RetrieveRequest
from serving.filling.masks import Masks
from serving.index import EVERYTHING, ExactIndex, Filter, Hits
from serving.index.protocol import FloatArray
from serving.query.epochs import Canary, Routing, RoutingTable
from serving.query.errors import BundleNotHeld, NodeBehind, NothingLive, UnknownSurface, WritesMissing
from serving.query.retrieve import Retriever
from serving.query.tally import AnswerTally
from serving.query.users import KnownUser, UserStore
from tests.filled_epochs import DIM, HOME, FilledEpoch, tweeted
from tests.posts import now_ms

TWEETS = [tweeted(f"t:{n}", topics=(f"topic-{n % 11}",), author_id=f"author-{n % 13}") for n in range(120)]


@pytest.fixture
def epochs(tmp_path: Path) -> tuple[FilledEpoch, FilledEpoch]:
    """Return two bundles' epochs that hold the same tweets."""
    masks = Masks()
    first, second = FilledEpoch(tmp_path, seed=1, masks=masks), FilledEpoch(tmp_path, seed=2, masks=masks)
    for epoch in (first, second):
        epoch.fill(*TWEETS)
    return first, second


def routing(live: FilledEpoch | None, *held: FilledEpoch, revision: int = 1, canaries: tuple[Canary, ...] = ()) -> Routing:
    """Return a routing to `live`."""
    every = (*held, live) if live is not None else held
    return Routing(HOME, revision, None if live is None else live.epoch, canaries, {each.bundle: each.epoch for each in every})


def retriever(*routings: Routing) -> tuple[Retriever, RoutingTable]:
    """Return a retriever and the table it reads."""
    table = RoutingTable({each.surface.name: each for each in routings})
    return Retriever(table, UserStore()), table


def answered(answering: Retriever, request: RetrieveRequest) -> Answer:
    """Return what a client reads of the answer."""
    encoded = answering.answer(HOME.name, request)
    answer = ANSWER_JSON.validate_json(encoded.body)
    assert (answer.request_id, answer.bundle, answer.revision) == (encoded.request_id, encoded.bundle, encoded.revision)
    assert (answer.cold, len(answer.candidates)) == (encoded.cold, encoded.candidates)
    return answer


def scores_by(epoch: FilledEpoch, features: QueryFeatures) -> dict[str, float]:
    """Return what one bundle's two towers say of every tweet, computed apart from any index."""
    query = epoch.towers.embed_queries([features])[0]
    vectors = epoch.towers.embed_candidates([tweet.features for tweet in TWEETS])
    return {tweet.candidate_id: float(score) for tweet, score in zip(TWEETS, vectors @ query, strict=True)}


def test_no_answer_mixes_two_bundles_while_the_routing_flips_back_and_forth(epochs: tuple[FilledEpoch, FilledEpoch]) -> None:
    """A mixed answer ranks vectors of two spaces against each other: wrong, and no lag metric shows it."""
    answering, table = retriever(routing(epochs[0], epochs[1]))
    request = RetrieveRequest(user=InlineUser(languages=("en",), interests=("topic-3",)), k=50)
    done = threading.Event()

    def flip() -> None:
        turn = 0
        while not done.is_set():
            turn += 1
            table.put(routing(epochs[turn % 2], epochs[1 - turn % 2], revision=turn))

    flipper = threading.Thread(target=flip, daemon=True)
    flipper.start()
    try:
        answers = [answered(answering, request) for _ in range(300)]
    finally:
        done.set()
        flipper.join()
    features = QueryFeatures(languages=("en",), interests=("topic-3",))
    truth = {epoch.bundle: scores_by(epoch, features) for epoch in epochs}
    for answer in answers:
        expected = [truth[answer.bundle][candidate.candidate_id] for candidate in answer.candidates]
        assert [candidate.score for candidate in answer.candidates] == pytest.approx(expected, abs=1e-5)
        assert min(expected) == pytest.approx(sorted(truth[answer.bundle].values())[-50], abs=1e-5), "the best fifty"
        tokens = [read_token(CandidateToken, candidate.token) for candidate in answer.candidates]
        assert {token.bundle for token in tokens if token is not None} == {answer.bundle}
        assert epochs[answer.revision % 2].bundle == answer.bundle or answer.revision == 1
    assert {answer.bundle for answer in answers} == set(truth), "both were live while we asked"


def test_an_epoch_retired_between_taking_and_searching_costs_a_retry_and_no_answer(
    epochs: tuple[FilledEpoch, FilledEpoch],
) -> None:
    """The index is closed the moment after the flip; whoever took the old epoch must still be answered, by the new one."""
    first, second = epochs
    answering, table = retriever(routing(first))

    class Retiring:
        def embed_queries(self, features: list[QueryFeatures]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
            table.put(routing(second, revision=2))
            first.filled.close()
            return first.towers.embed_queries(features)

    table.put(replace(routing(first), live=replace(first.epoch, towers=Retiring())))
    assert answered(answering, RetrieveRequest()).bundle == second.bundle


def test_a_canary_keeps_its_users_and_its_share(epochs: tuple[FilledEpoch, FilledEpoch]) -> None:
    """Users must not wander between towers, or neither is measured."""
    live, trial = epochs
    chosen = routing(live, trial, canaries=(Canary(trial.epoch, "salt", 2_500),))
    users = [f"user-{n}" for n in range(2_000)]
    once = [chosen.choose(user).bundle for user in users]
    assert once == [chosen.choose(user).bundle for user in users]
    assert once.count(trial.bundle) / len(users) == pytest.approx(0.25, abs=0.04)
    wider = routing(live, trial, canaries=(Canary(trial.epoch, "salt", 5_000),))
    kept = [wider.choose(user).bundle for user, bundle in zip(users, once, strict=True) if bundle == trial.bundle]
    assert set(kept) == {trial.bundle}, "a larger share keeps everyone the smaller one had"
    assert chosen.choose(None).bundle == live.bundle


def test_a_delete_in_one_epoch_is_a_delete_in_all(epochs: tuple[FilledEpoch, FilledEpoch]) -> None:
    """The other epoch's topic may lag: what was deleted is deleted for everybody at once."""
    first, second = epochs
    answering, _ = retriever(routing(first, second))
    first.delete("t:5", Version(1_000, 1))
    for epoch in epochs:
        held = answered(answering, RetrieveRequest(k=1000, pin=epoch.bundle))
        assert "t:5" not in {candidate.candidate_id for candidate in held.candidates}
    second.fill(replace(TWEETS[5], version=Version(1_000, 2)))
    lifted = answered(answering, RetrieveRequest(k=1000, pin=second.bundle))
    assert "t:5" in {candidate.candidate_id for candidate in lifted.candidates}


def test_refusals_say_what_to_do(epochs: tuple[FilledEpoch, FilledEpoch]) -> None:
    """Each of them is an operator's question at three in the morning."""
    first, second = epochs
    answering, table = retriever(routing(first, revision=4))
    with pytest.raises(UnknownSurface, match="this node serves home"):
        answering.answer("nowhere", RetrieveRequest())
    with pytest.raises(NodeBehind, match="by revision 4 of home, not yet 5"):
        answered(answering, RetrieveRequest(min_revision=5))
    with pytest.raises(BundleNotHeld, match=f"it holds {first.bundle}"):
        answered(answering, RetrieveRequest(pin=second.bundle))
    table.put(Routing(HOME, 4))
    with pytest.raises(NothingLive, match="start a rollout"):
        answered(answering, RetrieveRequest())


def test_more_than_there_is_and_nothing_at_all_are_answers(epochs: tuple[FilledEpoch, FilledEpoch], tmp_path: Path) -> None:
    """An empty index and a k beyond the corpus are ordinary on a new surface."""
    answering, table = retriever(routing(epochs[0]))
    assert len(answered(answering, RetrieveRequest(k=1000)).candidates) == len(TWEETS)
    table.put(routing(FilledEpoch(tmp_path, seed=3)))
    empty = answered(answering, RetrieveRequest())
    assert empty.candidates == []
    assert empty.freshness.as_of_ms is None


def test_an_answer_carries_what_an_impression_needs(epochs: tuple[FilledEpoch, FilledEpoch]) -> None:
    """The labeler learns features as of serve time from these two tokens alone."""
    answering, _ = retriever(routing(epochs[0]))
    context = {"author_id": "author-7", "topic": "日本語"}
    answer = answered(answering, RetrieveRequest(context=context, k=3))
    query = read_token(QueryToken, answer.query_token)
    assert query == QueryToken(epochs[0].bundle, QueryFeatures(context=context))
    best = answer.candidates[0]
    token = read_token(CandidateToken, best.token)
    tweet = next(tweet for tweet in TWEETS if tweet.candidate_id == best.candidate_id)
    assert token == CandidateToken(epochs[0].bundle, *tweet.current_version, features=tweet.features)
    assert (best.text, best.language, best.author_id) == (tweet.text, tweet.language, tweet.author_id)
    assert [candidate.rank for candidate in answer.candidates] == [1, 2, 3]


def test_filters_narrow_and_what_left_the_window_is_never_shown(tmp_path: Path) -> None:
    """The index is swept once a second; an answer in between must not show what expired."""
    window = replace(HOME, recency_window_s=60.0)
    epoch = FilledEpoch(tmp_path, seed=1)
    now = now_ms()
    ages_s = {"t:new": 1, "t:middle": 30, "t:expired": 61}
    epoch.fill(*(tweeted(name, created_ms=now - age * 1000, version=Version(now, 0)) for name, age in ages_s.items()))
    epoch.fill(tweeted("t:ja", language="ja", created_ms=now, version=Version(now, 0)))
    answering, _ = retriever(replace(routing(epoch), surface=window))

    def found(request: RetrieveRequest) -> set[str]:
        return {candidate.candidate_id for candidate in answered(answering, request).candidates}

    assert found(RetrieveRequest()) == {"t:new", "t:middle", "t:ja"}
    assert found(RetrieveRequest(max_age_s=10)) == {"t:new", "t:ja"}
    assert found(RetrieveRequest(languages=("ja",))) == {"t:ja"}
    assert found(RetrieveRequest(exclude=("t:new", "t:unheard-of"))) == {"t:middle", "t:ja"}


def test_authors_are_chosen_blocked_and_capped(tmp_path: Path) -> None:
    """A feed without whom the user blocked, and not all of one loud author; each as if the others were not there."""
    epoch = FilledEpoch(tmp_path, seed=1)
    now = now_ms()
    of = {f"t:{number}": "a:loud" if number < 6 else f"a:{number}" for number in range(9)}
    epoch.fill(*(tweeted(name, author_id=author, created_ms=now, version=Version(now, 0)) for name, author in of.items()))
    answering, _ = retriever(routing(epoch))

    def authors(request: RetrieveRequest) -> Counter[str]:
        return Counter(candidate.author_id for candidate in answered(answering, request).candidates)

    quiet = {"a:6": 1, "a:7": 1, "a:8": 1}
    assert authors(RetrieveRequest()) == {"a:loud": 6} | quiet
    assert authors(RetrieveRequest(max_per_author=2)) == {"a:loud": 2} | quiet
    assert authors(RetrieveRequest(exclude_authors=("a:loud", "a:unheard-of"))) == quiet
    assert authors(RetrieveRequest(authors=("a:loud", "a:7"), max_per_author=1)) == {"a:loud": 1, "a:7": 1}
    assert authors(RetrieveRequest(authors=())) == {}


def test_what_left_the_window_takes_nobody_s_place(tmp_path: Path) -> None:
    """An answer of k while k match: those that expired since the last sweep may be the nearest of all."""
    epoch = FilledEpoch(tmp_path, seed=1)
    now = now_ms()
    ages_s = {f"t:{number}": 61 if number < 10 else 1 for number in range(20)}
    epoch.fill(*(tweeted(name, created_ms=now - age * 1000, version=Version(now, 0)) for name, age in ages_s.items()))
    answering, _ = retriever(replace(routing(epoch), surface=replace(HOME, recency_window_s=60.0)))
    for k in (1, 5, 10, 20):
        answer = answered(answering, RetrieveRequest(k=k))
        assert [candidate.rank for candidate in answer.candidates] == list(range(1, min(k, 10) + 1))
        assert all(ages_s[candidate.candidate_id] == 1 for candidate in answer.candidates)


def test_an_exact_answer_holds_what_the_tiers_missed(epochs: tuple[FilledEpoch, FilledEpoch]) -> None:
    """Recall is measured against it: were it answered by the tiers too, every index would look perfect."""
    epoch = epochs[0]
    held = epoch.filled.index

    class Blind(ExactIndex):
        """Tiers that find nothing."""

        def search(self, query: FloatArray, k: int, where: Filter = EVERYTHING) -> Hits:
            return held.search(query, 0, where)

        def search_exact(self, query: FloatArray, k: int, where: Filter = EVERYTHING) -> Hits:
            return held.search_exact(query, k, where)

    answering, table = retriever(routing(epoch))
    table.put(replace(routing(epoch), live=replace(epoch.epoch, index=Blind(DIM))))
    assert answered(answering, RetrieveRequest(k=5)).candidates == []
    truth = answered(answering, RetrieveRequest(k=5, exact=True, exclude=("t:7",)))
    assert len(truth.candidates) == 5
    expected = {name: score for name, score in scores_by(epoch, QueryFeatures()).items() if name != "t:7"}
    assert [c.candidate_id for c in truth.candidates] == sorted(expected, key=expected.__getitem__, reverse=True)[:5]


def test_the_first_answer_after_an_engagement_is_told_of_with_its_time(epochs: tuple[FilledEpoch, FilledEpoch]) -> None:
    """How long until what a user did shows is what users feel; it must be taken from the answers themselves."""
    users = UserStore()
    told: list[tuple[str, KnownUser, int]] = []
    table = RoutingTable({HOME.name: routing(epochs[0])})
    asked = Retriever(table, users, now_ms=lambda: 9_000, reflected=lambda *what: told.append(what))
    users.live_from(1_000)
    entry = UserEntry("e", UserEventKind.FAVORITE, "t:1", 5_000, author_id="author-9")
    users.put("ann", encode(UserState("ann", profile_time_ms=1, entries=(entry,))), came_ms=5_200)
    for user_id in (None, "stranger", "ann", "ann"):
        asked.answer(HOME.name, RetrieveRequest(user_id=user_id, k=3))
    ((surface, user, answered_ms),) = told
    assert (surface, user.engaged_ms, user.held_from_ms, answered_ms) == (HOME.name, 5_000, 5_200, 9_000)


def test_an_answer_says_what_it_reflects_and_a_caller_who_needs_more_is_refused(epochs: tuple[FilledEpoch, FilledEpoch]) -> None:
    """Read your writes: an answer without the tweet that its author has just sent looks like a lost tweet."""
    live, behind = epochs
    live.reflects, behind.reflects = {"tweets": {0: 7, 1: 3}, "engagements": {0: 9}}, {"tweets": {0: 6}}
    answering, _ = retriever(routing(live, behind))
    written = RetrieveRequest(min_offset={"tweets": {0: 7, 1: 3}})
    answer = answered(answering, written)
    assert answer.as_of == live.reflects
    assert not answering.waits_for_writes(HOME.name, written)
    # the epoch that answers counts, not another one that the node holds
    pinned = written.model_copy(update={"pin": behind.bundle})
    assert answering.waits_for_writes(HOME.name, pinned)
    with pytest.raises(WritesMissing, match=r"tweets/0 up to offset 6, not yet 7"):
        answered(answering, pinned)
    behind.reflects = answer.as_of
    assert answered(answering, pinned).bundle == behind.bundle


def test_an_index_that_fills_while_it_is_searched_promises_no_more_than_it_held_before(
    epochs: tuple[FilledEpoch, FilledEpoch],
) -> None:
    """What arrives during the search may be missed by it: the position is taken first."""
    first, _ = epochs

    class Filling:
        def embed_queries(self, features: list[QueryFeatures]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
            first.reflects = {"tweets": {0: 100}}
            return first.towers.embed_queries(features)

    first.reflects = {"tweets": {0: 1}}
    answering, _ = retriever(replace(routing(first), live=replace(first.epoch, towers=Filling())))
    assert answered(answering, RetrieveRequest()).as_of == {"tweets": {0: 1}}


def test_a_refusal_that_waiting_cannot_mend_is_not_waited_for(epochs: tuple[FilledEpoch, FilledEpoch]) -> None:
    """Nobody holds the pinned bundle: a second more changes nothing."""
    answering, _ = retriever(routing(epochs[0]))
    assert not answering.waits_for_writes(HOME.name, RetrieveRequest(min_offset={"tweets": {0: 7}}, pin="f" * 16))
    assert not answering.waits_for_writes("nowhere", RetrieveRequest(min_offset={"tweets": {0: 7}}))


def test_answers_are_counted_for_the_bundle_that_gave_them_but_for_those_that_asked_for_it(
    epochs: tuple[FilledEpoch, FilledEpoch],
) -> None:
    """A canary is stopped by these counts: a script that pins its bundle, or scans exactly, must not stop it."""
    live, trial = epochs

    class Broken:
        def embed_queries(self, features: list[QueryFeatures]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
            raise BundleCorrupt("a vector is NaN")

    tally = AnswerTally()
    table = RoutingTable({HOME.name: routing(live, trial)})
    asked = Retriever(table, UserStore(), tally=tally)
    for request in (
        RetrieveRequest(),
        RetrieveRequest(languages=("tlh",)),
        RetrieveRequest(exact=True),
        RetrieveRequest(pin=trial.bundle),
    ):
        asked.answer(HOME.name, request)
    table.put(replace(routing(live), live=replace(live.epoch, towers=Broken())))
    with pytest.raises(BundleCorrupt):
        asked.answer(HOME.name, RetrieveRequest())
    found = tally.counts()
    assert set(found) == {live.bundle}
    assert (found[live.bundle].answered, found[live.bundle].empty, found[live.bundle].failed) == (2, 1, 1)
    tally.keep_only({trial.bundle})
    assert tally.counts() == {}
