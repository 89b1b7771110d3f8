"""How the pages' shell lines are run: in which order, what their placeholders stand for, how each ends. Runs nothing."""

import shutil
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration.guide_site import FOLLOW, HOME, PATIENCE_S, Site
from tests.integration.waiting import until

OPERATORS, RUNBOOK, TRAINING = "docs/guides/operators.md", "docs/runbook.md", "docs/concepts/training.md"


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
        before: what is done before, such as waiting for a state.
        ready: of a line that runs until it is stopped, the text by which it has started.
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
    before: Callable[[Site], None] = _nothing
    ready: str = ""
    stays: str = ""
    by: signal.Signals = signal.SIGTERM


def _in(surface: str, bundle: str, stage: str) -> Callable[[Site], None]:
    return lambda site: site.wait_for(surface, bundle, stage)


THE_ROLES = (
    Step(OPERATORS, "roost topics create"),
    Step(OPERATORS, "roost embed", ready="folds", stays="embed"),
    Step(OPERATORS, "roost label", ready="start", stays="label"),
    Step(OPERATORS, "roost control", ready="start", stays="control"),
    Step(OPERATORS, "roost serve", ready="answers at", stays="serve"),
    Step(OPERATORS, "roost train schedule --rollout auto", ready="waiting"),
    Step(
        TRAINING,
        "ROOST_FINETUNE_LOSS=sampled_softmax ROOST_FINETUNE_NEGATIVES=uniform roost train schedule",
        ready="waiting",
    ),
    Step(TRAINING, "ROOST_TRAIN_RECIPE=ensemble roost train schedule", ready="waiting"),
    Step(TRAINING, "ROOST_TRAIN_SERVED_BY=parent roost train schedule", ready="waiting"),
)


def _log(surface: str, part: slice = slice(None), bundle: str = "") -> Callable[[Site], None]:
    return lambda site: site.log_examples(surface, part=part, bundle=site.bundles.get(bundle))


def _world(site: Site) -> None:
    site.publish_world()
    site.log_examples(HOME, part=slice(0, 2_000))


def _kept(site: Site) -> None:
    """Train with the option that the comment beside `reproduce` names."""
    site.train("roost train pretrain --cache ./trainings", keeps="kept")


TRAININGS = (
    Step(
        TRAINING,
        "roost train pretrain --loss triplet --margin 0.2 --negatives mixed --mix uniform=0.5,in_batch=0.5"
        " --ratio 64 --popularity-t 20",
        before=_world,
        keeps="triplet",
    ),
    Step(TRAINING, "roost train ensemble --weights implicit=0.6,random=0.2,random_in_batch=0.2", keeps="ensemble"),
    Step(TRAINING, "roost train reproduce BUNDLE", bundle="triplet"),
    Step(TRAINING, "roost train reproduce BUNDLE --cache ./trainings", before=_kept, bundle="kept"),
    Step(
        TRAINING,
        "torchrun --standalone --nproc-per-node 2 -m roost train pretrain --kept ./trainings/home-timeline/BUNDLE",
        bundle="kept",
        keeps="together",
    ),
    Step(TRAINING, "roost train pretrain --tensorboard ./scalars", keeps="drawn"),
    Step(
        TRAINING,
        ".venv/bin/tensorboard --logdir ./scalars",
        instead={"./scalars": lambda _: "./scalars --port 0"},
        ready="Press CTRL+C",
    ),
    Step(RUNBOOK, "roost train pretrain --surface home-timeline", keeps="again"),
    Step(
        TRAINING,
        "roost train finetune --parent BUNDLE --served-by BUNDLE",
        before=_log(HOME, slice(2_000, 3_000), "triplet"),
        bundle="triplet",
        keeps="tuned",
    ),
)
SECTIONS: Mapping[str, tuple[Step, ...]] = {"the roles": THE_ROLES, "trainings": TRAININGS}
