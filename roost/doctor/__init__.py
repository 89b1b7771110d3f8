"""What `roost doctor` looks at: facts gathered by `examine`, judged by pure checks. Mends nothing itself."""
