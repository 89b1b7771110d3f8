"""The embedder: folds candidates from their topics, keeps their counters, and writes their vectors for every streaming bundle."""
