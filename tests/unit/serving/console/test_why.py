"""Why one candidate is in one answer and not in the other: what the node says, beside the candidate itself."""

from serving.console.views.why import why
from tests.console_fakes import LIVE, NEXT, NOW_MS, explanation_of


def test_each_bundle_says_its_own_reason_beside_the_text_that_one_of_them_holds() -> None:
    """The bundle that lacks it cannot show it; the question is about the same candidate all the same."""
    lacks = explanation_of(NEXT, "t:1", "not_held")
    holds = explanation_of(LIVE, "t:1", "ranked_lower", exact_rank=1_234, score=0.25)
    shown = why([(lacks, "ready"), (holds, "live")])
    assert (shown.candidate_id, shown.text, shown.language, shown.age) == ("t:1", "雪", "ja", "1 min")
    assert [(one.bundle, one.stage, one.label, one.tone) for one in shown.verdicts] == [
        (NEXT, "ready", "not in the index", "bad"),
        (LIVE, "live", "others score higher", ""),
    ]
    assert shown.verdicts[1].facts == (
        ("rank by an exact scan", "1,234"),
        ("score", "0.250"),
        ("score of the last of 3", "0.400"),
        ("held by", LIVE),
    )


def test_what_hides_a_candidate_is_named() -> None:
    """A filter of one's own is the first thing to rule out; a delete is somebody else's."""
    hidden = explanation_of(LIVE, "t:1", "filtered", hidden_by=["languages: it is ja"])
    assert ("hidden by", "languages: it is ja") in why([(hidden, "live")]).verdicts[0].facts
    deleted = explanation_of(NEXT, "t:1", "masked", deleted_at=(NOW_MS, 0), holdings=[])
    shown = why([(deleted, "")])
    assert (shown.text, shown.age) == ("", "")
    facts = dict(shown.verdicts[0].facts)
    assert facts["held by"] == "no bundle on this node"
    assert "deleted at" in facts
