"""Offline gates: may this bundle start a rollout? Figures in, verdicts out; measures nothing itself."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from schemas.bundle import CanaryVectors, Gate
from schemas.errors import Refused
from schemas.manifest import Metric
from trainer.data.columns import Corpus, Examples
from trainer.data.profile import WindowProfile
from trainer.data.skew import FieldAudit
from trainer.metrics import MISMATCH_OF_PLACES

_TAUGHT_BY_RANDOM_NEGATIVES = ("sampled_auc", "language_mismatch", "popularity_correlation")
_COUNTED = ("train_", "evaluation_", "corpus")
_HIGHER_IS_BETTER = ("auc", "per_user_auc", "sampled_auc")


class GatesRefused(Refused):
    """The data or the bundle did not pass. `gates` are all verdicts there were."""

    def __init__(self, sentence: str, gates: Sequence[Gate]) -> None:
        super().__init__(sentence)
        self.gates = tuple(gates)

    @classmethod
    def of(cls, gates: Sequence[Gate], *, what: str) -> "GatesRefused":
        """Return the refusal with the figures of every gate that failed."""
        failed = [gate.sentence for gate in gates if not gate.passed]
        return cls(f"{what} is refused by {len(failed)} of {len(gates)} gates: {'; '.join(failed)}", gates)


@dataclass(frozen=True, slots=True)
class GateLimits:
    """What is allowed. Each default is explicit here and in every manifest; operators set others, see `trainer.options`.

    Attributes:
        min_examples: of the training window, and a fifth of it of the evaluation window, as of the two below.
        min_positives: likewise, of those with an engagement.
        min_negatives: likewise, of those that were served and went without one.
        min_corpus: candidates that can be retrieved.
        min_label_rate: positives in all of the training window, at least.
        max_label_rate: and at most.
        max_volume_change: factor by which examples an hour may differ from the last windows' median.
        max_label_rate_change: factor by which the label rate may.
        max_language_mix_change: half the summed differences of language shares from the last windows' mean.
        unresolved_rise: how far the share of examples without the served features may lie above the last windows' median.
        max_feature_skew: share of the compared examples in which a feature was served otherwise than the trainer computes it.
        min_skew_compared: what could be compared in fewer examples is not judged.
        min_auc: below chance, for random negatives alone come near chance on served pairs (section 6.1.2).
        min_sampled_auc: positives against the corpus; what ranks these at chance has learned nothing.
        max_language_mismatch: the paper's implicit model, unfit to be served, had 0.76.
        auc_regression: how far AUC may lie below the live bundle's on the same window, and the anchor's.
        per_user_auc_regression: likewise, of the mean AUC of a user.
        sampled_auc_regression: likewise, of the AUC of positives against the corpus.
        language_mismatch_rise: how far mismatch may lie above the live bundle's.
        popularity_correlation_rise: how far the popularity correlation may.
        popularity_correlation_free: up to here a rise is no reason: a live bundle that avoids what is popular is no model.
        canary_shift: how far the canary rows' similarities may lie from the live bundle's, in the mean. Of 68 bundles that were
            not worse than the live one none lay .25 away (docs/paper.md).
        anchor_language_mismatch_rise: how far mismatch may lie above the anchor's, see `drift_gates`.
        anchor_popularity_correlation_rise: how far the popularity correlation may.
    """

    min_examples: int = 200
    min_positives: int = 50
    min_negatives: int = 50
    min_corpus: int = 50
    min_label_rate: float = 0.001
    max_label_rate: float = 0.95
    max_volume_change: float = 10.0
    max_label_rate_change: float = 4.0
    max_language_mix_change: float = 0.3
    unresolved_rise: float = 0.1
    max_feature_skew: float = 0.05
    min_skew_compared: int = 50
    min_auc: float = 0.45
    min_sampled_auc: float = 0.60
    max_language_mismatch: float = 0.60
    auc_regression: float = 0.03
    per_user_auc_regression: float = 0.05
    sampled_auc_regression: float = 0.05
    language_mismatch_rise: float = 0.08
    popularity_correlation_rise: float = 0.25
    popularity_correlation_free: float = 0.5
    canary_shift: float = 0.3
    anchor_language_mismatch_rise: float = 0.01
    anchor_popularity_correlation_rise: float = 0.25


def data_gates(
    train: Examples,
    evaluation: Examples,
    corpus: Corpus,
    limits: GateLimits,
    *,
    window: WindowProfile | None = None,
    last: Sequence[WindowProfile] = (),
    skew: Sequence[FieldAudit] = (),
) -> tuple[Gate, ...]:
    """Return the verdicts on the data, before anything is trained on it.

    Args:
        window: the training window's figures, to be held against the last ones.
        last: those of the windows that the live bundle and its forebears were trained on; none for the first bundle.
        skew: the features as they were served against the trainer's own.
    """
    gates: list[Gate] = []
    for name, examples, divisor in (("train", train, 1), ("evaluation", evaluation, 5)):
        positives, served = len(examples.positives), len(examples.implicit)
        for what, count, least in (
            ("examples", served, limits.min_examples),
            ("positives", positives, limits.min_positives),
            ("implicit_negatives", served - positives, limits.min_negatives),
        ):
            gates.append(_at_least(f"{name}_{what}", count, max(1, least // divisor), "wait for more examples"))
    gates.append(_at_least("corpus", len(corpus), limits.min_corpus, "wait for more candidates"))
    rate = label_rate(train)
    advice = "look at the label join and at what was logged in this window"
    gates += [
        _at_least("label_rate", rate, limits.min_label_rate, advice),
        _at_most("label_rate_ceiling", rate, limits.max_label_rate, advice),
    ]
    if window and last:
        gates += _window_gates(window, last, limits)
    judged = [field for field in skew if field.compared >= limits.min_skew_compared]
    if judged:
        gates.append(_skew_gate(max(judged, key=lambda field: field.share), limits))
    return tuple(gates)


def _skew_gate(worst: FieldAudit, limits: GateLimits) -> Gate:
    advice = f"{worst.side} feature {worst.name}, {worst.example}; compare the releases of node, embedder and trainer"
    return _at_most("feature_skew", worst.share, limits.max_feature_skew, advice)


def _window_gates(window: WindowProfile, last: Sequence[WindowProfile], limits: GateLimits) -> tuple[Gate, ...]:
    """What breaks upstream shows here first: a lost topic, a join that loses engagements, a producer that sends one language."""
    volume = _factor(window.per_hour, [one.per_hour for one in last])
    rate = _factor(window.label_rate, [one.label_rate for one in last])
    unresolved = median(one.unresolved for one in last) + limits.unresolved_rise
    return (
        _at_most("volume_change", volume, limits.max_volume_change, "look at what is produced, and at the labeler's lag"),
        _at_most("label_rate_change", rate, limits.max_label_rate_change, "look at the label join"),
        _at_most("language_mix_change", window.mix_distance(last), limits.max_language_mix_change, "look at what is served"),
        _at_most("unresolved_joins", window.unresolved, unresolved, "look at the tokens that producers copy into impressions"),
    )


def _factor(now: float, before: Sequence[float]) -> float:
    """Return by which factor a figure differs from the median of others, at least 1."""
    change = max(now, 1e-9) / max(median(before), 1e-9)
    return max(change, 1 / change)


def quality_gates(candidate: Mapping[str, float], live: Mapping[str, float] | None, limits: GateLimits) -> tuple[Gate, ...]:
    """Return the verdicts on a candidate's metrics, by absolute limits and, where there is a live bundle, against its metrics.

    Args:
        candidate, live: as `trainer.evaluation.evaluate` gives them, of the same window; the candidate's also `canary_shift`, from
            the live bundle, where both read the same canary rows.

    A metric that the window does not allow to measure has no gate; the data gates see to it that AUC can be measured.
    """
    gates = [
        _at_least(name, candidate[name], floor, "train longer, or on more examples")
        for name, floor in (("auc", limits.min_auc), ("sampled_auc", limits.min_sampled_auc))
        if name in candidate
    ]
    if "language_mismatch" in candidate:
        gates.append(
            _at_most(
                "language_mismatch",
                candidate["language_mismatch"],
                limits.max_language_mismatch,
                "pre-train on random negatives, or replay them while fine-tuning",
            )
        )
    gates += _against("live", candidate, live or {}, limits)
    if live and "canary_shift" in candidate:
        advice = (
            "lower the learning rate; towers trained for another metric differ by that alone: allow it with ROOST_GATE_CANARY_SHIFT"
        )
        gates.append(_at_most("canary_shift_against_live", candidate["canary_shift"], limits.canary_shift, advice))
    return tuple(gates)


def drift_gates(candidate: Mapping[str, float], anchor: Mapping[str, float] | None, limits: GateLimits) -> tuple[Gate, ...]:
    """Return the verdicts on a candidate's metrics against its anchor's: an ancestor from many fine-tunes ago.

    Held against the last one only, steps that are small enough each add up, and no gate sees it.

    Args:
        candidate, anchor: as for `quality_gates`, of the same window: what the world's drift does, it does to both.
    """
    limits = replace(
        limits,
        language_mismatch_rise=limits.anchor_language_mismatch_rise,
        popularity_correlation_rise=limits.anchor_popularity_correlation_rise,
    )
    return _against("anchor", candidate, anchor or {}, limits)


def refused_for_drift(gates: Iterable[Gate]) -> bool:
    """Tell whether gates refused, and none but those of what random negatives teach, so that more replay may mend it."""
    failed = [gate.name for gate in gates if not gate.passed]
    return bool(failed) and all(name.startswith(_TAUGHT_BY_RANDOM_NEGATIVES) for name in failed)


def lacks_examples(gates: Iterable[Gate]) -> bool:
    """Tell whether gates refused, and none but those that count examples and candidates: once there are more, the same may pass."""
    failed = [gate.name for gate in gates if not gate.passed]
    return bool(failed) and all(name.startswith(_COUNTED) for name in failed)


def _against(whom: str, candidate: Mapping[str, float], other: Mapping[str, float], limits: GateLimits) -> tuple[Gate, ...]:
    """Hold metrics against another bundle's, each with the change that is allowed in the worse direction."""
    # of five places where both were measured so: what one tweet does to the first alone is chance
    precise = MISMATCH_OF_PLACES in candidate and MISMATCH_OF_PLACES in other
    allowed = {
        "auc": -limits.auc_regression,
        "per_user_auc": -limits.per_user_auc_regression,
        "sampled_auc": -limits.sampled_auc_regression,
        MISMATCH_OF_PLACES if precise else "language_mismatch": limits.language_mismatch_rise,
        "popularity_correlation": limits.popularity_correlation_rise,
    }
    gates = []
    for name, change in allowed.items():
        if name in other and name in candidate:
            limit = other[name] + change
            if name == "popularity_correlation":
                limit = max(limit, limits.popularity_correlation_free)
            bounded = _at_least if name in _HIGHER_IS_BETTER else _at_most
            advice = f"the {whom} bundle has {other[name]:.4g}, allowed is {change:+.3g}"
            gates.append(bounded(f"{name}_against_{whom}", candidate[name], limit, advice))
    return tuple(gates)


