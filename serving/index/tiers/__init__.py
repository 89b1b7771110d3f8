"""Where rows are kept: the arena of full vectors, and the two settled tiers that point into it."""
