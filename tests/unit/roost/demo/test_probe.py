"""What the demo says of its probes."""

import json

from roost.demo.probe import Freshness


def test_a_demo_whose_probes_were_all_lost_still_has_its_report() -> None:
    """JSON has no infinity: the demo ended in a trace in place of the figures that say what was lost."""
    lost = Freshness((), 50)
    assert json.dumps(lost.percentiles(), allow_nan=False) == '{"p50": null, "p99": null}'
    assert lost.sentence() == "published and found by a query 0 times of 50"


def test_the_probes_that_were_found_are_told_with_their_times() -> None:
    """The sentence that people quote."""
    found = Freshness((10.0, 20.0, 30.04), 1)
    assert found.percentiles() == {"p50": 20.0, "p99": 29.8}
    assert found.sentence() == "published and found by a query 3 times of 4: p50 20 ms, p99 30 ms"
