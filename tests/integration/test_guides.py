"""Every shell line that the pages show, run to the letter against one deployment."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from roost.broker import Broker, KafkaInstall
from tests.integration.guide_site import Site
from tests.integration.guide_steps import SECTIONS, Step

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def site(kafka_install: KafkaInstall, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Yield a deployment that the pages' lines begin, go on with and end."""
    folder = tmp_path_factory.mktemp("guides")
    broker = Broker(folder / "kafka", install=kafka_install)
    broker.start()
    own = Site(folder, broker.bootstrap)
    yield own
    own.close()
    broker.kill()


def follow(site: Site, step: Step) -> None:
    """Run a line as the table says."""
    step.before(site)
    line = step.line.replace("BUNDLE", site.bundles.get(step.bundle, "BUNDLE"))
    for shown, stands_for in step.instead.items():
        assert shown in line, f"{shown} is not in {line}"
        line = line.replace(shown, stands_for(site))
    if step.ready:
        name = step.stays or "one that is stopped"
        site.start(name, line, ready=step.ready)
        said = "" if step.stays else site.stop(name, by=step.by, exits=step.exits)
    else:
        said = site.shell.run(line, exits=step.exits, types=step.types)
    assert re.search(step.says, said), f"{line}\n{said}"
    if step.keeps:
        site.keep(step.keeps, said)


@pytest.mark.parametrize("section", SECTIONS)
def test_every_line_does_what_the_page_says(section: str, site: Site) -> None:
    """What a reader copies must run; sections go on with what those before them have left."""
    for step in SECTIONS[section]:
        follow(site, step)
