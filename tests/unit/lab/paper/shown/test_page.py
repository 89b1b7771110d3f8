"""docs/paper.md: its figures are those of the kept results, to the last digit."""

import json
from pathlib import Path
from typing import Any

import pytest

from lab.paper.experiment import ExperimentSettings
from lab.paper.shown.claims import claims, continual_claims, held
from lab.paper.shown.page import AGAIN, EXPERIMENTS, draw_all, kept, rewritten
from lab.paper.sweep.chosen import with_chosen
from schemas.errors import InvalidInput

ROOT = Path(__file__).parents[5]


def test_the_page_holds_what_the_kept_results_hold() -> None:
    """A figure typed by hand, or left over from an older run, would be believed like a measured one."""
    results = kept(ROOT / "docs" / "bench")
    page = (ROOT / "docs" / "paper.md").read_text("utf-8")
    assert results.keys() >= {"table1", "table2"}
    assert rewritten(page, results) == page, "run `roost paper page`"
    for name in results.keys() & {*EXPERIMENTS}:
        assert (ROOT / "docs" / "paper" / f"{name}.png").is_file()


def test_every_claim_of_the_page_holds_in_every_kept_seed() -> None:
    """Table 1's order and the row that beats the paper are promises: no broken one is kept unseen."""
    results = kept(ROOT / "docs" / "bench")
    for name in ("table1", AGAIN):
        assert len(results[name]["seeds"]) >= 3
        for claim, seeds in held(results[name]):
            assert seeds == results[name]["seeds"], (name, claim)


def test_settings_are_chosen_on_seeds_that_no_table_reports() -> None:
    """What was chosen on a world is at its best there: reported there, it would show more than holds elsewhere."""
    results = kept(ROOT / "docs" / "bench")
    chosen_on = {*results["sweep"]["seeds"]}
    assert len(chosen_on) >= 3
    for name in ("table1", "table2", AGAIN):
        assert chosen_on.isdisjoint(results[name]["seeds"]), name


def test_what_is_shipped_and_reported_is_what_the_sweep_chose() -> None:
    """Baselines that nobody tuned are easily beaten; and a recipe better than what `roost train ensemble` trains helps nobody."""
    sweep = kept(ROOT / "docs" / "bench")["sweep"]
    assert with_chosen(ExperimentSettings(), sweep) == ExperimentSettings()


def test_a_claim_is_held_seed_by_seed() -> None:
    """A mean over seeds hides the one in which the order breaks."""
    rows = _rows()
    worse = [{**row, "auc": 0.84} if row["model"] == "implicit" else row for row in rows]
    found = dict(held({"seeds": [1, 2], "per_seed": [rows, worse]}))
    assert next(seeds for claim, seeds in found.items() if "at least .85" in claim) == [1]
    assert next(seeds for claim, seeds in found.items() if "at 10 and at 200" in claim) == [], "equal at 200 is not more"
    assert next(seeds for claim, seeds in found.items() if "within .05" in claim) == [1, 2]


def test_claims_on_other_seeds_have_a_column_of_their_own() -> None:
    """Two results in one column would be twice the seeds of neither."""
    worse = [{**row, "auc": 0.88} if row["model"] == "implicit" else row for row in _rows()]
    table = claims({"seeds": [1], "per_seed": [_rows()]}, {"seeds": [2, 3], "per_seed": [_rows(), worse]})
    [line] = [line for line in table.splitlines() if "roost: served AUC" in line]
    assert line.split(" | ")[1:] == ["1 of 1", "1 of 2: 2 |"]


def _rows() -> list[dict[str, Any]]:
    """Return a row a model, in which `roost` has as much as the fine-tune at 200, and more of the rest."""
    models: dict[str, dict[str, Any]] = {
        "implicit": {"auc": 0.86, "language_mismatch": 0.8},
        "random": {"auc": 0.61, "language_mismatch": 0.1},
        "random_in_batch": {"auc": 0.55, "language_mismatch": 0.05},
        "fine_tuned": {"auc": 0.80, "language_mismatch": 0.3, "engagement_at_10": 0.05, "engagement_at_200": 0.03},
        "roost": {"auc": 0.85, "language_mismatch": 0.12, "engagement_at_10": 0.06, "engagement_at_200": 0.03},
    }
    for name in ("fine_tuned", "roost"):
        models[name].update(ab_favorite_pct=1.0 if name == "roost" else 0.0, ab_retweet_pct=1.0 if name == "roost" else 0.0)
    return [{"model": name, **figures} for name, figures in models.items()]


def test_a_claim_of_the_study_of_days_that_does_not_hold_is_said_to_hold_in_none() -> None:
    """The study's promises are the project's own: one that is broken has to stand on the page as broken."""
    one = {
        "mismatch_rise": 0.08,
        "vs_frozen": 1.0,
        "vs_naive": 1.5,
        "naive_mismatch_rise": 0.5,
        "naive_refusals": 3,
        "naive_auc_rises": 2,
        "roost_refusals": 0,
    }
    held_in_both = {**one, "mismatch_rise": 0.02, "vs_frozen": 1.2, "naive_auc_rises": 3}
    ensembles = [
        {"mismatch_rise": rise, "vs_frozen": 1.5, "vs_frozen_ensemble": 0.99, "vs_naive": 2.0, "refusals": 0}
        for rise in (0.01, 0.03)
    ]
    study = {"days": 14, "seeds": [1, 2], "summaries": [one, held_in_both], "ensembles": ensembles}
    lines = continual_claims(study).splitlines()[2:]
    assert [line.removesuffix(" |").split(" | ")[1:] for line in lines] == [
        ["0.05", "1 of 2", "0.02", "2 of 2"],
        ["1.1", "1 of 2", "0.99", "0 of 2"],
        ["1.5", "2 of 2", "2", "2 of 2"],
        ["0.5", "2 of 2", "–", "–"],
        ["3", "2 of 2", "–", "–"],
        ["2.5", "1 of 2", "–", "–"],
        ["0", "2 of 2", "0", "2 of 2"],
    ]
    del study["ensembles"]
    assert continual_claims(study).splitlines()[0].count("|") == 4


def test_a_page_without_a_place_for_a_result_is_refused_with_the_lines_to_write(tmp_path: Path) -> None:
    """A result left out in silence is how a page gets old."""
    results = kept(ROOT / "docs" / "bench")
    with pytest.raises(InvalidInput, match="<!-- table1 -->"):
        rewritten("# Nothing here\n", results)
    (tmp_path / "fig3.json").write_text("[]")
    with pytest.raises(InvalidInput, match="no JSON object"):
        kept(tmp_path)
    (tmp_path / "fig3.json").write_text("{")
    with pytest.raises(InvalidInput, match="no JSON"):
        kept(tmp_path)
    (tmp_path / "fig3.json").unlink()
    assert kept(tmp_path) == {}


def test_every_kept_result_can_be_drawn(tmp_path: Path) -> None:
    """The console shows the same files; a result that no plot can draw would be found by a reader."""
    results = kept(ROOT / "docs" / "bench")
    paths = draw_all(results, tmp_path)
    assert [path.stem for path in paths] == [name for name in results if name in EXPERIMENTS]
    assert all(path.stat().st_size > 5_000 for path in paths)
    json.dumps(results, allow_nan=False)
