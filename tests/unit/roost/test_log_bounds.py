"""Logs of roles that run for months fill no disk."""

import subprocess
import sys
from pathlib import Path

from roost.machine.log_bounds import keep_within

LINES = 'import sys\nfor line in sys.stdin:\n    print("x" * int(line), flush=True)\n'


def test_a_log_over_its_bound_is_moved_aside_and_its_writer_goes_on_in_it(tmp_path: Path) -> None:
    """A role keeps the file that it was started with: in a file of another name nobody would find its lines."""
    log = tmp_path / "serve.log"
    with log.open("ab") as file:
        role = subprocess.Popen([sys.executable, "-c", LINES], stdin=subprocess.PIPE, stdout=file, text=True)
    assert role.stdin is not None
    written = 0

    def write(length: int) -> None:
        nonlocal written
        assert role.stdin is not None
        size = log.stat().st_size
        role.stdin.write(f"{length}\n")
        role.stdin.flush()
        while log.stat().st_size < size + length + 1:
            assert role.poll() is None
        written += length + 1

    try:
        write(600)
        keep_within(log, 1_000)
        assert log.stat().st_size == written, "within its bound it is left alone"
        for aside in (700, 800):
            write(aside)
            held = log.read_bytes()
            keep_within(log, 1_000)
            assert (log.stat().st_size, (tmp_path / "serve.log.1").read_bytes()) == (0, held)
            write(500)
            assert log.read_bytes() == b"x" * 500 + b"\n", "not behind a hole as long as what was there"
    finally:
        role.stdin.close()
        assert role.wait() == 0


def test_without_room_for_the_older_log_nothing_is_lost(tmp_path: Path) -> None:
    """The folder of the same name stands for any error of a disk."""
    log = tmp_path / "embed.log"
    log.write_bytes(b"x" * 100)
    (tmp_path / "embed.log.1").mkdir()
    keep_within(log, 10)
    assert log.read_bytes() == b"x" * 100
    keep_within(tmp_path / "gone.log", 10)
