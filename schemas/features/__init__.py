"""Features: what the towers read of a query and of a candidate, and the repository's only hash."""
