"""What the table of the pages' lines is made of. Knows no line."""

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.integration.guides.site import Site

OPERATORS, RUNBOOK, TRAINING = "docs/guides/operators.md", "docs/runbook.md", "docs/concepts/training.md"
SURFACES, SERVING, PRODUCERS = "docs/guides/surfaces.md", "docs/guides/serving.md", "docs/guides/producers.md"
REGISTRIES, TRACING, ERASURE = "docs/guides/schema-registry.md", "docs/guides/tracing.md", "docs/guides/erasure.md"


def _nothing(site: Site) -> None:
    """Leave the site as it is."""


@dataclass(frozen=True)
class Step:
    """One line of a page.

    Attributes:
        line: as `commands` has it.
        exits: its exit code.
        says: a regular expression that what it prints has.
        types: what the reader types.
        bundle: the name of the one that BUNDLE stands for.
        keeps: the name under which the bundle that it prints is known from then on.
        instead: texts of the line, and what stands in their place here.
        before, after: what is done around it, such as waiting for a state.
        ready: of a line that runs until it is stopped, the text by which it has started. Such lines that follow one another are
            started together.
        stays: of such a line, the name of the role that runs on; empty, and it is stopped at once.
        by: the signal that stops it.
    """

    page: str
    line: str
    exits: int = 0
    says: str = ""
    types: str = ""
    bundle: str = ""
    keeps: str = ""
    instead: Mapping[str, Callable[[Site], str]] = field(default_factory=dict)
    before: Callable[[Site], object] = _nothing
    after: Callable[[Site], object] = _nothing
    ready: str = ""
    stays: str = ""
    by: signal.Signals = signal.SIGTERM


def in_stage(surface: str, bundle: str, stage: str) -> Callable[[Site], None]:
    """Return what waits until a bundle is in a stage."""
    return lambda site: site.wait_for(surface, bundle, stage)


def broker(site: Site) -> str:
    """Return the broker's address."""
    return site.bootstrap
