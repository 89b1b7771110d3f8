"""What drives the processors: a consumer group, a state that survives, outputs before offsets. Knows no role's rules."""
