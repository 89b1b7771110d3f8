"""Where a kept result was measured, as the page tells it."""

from typing import Any

from lab.paper.shown.origin import measured_at, sentence


def result(commit: str, processor: str, load: float = 0.0) -> dict[str, Any]:
    """Return a result's own columns, and where it was measured."""
    return {"seeds": [1], "machine": {"processor": processor, "load_1m": load}, "commit": commit}


def test_a_result_says_where_it_was_measured_and_one_of_before_says_that_it_does_not() -> None:
    """Figures differ by processor: whoever runs it again must know whether theirs should be equal."""
    assert sentence(result("abc", "Xeon")) == "Measured at abc on Xeon."
    assert sentence({**result("abc", "Xeon"), "seconds_per_seed": 90.0}) == "Measured at abc on Xeon, in 1.5 minutes a seed."
    assert sentence({"seeds": [1]}) == "Measured before results named commit and machine."


def test_kept_results_that_become_one_keep_a_commit_and_processor_that_all_have() -> None:
    """`--again` measures nothing: this machine and today's commit would be those of no figure."""
    one, other = result("abc", "Xeon", 0.5), result("abc", "Xeon", 2.0)
    assert measured_at([one, other]) == {"machine": one["machine"], "commit": "abc"}
    assert measured_at([one, result("abd", "Xeon")]) == {}
    assert measured_at([one, result("abc", "Epyc")]) == {}
    assert measured_at([{"seeds": [1]}, {"seeds": [2]}]) == {}
