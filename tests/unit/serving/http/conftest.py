"""One served application for each module here: starting one takes as long as all its tests. Holds no test."""

from collections.abc import Iterator

import pytest

from tests.filled_epochs import tweeted
from tests.served_app import Served


@pytest.fixture(scope="module")
def module_served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Yield one server for the module: starting one takes as long as all tests here."""
    served = Served(tmp_path_factory.mktemp("registry"))
    served.epoch.fill(*(tweeted(f"t:{n}", text="雪🎿") for n in range(30)))
    yield served
    served.close()


@pytest.fixture
def served(module_served: Served) -> Served:
    """Return the server with its bundle live and its node well."""
    module_served.go_live()
    module_served.node.reasons = ()
    return module_served
