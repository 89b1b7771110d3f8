"""The labeler: impressions and what came of them, joined into training examples; and both re-keyed by user."""
