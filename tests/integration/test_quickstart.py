"""The first five minutes that docs/index.md shows, run in a shell to the letter: from `make setup` to `roost down`."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.shown import ROOT, Shell, commands
from tests.integration.waiting import until

# the one thing that differs from the page, beside what the environment says: 100,000 ratings take minutes
AS_SHOWN, AS_RUN = "replay movielens-100k --wait", "replay movielens-100k --wait --first 20000"
# of 5,000 a training learns now and then nothing, and the gates say so
RATINGS = 20_000


class Newcomer(Shell):
    """A reader's shell in the clone, where everything of the deployment lies in a folder of its own."""

    def __init__(self, data_dir: Path) -> None:
        """Take ports that are free."""
        ports = dict.fromkeys(("ROOST_BROKER_PORT", "ROOST_HTTP_PORT", "ROOST_CONSOLE_PORT"), "0")
        super().__init__(ROOT, {"ROOST_DATA_DIR": str(data_dir), **ports})
        self._mark = f"ROOST_DATA_DIR={data_dir}"

    def started(self) -> list[str]:
        """Return the command lines of all that was started here and still runs."""
        running = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if self._mark.encode() in (process / "environ").read_bytes().split(b"\0"):
                    running.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            # it ended meanwhile, or is somebody else's
            except OSError:
                continue
        return running


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Newcomer]:
    """Yield a shell that leaves nothing running."""
    own = Newcomer(tmp_path / "data")
    yield own
    if own.started():
        own.run("roost down")


# a minute on two free cores, most of it processes that start
@pytest.mark.timeout(900)
def test_the_first_five_minutes_run_as_they_are_shown(shell: Newcomer) -> None:
    """It is the first that anybody does with Roost; whoever comes no further does nothing else with it."""
    setup, up, replay, train, rollout, query, down = commands("docs/index.md", beginning="make setup")
    *shown, doctor = commands("README.md", beginning="roost up")
    assert [line.removeprefix(".venv/bin/") for line in (up, replay, train, rollout, query)] == shown
    assert AS_SHOWN in replay
    shell.run(setup)
    assert re.search(r"^up: broker \S+, node \S+, console \S+; `roost down` stops it$", shell.run(up), re.MULTILINE)
    for what in ("kafka.Kafka", "roost control", "roost embed", "roost label", "roost serve", "roost console"):
        assert any(what in command for command in shell.started()), what
    replayed = dict(re.findall(r"^(\w+) +(\S+) *$", shell.run(replay.replace(AS_SHOWN, AS_RUN)), re.MULTILINE))
    assert (replayed["impressions"], replayed["without_example"]) == (str(RATINGS), "0")
    trained = dict(re.findall(r"^(\w+) +(\S+) *$", shell.run(train), re.MULTILINE))
    assert trained["gates"] == "passed"
    assert re.search(rf"^{trained['id']} +live ", shell.run(rollout.replace("BUNDLE", trained["id"])), re.MULTILINE)
    title, _, *answer = shell.run(query).splitlines()
    assert title == f"movies: 20 candidates by bundle {trained['id']}", "of a user that was replayed"
    assert [re.match(r"(\d+) +t:ml-\d+ .*\w", line)[1] for line in answer] == [str(rank) for rank in range(1, 21)]  # type: ignore[index]
    assert shell.run(doctor).endswith("nothing is wrong\n")
    assert shell.run(down) == "down\n"
    # what stopped all has itself to end
    until(lambda: not shell.started(), what="nothing that was started still runs")
