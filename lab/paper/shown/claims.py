"""What Table 1 and the study of continual training must show, held against results seed by seed. Measures nothing.

The thresholds are the project's own, written down before the reported seeds were run.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Rows = Mapping[str, Mapping[str, Any]]

_CLAIMS: Sequence[tuple[str, Callable[[Rows], bool]]] = (
    (
        "implicit negatives: the best served AUC of the paper's models, at least .85",
        lambda m: m["implicit"]["auc"] >= max(0.85, *(m[name]["auc"] for name in ("random", "random_in_batch", "fine_tuned"))),
    ),
    (
        "and a mismatch at least three times either random model's",
        lambda m: (
            m["implicit"]["language_mismatch"]
            >= 3 * max(m["random"]["language_mismatch"], m["random_in_batch"]["language_mismatch"])
        ),
    ),
    ("random negatives in the batch: near chance on served AUC, at most .65", lambda m: m["random_in_batch"]["auc"] <= 0.65),
    ("fine-tuned: served AUC within .08 of implicit's", lambda m: m["fine_tuned"]["auc"] >= m["implicit"]["auc"] - 0.08),
    (
        "and a mismatch at least .35 below it",
        lambda m: m["fine_tuned"]["language_mismatch"] <= m["implicit"]["language_mismatch"] - 0.35,
    ),
    ("roost: served AUC within .02 of implicit's", lambda m: m["roost"]["auc"] >= m["implicit"]["auc"] - 0.02),
    (
        "mismatch within .05 of the well-trained random model's",
        lambda m: m["roost"]["language_mismatch"] <= m["random"]["language_mismatch"] + 0.05,
    ),
    (
        "more true engagement than fine-tuned, at 10 and at 200",
        lambda m: all(m["roost"][name] > m["fine_tuned"][name] for name in ("engagement_at_10", "engagement_at_200")),
    ),
    (
        "more than fine-tuned in the A/B test, favorites and retweets",
        lambda m: all(m["roost"][name] > m["fine_tuned"][name] for name in ("ab_favorite_pct", "ab_retweet_pct")),
    ),
)


def held(table1: Mapping[str, Any]) -> list[tuple[str, list[int]]]:
    """Return each claim with the seeds in which it holds."""
    by_seed = {seed: {row["model"]: row for row in rows} for seed, rows in zip(table1["seeds"], table1["per_seed"], strict=True)}
    return [(claim, [seed for seed, models in by_seed.items() if holds(models)]) for claim, holds in _CLAIMS]


def claims(*tables: Mapping[str, Any]) -> str:
    """Return the claims as a Markdown table, with a column for each of several results on other seeds."""
    columns = [[_of(seeds, table) for _, seeds in held(table)] for table in tables]
    rows = [f"| {' | '.join(cells)} |" for cells in zip([claim for claim, _ in _CLAIMS], *columns, strict=True)]
    titles = [f"seeds {', '.join(map(str, table['seeds']))}" for table in tables]
    return "\n".join([f"| claim | {' | '.join(titles)} |", "|---" + "|--:" * len(tables) + "|", *rows])


def _of(seeds: Sequence[int], result: Mapping[str, Any]) -> str:
    total = len(result["seeds"])
    return f"{len(seeds)} of {total}" + ("" if len(seeds) == total else f": {', '.join(map(str, seeds)) or 'none'}")


# each: the claim, its figure, and whether a seed's summary holds it
_CONTINUAL: Sequence[tuple[str, str, Callable[[Mapping[str, Any]], bool]]] = (
    ("the schedule's mismatch rises by at most .05 on its worst day", "mismatch_rise", lambda one: one["mismatch_rise"] <= 0.05),
    (
        "its true engagement of the top 10, days 2 to the last, is above that of what stays as it is",
        "vs_frozen",
        lambda one: one["vs_frozen"] > 1,
    ),
    ("and above that of naive towers", "vs_naive", lambda one: one["vs_naive"] > 1),
    (
        "naive fine-tuning collapses: its mismatch rises by .30 or more",
        "naive_mismatch_rise",
        lambda one: one["naive_mismatch_rise"] >= 0.3,
    ),
    ("the gates refuse it, evenings", "naive_refusals", lambda one: one["naive_refusals"] >= 1),
    (
        "although its served AUC rose, evenings",
        "naive_auc_rises",
        lambda one: one["naive_refusals"] >= 1 and one["naive_auc_rises"] == one["naive_refusals"],
    ),
    ("the gates refuse nothing of the schedule's, evenings", "roost_refusals", lambda one: one["roost_refusals"] == 0),
)


def continual_claims(study: Mapping[str, Any]) -> str:
    """Return the claims of the study of continual training as a Markdown table, each with its figure, the mean over the seeds.

    Where an ensemble went on beside the towers it has columns of its own, held against an ensemble that stayed as it was.
    """
    lines = [("towers", study["summaries"])]
    if "ensembles" in study:
        lines.append(("ensemble", [_as_of_towers(one) for one in study["ensembles"]]))
    header = f"| claim, {study['days']} days |" + "".join(f" {title} | holds in seeds |" for title, _ in lines)
    rows = [
        f"| {claim} |" + "".join(f" {_in_seeds(summaries, name, holds)} |" for _, summaries in lines)
        for claim, name, holds in _CONTINUAL
    ]
    return "\n".join([header, "|---|" + "--:|--:|" * len(lines), *rows])


def _as_of_towers(ensemble: Mapping[str, Any]) -> dict[str, Any]:
    """Return an ensemble's summary by the names of that of towers; what is of the naive line is not there."""
    return {
        "mismatch_rise": ensemble["mismatch_rise"],
        "vs_frozen": ensemble["vs_frozen_ensemble"],
        "vs_naive": ensemble["vs_naive"],
        "roost_refusals": ensemble["refusals"],
    }


def _in_seeds(summaries: Sequence[Mapping[str, Any]], name: str, holds: Callable[[Mapping[str, Any]], bool]) -> str:
    if name not in summaries[0]:
        return "– | –"
    mean = sum(one[name] for one in summaries) / len(summaries)
    return f"{mean:.3g} | {sum(map(holds, summaries))} of {len(summaries)}"
