"""The shell lines that the documentation shows, and a reader's shell to run them in. Holds no test."""

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from roost.child import spawn

ROOT = Path(__file__).parents[2]
# they would name a deployment other than the page's
_OF_OTHERS = ("KAFKA_BOOTSTRAP_SERVERS", "ROOST_REGISTRY", "ROOST_NODE_URL", "ROOST_SURFACES")
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"(?:\A|(?<=\n\n))(?: {4}.*\n)+")


def blocks(page: str) -> Iterator[list[str]]:
    """Yield the indented blocks of a page, each as its lines."""
    text = _FENCED.sub("", (ROOT / page).read_text(encoding="utf-8"))
    for block in _BLOCK.findall(text):
        yield [line.removeprefix("    ") for line in block.splitlines()]


def commands_of(block: list[str]) -> list[str]:
    """Return the commands of a block, without their comments, each on one line."""
    whole = re.sub(r" *\\\n *", " ", "\n".join(block))
    return [re.split(r" +# ", line)[0].strip() for line in whole.splitlines()]


def commands(page: str, *, beginning: str) -> list[str]:
    """Return the commands of a page's block that begins with a line."""
    (block,) = [block for block in blocks(page) if block[0].startswith(beginning)]
    return commands_of(block)


class Shell:
    """A reader's shell in a folder, with nothing of this process's environment that names another deployment."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        """Run everything in `folder`, with `environment` over this process's."""
        inherited = {name: value for name, value in os.environ.items() if name not in _OF_OTHERS}
        self.folder = folder
        self.environment = {**inherited, "PATH": f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}", **environment}

    def run(self, line: str, *, exits: int = 0, types: str = "", timeout_s: float = 300) -> str:
        """Run a line, which must end with the exit code given; returns what it printed."""
        done = subprocess.run(
            ["/bin/sh", "-c", line],
            cwd=self.folder,
            env=self.environment,
            input=types,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )
        assert done.returncode == exits, f"{line}\nexit code {done.returncode}, not {exits}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def start(self, line: str, *, log: Path) -> subprocess.Popen[bytes]:
        """Start a line that runs until it is stopped, its output in `log`."""
        with log.open("wb") as out:
            # the command in the shell's own place: dash does not hand on a signal
            return spawn(["/bin/sh", "-c", f"exec env {line}"], log=out, cwd=self.folder, environment=self.environment)
