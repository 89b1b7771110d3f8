"""The page of the paper: its tables as they are written down, its figures as charts, and whatever else there is."""

import json
from pathlib import Path
from typing import Any

import pytest

from lab.paper.shown import gate_tables, tables
from roost.cli.console import PaperTables
from serving.console.views.paper import Result, results
from serving.console.views.paper_plots import paper_plots
from serving.console.watch.files import ResultFiles
from tests.console_fakes import NoPaper

BENCH = Path(__file__).parents[4] / "docs" / "bench"


@pytest.fixture(scope="module")
def kept() -> dict[str, Result]:
    """Return the page of the results that are kept in the repository, by name."""
    return {result.name: result for result in results(ResultFiles(BENCH).read(), PaperTables())}


def test_the_kept_tables_stand_beside_what_the_paper_prints(kept: dict[str, Result]) -> None:
    """The page and docs/paper.md must not say two things."""
    assert list(kept)[:5] == ["table1", "table2", "fig3", "fig5", "fig6"]
    header, rows = tables.table1(json.loads((BENCH / "table1.json").read_text()))
    (table,) = kept["table1"].tables
    assert list(table.columns) == header
    assert header.count("paper") == 3
    assert [[f"{c.text} ({c.interval})" if c.interval else c.text for c in row] for row in table.rows] == rows
    assert (table.numeric[0], all(table.numeric[1:])) == (False, True)


@pytest.mark.parametrize(("name", "charts"), [("fig3", 2), ("fig5", 4), ("fig6", 4)])
def test_the_kept_figures_are_charts_of_their_rows(kept: dict[str, Result], name: str, charts: int) -> None:
    """A figure as a table of numbers alone shows no elbow."""
    plots = kept[name].plots
    assert len(plots) == charts
    for plot in plots:
        assert list(plot.at) == sorted(set(plot.at))
        assert json.loads(plot.as_json())["name"] == plot.name
        for line in plot.lines:
            assert len(line.values) == len(plot.at)
            assert any(value is not None for value in line.values)
            both = zip(line.low, line.values, line.high, strict=True) if line.low else ()
            assert all(low is None or value is None or high is None or low <= value <= high for low, value, high in both)


def test_a_line_has_gaps_where_a_row_is_missing_and_the_baseline_is_level() -> None:
    """Triplet loss was run at one place only: a line through nothing would be made up."""
    rows: list[dict[str, Any]] = [
        {"loss": "cross_entropy", "negatives": n, "auc": n / 10, "ci": {"auc": [0.0, 1.0]}} for n in (1, 4)
    ]
    rows.append({"loss": "triplet", "negatives": 4, "auc": 0.5})
    auc, *_ = paper_plots("fig5", {"rows": rows})
    assert [list(line.values) for line in auc.lines] == [[0.1, 0.4], [None, 0.5]]
    assert [len(line.low) for line in auc.lines] == [2, 0]
    third = {"rows": [{"tau": tau, "biased_auc": 0.5, "full_auc": 0.6} for tau in (0.0, 0.5)], "baseline": {"auc": 0.7}}
    assert list(paper_plots("fig3", third)[1].lines[-1].values) == [0.7, 0.7]


@pytest.mark.parametrize("content", [{}, {"rows": []}, {"rows": [1, {"tau": "x"}]}, {"rows": "no"}, {"rows": [{"tau": 0.5}]}])
def test_a_file_of_another_shape_is_no_figure_and_no_error(content: dict[str, Any]) -> None:
    """A folder is a folder: people put there what they like."""
    assert paper_plots("fig3", content) == ()
    assert PaperTables().tables("fig3", content) == {}
    assert len(results({"fig3": content}, PaperTables())) == 1


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("table1", ("rows", 0, "model"), "null"),
        ("gates", ("rows", 0, "outcomes", "ab_favorite_pct"), "[]"),
        ("table1", ("seeds",), "1" + "0" * 400),
    ],
)
def test_a_result_whose_rows_hold_something_else_is_shown_as_it_is(
    tmp_path: Path, name: str, place: tuple[str | int, ...], value: str
) -> None:
    """One file of another release, or one cut by hand, answered with an error in place of the whole page."""
    content = json.loads((BENCH / f"{name}.json").read_text())
    inside: Any = content
    for key in place[:-1]:
        inside = inside[key]
    inside[place[-1]] = "here"
    (tmp_path / f"{name}.json").write_text(json.dumps(content).replace('"here"', value))
    assert [result.name for result in results(ResultFiles(tmp_path).read(), PaperTables())] == [name]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "1" + "0" * 400])
