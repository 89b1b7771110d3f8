"""Data: from records on topics to columns a trainer can read. Trains nothing and judges nothing."""
