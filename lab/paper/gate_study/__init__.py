"""How well the trainer's gates tell bundles that users would be worse off with. Moves no limit."""
