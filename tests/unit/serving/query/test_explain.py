"""Each reason why a candidate is, or is not, in an answer; on real towers and an exact index."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from schemas.ids import Version
from serving.api import ExplainRequest, Explanation
from serving.filling.masks import Masks
from serving.query.epochs import Canary, Epoch, Routing, RoutingTable
from serving.query.errors import BundleNotHeld, NothingLive, UnknownSurface
from serving.query.explain import Explainer
from serving.query.users import UserStore
from tests.filled_epochs import HOME, FilledEpoch, tweeted

NOW_MS = 2_000


class Node:
    """A live epoch with thirty candidates, and another one."""

    def __init__(self, registry: Path) -> None:
        self.masks = Masks()
        self.live = FilledEpoch(registry, seed=1, masks=self.masks)
        self.other = FilledEpoch(registry, seed=2, masks=self.masks)
        self.live.fill(
            *(
                tweeted(f"t:{n}", topics=(f"topic-{n}",), language="ja" if n % 2 else "en", author_id=f"a:{n % 3}")
                for n in range(30)
            )
        )
        held = {epoch.bundle: epoch.epoch for epoch in (self.live, self.other)}
        self.routing = Routing(HOME, 7, self.live.epoch, held=held)
        self.table = RoutingTable({HOME.name: self.routing})

    def explain(self, candidate_id: str, **request: Any) -> Explanation:
        """Explain at `NOW_MS`."""
        explainer = Explainer(self.table, UserStore(), self.masks, now_ms=lambda: NOW_MS)
        return explainer.explain(HOME.name, ExplainRequest(candidate_id=candidate_id, **request))


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """Return a node."""
    return Node(tmp_path)


def ranked(node: Node) -> list[str]:
    """Return all ids in the order in which they are retrieved."""
    return sorted((f"t:{n}" for n in range(30)), key=lambda i: node.explain(i, k=30).rank or 0)


def test_what_is_retrieved_has_its_rank_and_score(node: Node) -> None:
    """The ordinary case, so that the others can be told from it."""
    order = ranked(node)
    found = node.explain(order[2], k=5)
    assert (found.why, found.rank, found.exact_rank, found.arm, found.revision) == ("retrieved", 3, 3, "live", 7)
    assert found.score is not None
    assert found.last_score is not None
    assert found.score >= found.last_score
    assert found.bundle == node.live.bundle
    assert (found.text is not None, found.language in ("en", "ja"), found.author_id is not None) == (True, True, True)


def test_what_scores_lower_says_by_how_much(node: Node) -> None:
    """Nothing is wrong then: the towers prefer others."""
    last = node.explain(ranked(node)[-1], k=5)
    assert (last.why, last.rank, last.exact_rank) == ("ranked_lower", None, 30)
    assert last.score is not None
    assert last.last_score is not None
    assert last.score < last.last_score


@pytest.mark.parametrize(
    ("request_", "why", "hidden_by"),
    [
        ({"exclude": ("t:1",)}, "excluded", "exclude"),
        ({"languages": ("en",)}, "filtered", "languages: it is ja"),
        ({"max_age_s": 0.5}, "filtered", "max_age_s: it is 0.5 s too old"),
        ({"languages": ("en",), "exclude": ("t:1",)}, "excluded", "exclude"),
        ({"authors": ("a:x",)}, "filtered", "authors: it is of a:1"),
        ({"exclude_authors": ("a:1",)}, "filtered", "exclude_authors: it is of a:1"),
    ],
)
def test_what_the_request_hides_is_said_to_be_hidden(node: Node, request_: dict[str, Any], why: str, hidden_by: str) -> None:
    """The caller's own filter is the first thing to rule out."""
    found = node.explain("t:1", **request_)
    assert (found.why, found.hidden_by[0]) == (why, hidden_by)
    assert found.exact_rank is None


