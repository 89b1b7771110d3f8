"""Every shell line that the pages show, run to the letter against one deployment."""

import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import groupby

import pytest
import yaml
from confluent_kafka.schema_registry import SchemaRegistryClient
from fsspec.registry import known_implementations

from roost.broker import Broker, KafkaInstall
from roost.subjects.registered import names_at_registry
from tests.apicurio import Apicurio
from tests.integration.guides.sections import NO_SHELL, NOT_RUN, SECTIONS
from tests.integration.guides.site import Site
from tests.integration.guides.step import Step
from tests.integration.guides.tools import add_tools
from tests.integration.shown import ROOT, blocks, commands_of
from tests.otlp_receiver import otlp_receiver

# a dozen trainings and every role: minutes on two free cores, several times that on busy ones
pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def site(kafka_install: KafkaInstall, registry: Apicurio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Yield a deployment that the pages' lines begin, go on with and end."""
    folder = tmp_path_factory.mktemp("guides")
    with ExitStack() as stack:
        broker = Broker(folder / "kafka", install=kafka_install)
        stack.callback(broker.kill)
        broker.start()
        collector = stack.enter_context(otlp_receiver())
        own = Site(folder, broker.bootstrap, schema_registry_url=registry.url, collector=collector)
        stack.callback(own.close)
        add_tools(folder / "bin", kafka_install)
        yield own
    # the registry is other tests' too
    with SchemaRegistryClient({"url": registry.url}) as client:
        for name in names_at_registry().keys() & set(client.get_subjects()):
            client.delete_subject(name)
            client.delete_subject(name, permanent=True)


def here(site: Site, step: Step, text: str) -> str:
    """Return a text of a step with what its placeholders stand for."""
    text = text.replace("BUNDLE", site.bundles.get(step.bundle, "BUNDLE"))
    for shown, stands_for in step.instead.items():
        # what one stands for is asked only where it is needed: it may be gone once the line has run
        if shown in text:
            text = text.replace(shown, stands_for(site))
    return text


def run_to_its_end(site: Site, step: Step) -> None:
    """Run a line that ends by itself."""
    step.before(site)
    said = site.shell.run(here(site, step, step.line), exits=step.exits, types=step.types)
    assert re.search(here(site, step, step.says), said), f"{step.line}\nprints no {step.says!r}:\n{said}"
    if step.keeps:
        site.keep(step.keeps, said)
    step.after(site)


def run_until_stopped(site: Site, steps: list[Step]) -> None:
    """Start lines that do not end, all at once: most of their time is what each loads. Stop those that are not to stay."""
    names = [step.stays or step.line.replace("/", " ") for step in steps]
    for name, step in zip(names, steps, strict=True):
        step.before(site)
        site.start(name, here(site, step, step.line))
    for name, step in zip(names, steps, strict=True):
        site.hear(name, here(site, step, step.ready))
        if not step.stays:
            site.stop(name, by=step.by, exits=step.exits)
    for step in steps:
        step.after(site)


def follow_all(site: Site, section: Iterable[Step]) -> None:
    """Run lines in their order."""
    for until_stopped, steps in groupby(section, key=lambda step: bool(step.ready)):
        if until_stopped:
            run_until_stopped(site, list(steps))
        else:
            for step in steps:
                run_to_its_end(site, step)


@pytest.mark.parametrize("section", SECTIONS)
def test_every_line_does_what_the_page_says(section: str, site: Site) -> None:
    """What a reader copies must run; sections go on with what those before them have left."""
    follow_all(site, SECTIONS[section])


def shown_lines() -> set[tuple[str, str]]:
    """Return every command that a page shows, with its page; what is indented is one, but for what is told not to be."""
    pages = [ROOT / "README.md", *(path for path in (ROOT / "docs").rglob("*.md") if path.parent.name != "reference")]
    found, others = set(), set()
    for page in (str(path.relative_to(ROOT)) for path in pages):
        for block in blocks(page):
            if (page, block[0].split()[0]) in NO_SHELL:
                others.add((page, block[0].split()[0]))
            else:
                found |= {(page, line) for line in commands_of(block)}
    assert others == NO_SHELL
    return found


def test_no_line_is_shown_that_is_not_run() -> None:
    """A line that is added to a page is run, or it is said here why not."""
    run = {(step.page, line) for steps in SECTIONS.values() for step in steps for line in step.line.split("\n")}
    left_out = {(page, line) for page, lines in NOT_RUN.items() for line in lines}
    assert run & left_out == set()
    assert shown_lines() == run | left_out
    steps = [step for steps in SECTIONS.values() for step in steps]
    assert [step.line for step in steps if any(text not in step.line for text in step.instead)] == []


def test_lines_for_docker_name_the_file_and_options_that_there_are() -> None:
    """No Docker host is at hand; what the file starts is run without one by the tests of the containers."""
    options = {"up": {"--build", "--detach"}, "ps": set(), "down": {"--volumes"}}
    for line in NOT_RUN["docs/deploy.md"]:
        docker, plugin, flag, file, command, *given = line.split()
        assert (docker, plugin, flag) == ("docker", "compose", "-f")
        assert yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))["services"]
        assert set(given) <= options[command]


def test_the_client_of_an_object_store_is_the_one_that_the_page_installs() -> None:
    """Another package of a like name would be installed, and the registry still not be read."""
    (line,) = NOT_RUN["docs/guides/operators.md"]
    assert known_implementations["s3"]["class"].partition(".")[0] == line.removeprefix("pip install ")
