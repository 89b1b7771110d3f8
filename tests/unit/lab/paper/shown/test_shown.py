"""How results are shown: nothing is rounded away, nothing missing looks like a 0, and equal results give equal pictures."""

from pathlib import Path
from typing import Any

import pytest

from lab.paper.shown import plots, tables

ROW = {
    "auc": 0.8685,
    "per_user_auc": 0.636,
    "language_mismatch": 0.736,
    "unreadable": None,
    "engagement_at_10": 0.04761,
    "engagement_at_200": 0.0214,
    "ab_favorite_pct": -12.28,
    "ab_retweet_pct": 10.36,
}
TABLE_1: dict[str, Any] = {
    "seeds": [10],
    "rows": [{"model": "implicit", **ROW, "ci": {"auc": [0.86, 0.87]}}, {"model": "roost", **ROW, "ci": {}}],
    "per_seed": [[{"model": "implicit", **ROW, "ci": {}}, {"model": "roost", **ROW, "ci": {}}]],
}


def test_a_row_stands_beside_what_the_paper_prints() -> None:
    """Global .885 and per-user .678: the header of the paper's table has them the wrong way round."""
    header, rows = tables.table1(TABLE_1)
    shown = dict(zip(header[:3], rows[0][:3], strict=True))
    assert shown == {"model": "implicit negatives", "AUC": ".869 (.860 to .870)", "paper": ".885"}
    assert rows[0][header.index("per-user AUC") + 1] == ".678"
    assert rows[0][header.index("mismatch") : header.index("mismatch") + 2] == ["74%", "76%"]
    assert rows[1][2] == "–", "the paper has no such model"
    assert rows[0][header.index("unreadable")] == "–", "not measured is not 0"
    assert rows[0][-2:] == ["-12.3%", "+10.4%"]


def test_markdown_has_a_cell_a_column() -> None:
    """A missing cell would shift a row's figures under another's heading."""
    header, rows = tables.table1(TABLE_1)
    lines = tables.markdown(header, rows).splitlines()
    assert len(lines) == 4
    assert {line.count("|") for line in lines} == {len(header) + 1}


@pytest.mark.parametrize("name", ["table1", "table2"])
def test_equal_results_give_equal_pictures(name: str, tmp_path: Path) -> None:
    """The pictures are kept beside the results: a diff must mean that a figure changed."""
    for file in ("one.png", "other.png"):
        plots.save(getattr(plots, name)(TABLE_1), tmp_path / "deep" / file)
    one, other = ((tmp_path / "deep" / file).read_bytes() for file in ("one.png", "other.png"))
    assert one == other
    assert one.startswith(b"\x89PNG")


CONTINUAL: dict[str, Any] = {
    "seeds": [10],
    "rows": [
        {
            "arm": arm,
            "day": day,
            "auc": 0.8,
            "language_mismatch": 0.25,
            "engagement_at_10": 0.03,
            "engagement_at_200": 0.01,
            "effective_share": 0.175,
            "candidate_auc": None if arm == "frozen" else 0.85,
            "live_auc": None if arm == "frozen" else 0.8,
            "accepted": {"frozen": None, "naive": 0.5, "roost": 1.0}[arm],
            "refused_by": ["auc", "language_mismatch"] if arm == "naive" else [],
            "ci": {},
        }
        for day in (1, 2)
        for arm in ("frozen", "naive", "roost")
    ],
}


def test_the_days_of_a_line_stand_together_with_the_gates_that_refused_it(tmp_path: Path) -> None:
    """What was refused is the finding; a line that was never judged is not one that was accepted."""
    header, rows = tables.continual(CONTINUAL)
    assert [row[:2] for row in rows] == [[name, day] for name in ("frozen", "naive", "roost") for day in ("1", "2")]
    at = header.index("accepted by the gates")
    assert [row[at] for row in rows[::2]] == ["–", "50%", "100%"]
    assert [row[-1] for row in rows[::2]] == ["–", "auc, language_mismatch", "–"]
    assert rows[0][header.index("effective share")] == "17.5%"
    plots.save(plots.continual(CONTINUAL), tmp_path / "continual.png")
    assert (tmp_path / "continual.png").stat().st_size > 5_000


