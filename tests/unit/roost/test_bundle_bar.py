"""The bar of commands that read a bundle, drawn on a terminal and on none."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from roost.cli import phases_bar
from roost.cli.bundle_bar import read_shown
from tests.bundles import publish_bundle


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bundle_that_is_fetched_is_told_of_on_a_terminal_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, terminal: bool
) -> None:
    """From a registry far away that takes a while; one on this disk leaves no line behind, nor does either in a log."""
    drawn = io.StringIO()
    monkeypatch.setattr(phases_bar, "err", Console(file=drawn, force_terminal=terminal, width=100))
    bundle = publish_bundle(tmp_path)
    assert read_shown(tmp_path, "home-timeline", bundle).id == bundle
    assert f"reading {bundle}" in drawn.getvalue() if terminal else not drawn.getvalue()
