"""`python -m roost`: the same as the `roost` command, where no script is installed."""

from roost.cli import main

# a process that the benchmarks spawn reads this module too
if __name__ == "__main__":
    main()
