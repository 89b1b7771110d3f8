"""The offline path: data, towers, negatives, losses, fitting, metrics, gates, export, registry, schedule."""
