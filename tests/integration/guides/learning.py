"""How the lines of the pages on training are run, from the first towers to those of every surface."""

import re
from collections.abc import Callable

import httpx

from schemas.features.catalog import RELATED as RELATED_SPEC
from tests.bundles import publish_bundle
from tests.integration.guides.site import FOLLOW, HOME, PATIENCE_S, RELATED, Site
from tests.integration.guides.step import RUNBOOK, SURFACES, TRAINING, Step
from tests.integration.waiting import until


def _log(surface: str, part: slice = slice(None), bundle: str = "") -> Callable[[Site], None]:
    return lambda site: site.log_examples(surface, part=part, bundle=site.bundles.get(bundle))


def _world(site: Site) -> None:
    site.publish_world()
    site.log_examples(HOME, part=slice(0, 2_000))


def _kept(site: Site) -> None:
    """Train with the option that the comment beside `reproduce` names."""
    site.train("roost train pretrain --cache ./trainings", keeps="kept")


def _drawn(site: Site) -> None:
    """Find the training's curve where a browser would, and close the program as a reader would."""
    found = re.search(r"http://localhost:\d+/", site.log("tensorboard"))
    assert found, site.log("tensorboard")

    def tags() -> dict[str, dict[str, object]]:
        shown: dict[str, dict[str, object]] = httpx.get(f"{found[0]}data/plugin/scalars/tags", timeout=30).json()
        return shown

    until(lambda: any("loss" in tag for run in tags().values() for tag in run), what="a curve of the loss", timeout_s=PATIENCE_S)
    site.stop("tensorboard")


TRAININGS = (
    Step(
        TRAINING,
        "roost train pretrain --loss triplet --margin 0.2 --negatives mixed --mix uniform=0.5,in_batch=0.5"
        " --ratio 64 --popularity-t 20",
        before=_world,
        keeps="triplet",
    ),
    Step(TRAINING, "roost train ensemble --weights implicit=0.6,random=0.3,random_in_batch=0.1", keeps="ensemble"),
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
        stays="tensorboard",
        after=_drawn,
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


def _more_of_accounts(site: Site) -> None:
    site.log_examples(FOLLOW, part=slice(1_500, 2_000))


def _related(site: Site) -> None:
    """Have towers live on a surface that the page asks beside its own."""
    site.bundles["related"] = publish_bundle(site.registry, surface=RELATED, spec=RELATED_SPEC)
    site.go_live(RELATED, "related")


SURFACES_LIVE = (
    Step(SURFACES, "roost train pretrain --surface who-to-follow", before=_log(FOLLOW, slice(0, 1_500)), keeps="follow"),
    Step(SURFACES, "roost train evaluate BUNDLE --surface who-to-follow", before=_more_of_accounts, bundle="follow"),
    Step(
        SURFACES,
        "roost rollout start BUNDLE --surface who-to-follow --auto --wait",
        bundle="follow",
        says=r"[0-9a-f]{16} +live ",
    ),
    Step(SURFACES, "roost query --surface who-to-follow --user u:42", says=r"20 +a:"),
    Step(
        SURFACES,
        "roost query --surface related-tweets --user u:42 --context author_id=a:7 --context language=en --context topic=chess",
        before=_related,
        says=r"20 +t:",
    ),
)