def canary_gate(canary: CanaryVectors, metric: Metric = "cosine") -> Gate:
    """Return the verdict on the canary vectors: finite, of length 1 under cosine, and not all the same vector."""
    worst = 0.0
    for vectors in (canary.query_vectors, canary.candidate_vectors):
        matrix = np.asarray(vectors)
        if not np.isfinite(matrix).all():
            worst = 1.0
            continue
        lengths = np.linalg.norm(matrix, axis=1)
        off = np.abs(lengths - 1.0).max() if metric == "cosine" else 0.0
        collapsed = len(matrix) > 1 and np.abs(matrix - matrix[0]).max() < 1e-2 * lengths.max()
        worst = max(worst, float(off), float(collapsed))
    return _at_most("canary_vectors", worst, 1e-4, "lower the learning rate")


def label_rate(examples: Examples) -> float:
    """Return the share of positives among positives and implicit negatives; 0 for none."""
    served = len(examples.implicit)
    return len(examples.positives) / served if served else 0.0


def refuse_unless_passed(gates: Sequence[Gate], *, what: str) -> None:
    """Raise `GatesRefused` where a gate failed."""
    if not all(gate.passed for gate in gates):
        raise GatesRefused.of(gates, what=what)


def _at_least(name: str, value: float, limit: float, advice: str) -> Gate:
    return _gate(name, value, limit, passed=value >= limit, sides=("at least", "below"), advice=advice)


def _at_most(name: str, value: float, limit: float, advice: str) -> Gate:
    return _gate(name, value, limit, passed=value <= limit, sides=("at most", "above"), advice=advice)


def _gate(name: str, value: float, limit: float, *, passed: bool, sides: tuple[str, str], advice: str) -> Gate:
    # a NaN compares false: it fails whichever the side
    sentence = f"{name} {value:.4g} is {sides[0] if passed else sides[1]} {limit:.4g}"
    return Gate(name, float(value), float(limit), passed, sentence if passed else f"{sentence} ({advice})")
