"""How the study of the gates is shown: its counts are the result's, and the sentence names the metric that the result names."""

from pathlib import Path
from typing import Any

from lab.paper.gate_study.judged import METRICS
from lab.paper.gate_study.summed import Row, summed
from lab.paper.shown import plots, tables
from lab.paper.shown.gate_tables import refusals, sentence, trainings, verdicts

OUTCOMES = ("ab_favorite_pct", "ab_retweet_pct", "engagement_at_10_pct")


def row(variant: str, effect: float, auc: float, recall: float, *, refused_by: str = "") -> Row:
    """Return a candidate of seed 1 whose other metrics could not be measured."""
    changes: dict[str, float | None] = {name: {"auc": auc, "recall_at_200": recall}.get(name) for name in METRICS}
    return Row(
        seed=1,
        variant=variant,
        group="setting",
        refused_by=[refused_by] if refused_by else [],
        metrics=changes,
        changes=changes,
        outcomes={name: [effect, effect - 1, effect + 1] for name in OUTCOMES},
    )


ROWS = [
    row("slow", 2.0, 0.01, 0.3),
    row("slow", 1.0, 0.02, 0.2),
    row("fast", -0.5, 0.0, 0.1, refused_by="auc_against_live"),
    row("naive", -3.0, 0.03, 0.0, refused_by="language_mismatch"),
]
RESULT: dict[str, Any] = dict(summed(ROWS, (1,), users=40))


def test_the_sentence_names_the_best_metric_and_the_best_that_a_gate_looks_at() -> None:
    """Recall separates all four pairs; served AUC gets .01 and .02 above 0 and below .03: two of four."""
    told = sentence(RESULT)
    assert told.startswith("The change of recall@200 tells the sign of the A/B test best: AUC 1.000 (")
    assert "rank correlation 1.00; of the metrics that gates look at, served AUC: AUC .500 (" in told


def test_without_a_worse_bundle_no_metric_is_said_to_tell_one() -> None:
    """A run of two bundles is soon tried, and would otherwise praise the first metric of the list."""
    study = dict(summed(ROWS[:2], (1,), users=40))
    assert study["best"] is None
    assert sentence(study) == "Of 2 bundles none is worse, or all are: there is no sign to tell."


def test_verdicts_are_counted_rule_by_rule() -> None:
    """The gates are right about all four; accepting everything is the yardstick beside them."""
    lines = [line.strip("| ").split(" | ") for line in verdicts(RESULT).splitlines()]
    shipped = next(line for line in lines if line[:2] == ["the gates as shipped", "all"])
    assert shipped[2:7] == ["2", "0", "0", "2", "100% (0% to 100%)"], "one seed tells of no other"
    blind = next(line for line in lines if line[:2] == ["everything accepted", "all"])
    assert blind[2:6] == ["2", "2", "0", "0"]
    assert blind[-2] == "–", "nothing refused is no share of 0"
    assert {len(line) for line in lines} == {len(lines[0])}


def test_trainings_and_gates_are_listed_with_what_was_refused() -> None:
    """A training that two seeds ran has one line, from its lowest effect to its highest."""
    lines = trainings(RESULT).splitlines()[2:]
    assert [line.split(" | ")[:4] for line in lines] == [
        ["| slow", "2", "0", "+1.5% (+1.0% to +2.0%)"],
        ["| fast", "1", "1", "-0.5%"],
        ["| naive", "1", "1", "-3.0%"],
    ]
    assert lines[1].endswith("auc_against_live |")
    assert "| language_mismatch | 1 | 1 | 1 | 1 | – | – |" in refusals(RESULT)


def test_a_metric_that_could_not_be_measured_has_a_dash_and_an_empty_panel(tmp_path: Path) -> None:
    """Shown as 0 it would look like a metric that tells nothing."""
    header, rows = tables.gates(RESULT)
    by_name = {cells[0]: dict(zip(header, cells, strict=True)) for cells in rows}
    assert by_name["mismatch"]["AUC for the sign"] == "–"
    assert by_name["recall@200"]["rank correlation"].startswith("1.00")
    assert (by_name["recall@200"]["a gate looks at it"], by_name["served AUC"]["a gate looks at it"]) == ("no", "yes")
    plots.save(plots.gates(RESULT), tmp_path / "gates.png")
    assert (tmp_path / "gates.png").stat().st_size > 5_000
