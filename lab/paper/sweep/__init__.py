"""Settings of the tables' models, chosen on a seed that no table reports, and by one rule for all of them."""
