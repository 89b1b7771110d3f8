"""How the lines on rollouts and bundles are run."""

import shutil
import signal
from collections.abc import Callable

from tests.integration.guides.site import HOME, PATIENCE_S, Site
from tests.integration.guides.step import OPERATORS, RUNBOOK, Step, in_stage
from tests.integration.waiting import until


def _first_live(site: Site) -> None:
    site.go_live(HOME, "triplet")


def _frozen(site: Site) -> None:
    site.shell.run("roost rollout freeze --surface home-timeline")


def _drained(site: Site) -> None:
    """Have a bundle behind the live one."""
    site.go_live(HOME, "again")


def _revision(site: Site) -> str:
    return f"--revision {site.newest(HOME).revision}"


ROLLOUT = (
    Step(OPERATORS, "roost rollout start BUNDLE --surface home-timeline", before=_first_live, bundle="ensemble"),
    Step(
        OPERATORS,
        "roost rollout status --watch",
        # it draws on a terminal alone
        instead={"roost": lambda _: "TTY_COMPATIBLE=1 roost"},
        bundle="ensemble",
        ready="BUNDLE",
        by=signal.SIGINT,
        exits=130,
    ),
    Step(
        OPERATORS,
        "roost rollout canary BUNDLE 5 --surface home-timeline",
        before=in_stage(HOME, "ensemble", "ready"),
        bundle="ensemble",
    ),
    Step(OPERATORS, "roost rollout canary BUNDLE --ramp 1%,5%,25% --hold-s 3600 --auto", bundle="ensemble"),
    Step(OPERATORS, "roost rollout promote BUNDLE --surface home-timeline", bundle="ensemble"),
    Step(OPERATORS, "roost rollout rollback --surface home-timeline", before=in_stage(HOME, "ensemble", "live")),
    Step(RUNBOOK, "roost rollout rollback --surface home-timeline", before=_drained),
    Step(
        OPERATORS,
        'roost rollout configure --surface home-timeline --refresh value=100/s --reason "engagements pile up"',
    ),
    Step(
        OPERATORS,
        "roost rollout configure --surface home-timeline --refresh default --revision 12",
        instead={"--revision 12": _revision},
    ),
    Step(RUNBOOK, "roost rollout configure --surface home-timeline --refresh value=100/s"),
    Step(RUNBOOK, "roost rollout configure --surface home-timeline --refresh default"),
    Step(RUNBOOK, "roost rollout unfreeze --surface home-timeline", before=_frozen),
)


def _named(bundle: str) -> Callable[[Site], str]:
    return lambda site: site.bundles[bundle]


def _folder(name: str) -> Callable[[Site], str]:
    return lambda site: f"file://{site.folder / name}"


def _copied(site: Site) -> None:
    """Do as `aws s3 cp --recursive .roost/registry s3://my-bucket/bundles` does."""
    shutil.copytree(site.registry, site.folder / "my-bucket" / "bundles")


def _kept_on_disk(site: Site) -> None:
    until(
        lambda: any(site.snapshots.rglob("manifest.json")),
        what="a node's index is on disk",
        timeout_s=PATIENCE_S,
    )


FIRST, SECOND = "3f9a0c11d2e4b567", "0b7d91c2e4a85f36"
BUNDLES = (
    Step(OPERATORS, f"roost models alias stable {FIRST}", instead={FIRST: _named("triplet")}),
    Step(
        OPERATORS,
        f"roost models alias stable {SECOND} --expect {FIRST}",
        instead={FIRST: _named("triplet"), SECOND: _named("tuned")},
    ),
    Step(OPERATORS, "roost models alias stable"),
    Step(OPERATORS, "roost rollout start stable"),
    Step(RUNBOOK, "roost rollout abort BUNDLE --surface home-timeline", bundle="tuned"),
    Step(
        OPERATORS,
        "roost train export stable --to s3://production/bundles",
        instead={"s3://production": _folder("production")},
    ),
    Step(
        OPERATORS,
        "export ROOST_REGISTRY=s3://my-bucket/bundles\nroost models list",
        before=_copied,
        instead={"s3://my-bucket": _folder("my-bucket")},
        bundle="tuned",
        says="BUNDLE +stable ",
    ),
    Step(
        OPERATORS,
        "roost index snapshot s3://my-bucket/roost",
        before=_kept_on_disk,
        instead={"s3://my-bucket": _folder("my-bucket")},
        bundle="triplet",
        says="BUNDLE",
    ),
    Step(OPERATORS, "roost index inspect", bundle="triplet", says="BUNDLE"),
    Step(OPERATORS, "roost index verify", bundle="triplet", says="BUNDLE"),
)
