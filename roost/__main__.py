"""`python -m roost`: the same as the `roost` command, where no script is installed."""

from roost.cli import main

main()