def compared(canary: str, of: str, truth: float, shared: float, diverted: float) -> dict[str, Any]:
    """Return a comparison of one seed; by engagements alone every sign is the other way round."""

    def effect(value: float) -> dict[str, float]:
        return {"value": value, "low": value - 0.01, "high": value + 0.01}

    measured = {
        log: {"quiet": effect(value), "seen": effect(-value)} for log, value in (("shared", shared), ("diverted", diverted))
    }
    return {"live": "schedule", "canary": canary, "of": of, "truth": effect(truth), **measured}


ARMS: dict[str, Any] = {
    "comparisons": [
        compared("naive", "worse", -0.03, -0.02, 0.01),
        compared("naive", "worse", -0.05, -0.04, -0.03),
        compared("equal", "equal", 0.001, 0.01, -0.01),
    ],
    "rows": [
        {
            "right": right,
            "of": 2,
            "right_low": 0.34,
            "right_high": 1.0,
            "seen_right": 2 - right,
            "recovered": 0.7,
            "recovered_low": 0.6,
            "recovered_high": 0.8,
        }
        for right in (2, 1)
    ],
}


def test_every_pair_has_its_signs_on_both_logs_and_an_equal_one_has_none_to_be_right(tmp_path: Path) -> None:
    """A sign that agrees with chance is no finding; the last row is what the study is for."""
    header, rows = tables.arms(ARMS)
    assert [row[0] for row in rows[:2]] == ["naive, schedule", "equal, schedule"]
    assert rows[0][1] == "-0.0400 (-0.0500 to -0.0300)"
    assert rows[0][2:] == ["-0.0300 (-0.0400 to -0.0200)", "2 of 2", "0 of 2", "-0.0100 (-0.0300 to +0.0100)", "1 of 2", "1 of 2"]
    assert [rows[1][at] for at in (3, 4, 6, 7)] == ["–"] * 4
    assert rows[2][2:5] == ["0.70 (0.60 to 0.80)", "2 of 2 (34% to 100%)", "0 of 2"]
    assert {len(row) for row in rows} == {len(header)}
    plots.save(plots.arms(ARMS), tmp_path / "arms.png")
    assert (tmp_path / "arms.png").stat().st_size > 5_000


FIG_3: dict[str, Any] = {
    "baseline": {"accuracy": 0.72, "auc": 0.8},
    "rows": [
        {
            "tau": tau,
            "biased_accuracy": value,
            "biased_auc": None,
            "full_accuracy": 0.5,
            "full_auc": 0.6,
            "kept_share": 0.4,
            "kept_positive_share": 0.9,
            "ci": {"full_accuracy": [0.49, 0.51]},
        }
        for tau, value in ((0.0, 0.7), (0.9, None))
    ],
}


def test_a_sweep_has_a_row_a_step_and_a_gap_where_nothing_was_measured(tmp_path: Path) -> None:
    """At a high tau no negative is left, so there is no AUC; drawn as 0 it would be the figure's main message."""
    header, rows = tables.fig3(FIG_3)
    assert [row[0] for row in rows] == ["0", "0.9", "trained on all"]
    assert rows[1][header.index("accuracy, biased test")] == "–"
    assert rows[0][header.index("accuracy, full test")] == ".500 (.490 to .510)"
    assert {len(row) for row in rows} == {len(header)}
    plots.save(plots.fig3(FIG_3), tmp_path / "fig3.png")


def test_figures_5_and_6_end_with_what_the_paper_prints() -> None:
    """Of both the paper prints one number: a triplet loss better by 17% per user, and an elbow at 2,500."""
    figures = dict.fromkeys(("auc", "per_user_auc", "sampled_auc", "language_mismatch", "popularity_correlation"), 0.5)
    header, rows = tables.fig5(
        {"triplet_gain_pct": -0.3, "rows": [{"loss": "triplet", "negatives": 4_000, **figures, "ci": {"auc": None}}]}
    )
    at = header.index("per-user AUC")
    assert [(row[0], row[at]) for row in rows[1:]] == [("triplet's gain", "-0.3%"), ("triplet's gain, paper", "+17.0%")]
    assert rows[0][header.index("AUC")] == ".500", "of one seed there is no range"
    elbows = [tables.fig6({"elbow_t": t, "rows": [{"t": 3.0, **figures, "ci": {}}]})[1][1:] for t in (3.0, None)]
    assert [[row[0] for row in two] for two in elbows] == [[f"elbow: {t}", "elbow, paper: 2,500"] for t in ("3", "–")]
    assert {len(row) for row in rows} == {len(header)}
