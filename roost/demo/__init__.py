"""`roost demo`: the whole loop on the simulated world, told to a person and checked as it goes."""
