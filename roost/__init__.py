"""The `roost` command and the one-machine launcher: the only composition root. Holds no domain logic."""