def test_what_is_no_number_is_a_gap_in_a_chart(tmp_path: Path, number: str) -> None:
    """The page's script reads JSON, which has no NaN: it stopped at the first, and no chart of the page was drawn."""
    rows = ",".join(f'{{"t": {t}, "auc": {number if t == 2 else 0.5}}}' for t in (1, 2, 3))
    (tmp_path / "fig6.json").write_text(f'{{"rows": [{rows}]}}')
    (tmp_path / "nested.json").write_text("[" * 200_000)
    (result,) = results(ResultFiles(tmp_path).read(), NoPaper())
    drawn = json.loads(result.plots[0].as_json(), parse_constant=pytest.fail)
    assert drawn["lines"][0]["values"] == [0.5, None, 0.5]


def test_results_become_tables_with_their_intervals_the_papers_own_first() -> None:
    """The page shows what a run wrote, without knowing each experiment."""
    rows = [{"model": "two-tower", "auc": 0.71234, "ci": {"auc": [0.70, 0.72]}}, {"model": "oracle"}]
    found = results(
        {"recall": {"live": 50_000, "machine": {"cores": 2}}, "table1": {"seeds": [1, 2], "rows": rows}, "odd": [1]}, NoPaper()
    )
    assert [result.name for result in found] == ["table1", "recall"]
    (table,) = found[0].tables
    assert (table.columns, table.numeric) == (("model", "auc"), (False, True))
    assert (table.rows[0][1].text, table.rows[0][1].interval) == ("0.7123", "0.7 to 0.72")
    assert table.rows[1][1].text == "–"
    assert (found[0].facts, found[0].run) == ((), (("seeds", "1, 2"),))
    assert (found[1].facts, found[1].run) == ((("live", "50,000"),), (("machine cores", "2"),))


def test_the_gates_are_summed_up_as_docs_paper_has_them_and_the_trainings_are_folded_away(kept: dict[str, Result]) -> None:
    """84 raw rows, without what was nested in them, made the page eight screens long and told nothing."""
    study = json.loads((BENCH / "gates.json").read_text())
    verdicts, metrics, refusals, trainings = kept["gates"].tables
    assert list(verdicts.columns) == gate_tables.summary_rows(study)[0]
    shipped = [cell.text for cell in verdicts.rows[0]]
    assert shipped == ["the gates as shipped", "6", "1", "62", "15", "25%", "86%", "9%", "19%", "94%"]
    assert (verdicts.numeric[:2], metrics.columns[1], len(refusals.rows)) == ((False, True), "AUC for the sign", 12)
    assert [table.long for table in kept["gates"].tables] == [False, False, False, True]
    assert all(len(table.rows) <= 24 or table.long for result in kept.values() for table in result.tables)
    assert trainings.columns[0] == "training"


def test_of_a_long_raw_table_the_first_rows_are_shown_and_what_is_left_out_is_said() -> None:
    """A page of a hundred rows is not read; a column that is missing without a word is looked for elsewhere."""
    rows = [{"n": n, "ci": {"n": [0, 1]}, "outcomes": {"a": [n]}} for n in range(100)]
    (table,) = results({"odd": {"rows": rows}}, NoPaper())[0].tables
    assert (table.columns, len(table.rows)) == (("n",), 12)
    assert table.left_out == "and 88 more rows and the lists of outcomes in the file"
    (whole,) = results({"odd": {"rows": [{"n": 1}]}}, NoPaper())[0].tables
    assert whole.left_out == ""
