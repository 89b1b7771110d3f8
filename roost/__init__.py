"""The `roost` command and the one-machine launcher: the only composition root. Holds no domain logic."""

__version__ = "0.1.0"