def test_what_an_author_cap_takes_away_is_said_to_be_capped(node: Node) -> None:
    """It ranks nowhere, however far one looks."""
    of_one_author = [node.explain(f"t:{n}", max_per_author=1, k=30) for n in range(1, 30, 3)]
    capped = [found for found in of_one_author if found.why != "retrieved"]
    assert len(capped) == len(of_one_author) - 1
    assert {(found.why, *found.hidden_by) for found in capped} == {("filtered", "max_per_author: 1 of a:1 are nearer")}


def test_a_deleted_candidate_is_masked_and_one_never_seen_is_not_held(node: Node) -> None:
    """The one is right, the other may be a fault further up."""
    node.live.delete("t:1", Version(1_500, 0))
    gone = node.explain("t:1")
    assert (gone.why, gone.deleted_at, gone.rank, gone.score) == ("masked", (1_500, 0), None, None)
    assert (gone.text, gone.language) == (None, None), "what was deleted is not shown"
    assert node.explain("t:never").why == "not_held"


def test_each_whole_epoch_says_what_it_holds(node: Node) -> None:
    """During a rollout a candidate may be in one index and not yet in the other."""
    node.other.fill(tweeted("t:1", topics=("topic-1",)))
    holdings = {holding.bundle: holding.version for holding in node.explain("t:1").holdings}
    assert holdings == {node.live.bundle: (1_000, 0), node.other.bundle: (1_000, 0)}
    assert node.explain("t:2", pin=node.other.bundle).why == "not_held"
    assert node.explain("t:1", pin=node.other.bundle).arm == "pinned"


def test_what_left_the_window_takes_nobody_s_place_in_an_explanation_either(node: Node) -> None:
    """Nothing is swept while the broker is away: what was retrieved at rank 1 was said to rank behind all that had expired."""
    first, *others = ranked(node)
    # all but the last are a second old
    node.live.fill(tweeted(others[-1], topics=(f"topic-{others[-1][2:]}",), created_ms=1_500))
    node.table.put(replace(node.routing, surface=replace(HOME, recency_window_s=1.0)))
    found = node.explain(others[-1], k=5)
    assert (found.why, found.rank, found.exact_rank) == ("retrieved", 1, 1)
    for request in ({}, {"max_per_author": 1}):
        gone = node.explain(first, **request)
        assert (gone.why, gone.rank, gone.exact_rank, gone.hidden_by) == ("expired", None, None, [])


def test_a_search_that_misses_what_the_scan_finds_is_named(node: Node) -> None:
    """The one reason that is the index's own fault."""

    class Blind:
        """An index whose search sees nothing of one candidate."""

        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

        def __len__(self) -> int:
            return len(self._inner)

        def search(self, query: Any, k: int, where: Any) -> Any:
            """Answer with the worst instead of the best."""
            return self._inner.search_exact(-query, k, where)

    best = ranked(node)[0]
    blind: Any = Blind(node.live.filled.index)
    node.table.put(Routing(HOME, 7, Epoch(node.live.bundle, node.live.towers, blind, node.live)))
    found = node.explain(best, k=5)
    assert (found.why, found.rank, found.exact_rank) == ("ann_miss", None, 1)


def test_a_user_of_the_canary_is_explained_from_the_canary(node: Node) -> None:
    """Explaining the live arm to a canary's user would explain another answer."""
    canary = Canary(node.other.epoch, "salt", 10_000)
    node.table.put(Routing(HOME, 8, node.live.epoch, (canary,), node.routing.held))
    found = node.explain("t:1", user_id="u:1")
    assert (found.arm, found.bundle) == ("canary", node.other.bundle)
    assert node.explain("t:1").arm == "live"


def test_refusals_are_those_of_a_retrieval(node: Node) -> None:
    """A person must not need a second table of errors."""
    with pytest.raises(BundleNotHeld):
        node.explain("t:1", pin="e" * 16)
    explainer = Explainer(node.table, UserStore(), node.masks)
    with pytest.raises(UnknownSurface):
        explainer.explain("nowhere", ExplainRequest(candidate_id="t:1"))
    node.live.filled.index.close()
    with pytest.raises(NothingLive, match="ask again"):
        node.explain("t:1")
