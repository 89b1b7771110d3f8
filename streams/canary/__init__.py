"""Whether a canary's users engage more or less than everybody else, at any moment and without a price for looking."""
