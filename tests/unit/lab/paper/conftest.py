"""What the experiments' tests share."""

import pytest

from lab.paper.experiment import set_threads


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Two threads on matrices this small wait for each other most of the time."""
    set_threads(1)
