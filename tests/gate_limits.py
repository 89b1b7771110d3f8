"""Limits of gates that let pass what a test does not ask about. Holds no test."""

from dataclasses import replace

from trainer.gates import GateLimits

UNCOMPARED = GateLimits(
    auc_regression=1.0,
    per_user_auc_regression=1.0,
    sampled_auc_regression=1.0,
    language_mismatch_rise=1.0,
    popularity_correlation_rise=2.0,
    anchor_language_mismatch_rise=1.0,
    anchor_popularity_correlation_rise=2.0,
)
"""No metric is held against other towers'."""

ANY_QUALITY = replace(UNCOMPARED, min_auc=0.0, min_sampled_auc=0.0, max_language_mismatch=1.0)
"""Nor against a bound of its own: whatever was learned is good enough."""
