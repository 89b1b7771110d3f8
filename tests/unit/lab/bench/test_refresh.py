"""The refresh bench at toy size: every policy has its point, and the oracle is itself."""

import json

from lab.bench import refresh


def test_every_policy_has_its_point_and_spends_less_than_the_oracle() -> None:
    """A policy that embeds as much as write-time does saves nothing."""
    said: list[str] = []
    told: list[tuple[int, int]] = []
    report = refresh.run(live=300, seconds=40, say=said.append, on_progress=lambda *steps: told.append(steps))
    rows = {str(row["policy"]): row for row in report["rows"]}  # type: ignore[attr-defined]
    assert list(rows) == list(refresh.POLICIES)
    oracle = rows.pop("write-time")
    assert oracle["overlap_min"] == 1.0
    assert all(0 < row["overlap_min"] <= row["overlap_mean"] <= 1 for row in rows.values())
    assert all(row["rows_embedded"] < oracle["rows_embedded"] for row in rows.values())
    assert rows["every=60s"]["rows_embedded"] < rows["every=15s"]["rows_embedded"] < rows["every=5s"]["rows_embedded"]
    assert 0 <= report["value_beats"] <= report["value_beats_of"]  # type: ignore[operator]
    assert len(said) == len(refresh.POLICIES) + 1
    assert told == [(done + 1, len(refresh.POLICIES)) for done in range(len(refresh.POLICIES))]
    json.dumps(report)
