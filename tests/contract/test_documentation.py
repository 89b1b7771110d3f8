"""The documentation against the code: the reference is the one the code writes, links lead somewhere, and commands exist."""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from textwrap import dedent
from typing import Any

import pytest

from lab.bench import canary
from lab.vanishing.told import as_markdown, faults
from roost.cli.commands import COMMANDS
from serving.console.web.templates import PAGES as CONSOLE_PAGES
from tools.reference import FOLDER, pages

ROOT = FOLDER.parents[1]
PAGES = pages()
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("name", PAGES)
def test_the_reference_is_the_one_that_the_code_writes(name: str) -> None:
    """A default that was changed in the code alone is wrong in the documentation from then on."""
    assert (FOLDER / name).read_text(encoding="utf-8") == PAGES[name], "run `python -m tools.reference`"


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    """A link that leads nowhere, an anchor that is gone or a page that no menu shows is an error."""
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    built = subprocess.run(
        words, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False, timeout=120
    )
    assert built.returncode == 0, built.stdout + built.stderr
    page = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    loaded = re.findall(r'<(?:script|link rel="stylesheet")[^>]*(?:src|href)="([^"]+)"', page)
    assert loaded
    assert not [address for address in loaded if "//" in address], "a page must work without the network"


def anchors_of(page: Path) -> set[str]:
    """Return what a link may name behind `#`: each heading as GitHub writes it."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_of_the_pages_outside_the_site_lead_somewhere() -> None:
    """The README is the first page that anybody sees."""
    for page in (ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "CHANGELOG.md"):
        links = re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
        assert links
        for path, _, anchor in (link.partition("#") for link in links if "://" not in link):
            target = ROOT / path if path else page
            assert target.exists(), path
            assert not anchor or anchor in anchors_of(target), f"{path}#{anchor}"


def test_every_page_of_the_console_has_its_pictures() -> None:
    """A page that was added, or a picture too large to load on a phone, shows here."""
    kept = {path.name: path.stat().st_size for path in (ROOT / "docs" / "screenshots").glob("*.png")}
    pages = [name for name, _ in CONSOLE_PAGES]
    assert set(kept) == {
        f"{p}-{size}-{colours}.png" for p in pages for size in ("desktop", "phone") for colours in ("light", "dark")
    }
    assert max(kept.values()) < 300_000


_COMMAND = re.compile(r"^ {4}((?:[A-Z_]+=\S+ )*)(?:\.venv/bin/|torchrun .+ -m )?roost (.+)$", re.MULTILINE)


def command_lines() -> Iterator[tuple[str, str]]:
    """Yield every line of the documents that calls `roost`, with its document."""
    for document in DOCUMENTS:
        for _, line in _COMMAND.findall(document.read_text(encoding="utf-8")):
            yield document.name, line.partition("#")[0].strip()


@pytest.mark.parametrize(("document", "line"), sorted(set(command_lines())))
def test_a_command_that_is_shown_exists_with_its_options(document: str, line: str) -> None:
    """What a reader copies must run."""
    words = line.split()
    assert words[0] in COMMANDS, document
    command: Any = COMMANDS[words[0]].load(words[0])
    rest = words[1:]
    # `roost demo` runs by itself, and has commands
    while getattr(command, "commands", None) and not (command.invoke_without_command and rest[:1] != ["swap"]):
        command = command.commands[rest.pop(0)]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word.partition("=")[0] for word in rest if word.startswith("-")} <= known | {"--help"}


def test_a_make_target_that_is_shown_exists() -> None:
    """`make` is the first word that a newcomer types here."""
    shown = {
        target for document in DOCUMENTS for target in re.findall(r"^ {4}make (\w+)", document.read_text("utf-8"), re.MULTILINE)
    }
    assert shown >= {"setup", "demo", "test"}
    assert shown <= set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


def test_no_line_of_a_command_has_the_next_one_behind_it() -> None:
    """Of a command with several examples the reference had all on one line, which is none."""
    shown = [line for _, line in command_lines()]
    assert "replay movielens-100k --speed 0" in shown
    assert [line for line in shown if "Example:" in line] == []


def test_no_page_trains_on_a_replay_before_all_of_it_is_labelled() -> None:
    """Pasted as it stood, the first five minutes ended at a bundle that its gates refused: the labeler had joined a hundredth."""
    replays = [
        (document.name, line)
        for document in DOCUMENTS
        for block in re.findall(r"(?:^ {4}.*\n)+", document.read_text(encoding="utf-8"), re.MULTILINE)
        for line in re.findall(r"roost replay .*(?=\n[\s\S]*roost train )", block)
    ]
    assert {name for name, _ in replays} == {"README.md", "index.md"}
    assert [line for _, line in replays if "--wait" not in line] == []


def test_a_variable_that_is_shown_before_a_command_is_a_setting() -> None:
    """One that no role reads is passed over without a word."""
    known = set(re.findall(r"`([A-Z_]+)`", PAGES["configuration.md"]))
    shown = {
        word.partition("=")[0]
        for document in DOCUMENTS
        for variables, _ in _COMMAND.findall(document.read_text(encoding="utf-8"))
        for word in variables.split()
    }
    assert len(shown) > 5
    # of OpenTelemetry's own client
    assert shown - known == {"OTEL_EXPORTER_OTLP_ENDPOINT"}


def test_the_surface_that_the_guide_shows_is_the_shipped_one() -> None:
    """Whoever configures a surface begins with a copy of it."""
    page = (ROOT / "docs" / "guides" / "surfaces.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^ {4}\[.+\]\n(?: {4}.+\n)+", page, re.MULTILINE)
    ((name, settings),) = tomllib.loads(dedent(block)).items()
    shipped = tomllib.loads((ROOT / "schemas" / "surfaces.toml").read_text(encoding="utf-8"))
    assert settings == shipped[name]


def recall_ratios() -> list[tuple[float, float]]:
    """Return mean and least ratio of recall to a rebuilt graph's, as kept at 50,000, 100,000, 300,000 and a million live."""
    folder = ROOT / "docs" / "bench"
    runs = [[folder / f"index-recall-{live}.json"] for live in ("50k", "100k", "300k")]
    # each scenario is a run by itself
    runs.append(list(folder.glob("index-recall-1m*.json")))
    rows = [[row["ratio_200"] for path in paths for row in json.loads(path.read_text(encoding="utf-8"))["rows"]] for paths in runs]
    return [(fmean(ratios), min(ratios)) for ratios in rows]


def measured_cells() -> list[str]:
    """Return the cells of the README's table of figures, from the runs that are kept."""

    def measured(name: str, figure: str, digits: int) -> str:
        found = json.loads((ROOT / "docs" / "bench" / f"{name}.json").read_text(encoding="utf-8"))[figure]
        text = f"{found:.{digits}f}"
        return text.removeprefix("0") if digits else text

    busier, of50, of99 = ("freshness-1000", "freshness-3000"), "p50_ms", "p99_ms"
    fresh, ingest = "freshness-200", ("index-ingest-50k", "index-ingest-100k", "index-ingest-1m")
    queries = [f"index-query-{live}" for live in ("50k", "100k", "300k", "1m")]
    times, share = "vs_inplace_update", "cpu_vs_rebuilt_single"
    return [
        f"| {measured(fresh, 'p50_ms', 0)} ms, {measured(fresh, 'p99_ms', 0)} ms |",
        f"| {'; '.join(f'{measured(run, of50, 0)} ms, {measured(run, of99, 0)} ms' for run in busier)} |",
        f"| {measured(fresh, 'query_p50_ms', 0)} ms, {measured(fresh, 'query_p99_ms', 0)} ms |",
        f"| {measured(fresh, 'recall_at_200', 3)} |",
        (
            f"| {', '.join(measured('swap', name, 0) for name in ('failed', 'mixed', 'empty'))}; "
            f"{measured('swap', 'rollback_ms_p99', 0)} ms |"
        ),
        f"| {'; '.join(f'{mean:.3f}, {least:.3f}' for mean, least in recall_ratios())} |",
        f"| {'; '.join(f'{measured(run, times, 0)} times' for run in ingest)} |",
        f"| {'; '.join(measured(run, share, 2) for run in queries)} |",
    ]


def demo_lines() -> list[str]:
    """Return what the README says of a demo, from the run that is kept."""
    run = json.loads((ROOT / "docs" / "bench" / "demo.json").read_text(encoding="utf-8"))
    fresh, bundle = run["publish_to_retrievable_ms"], run["bundles"][-1]
    return [
        f"| {run['events']:,}, {run['queries']:,}; {run['errors']}, {run['mixed_epoch_answers']}, {run['lost']} |",
        f"p50 {fresh['p50']:.0f} ms, p99 {fresh['p99']:.0f} ms",
        (
            f"bundle {bundle['id']}: AUC {bundle['auc']:.3f}, per-user AUC {bundle['per_user_auc']:.3f}, "
            f"top-1 language mismatch {bundle['language_mismatch']:.0%}"
        ),
    ]


def test_the_figures_of_the_readme_are_those_that_were_measured() -> None:
    """A table of figures is read as of today: after another measurement the README says so too."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [cell for cell in measured_cells() if cell not in readme] == []


def test_the_recall_that_the_bench_page_begins_with_is_that_of_the_runs_that_are_kept() -> None:
    """It stood still at a million while the README's went on."""
    page = (ROOT / "docs" / "bench" / "README.md").read_text(encoding="utf-8")
    assert f"| {'; '.join(f'{mean:.3f} / {least:.3f}' for mean, least in recall_ratios())} |" in page


def test_the_table_of_a_million_is_of_the_runs_that_are_kept() -> None:
    """Each scenario is a run of half an hour, made by itself."""
    page = (ROOT / "docs" / "bench" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[.+\]\((index-recall-1m.*\.json)\) \| (.+) \|$", page, re.MULTILINE)
    assert {name for name, _ in rows} == {path.name for path in (ROOT / "docs" / "bench").glob("index-recall-1m*.json")}
    for name, told in rows:
        run = json.loads((ROOT / "docs" / "bench" / name).read_text(encoding="utf-8"))
        least = min(run["rows"], key=lambda row: row["ratio_200"])
        ratios = (run[figure] for figure in ("recall_ratio_min", "recall10_ratio_min", "worst_group_ratio"))
        cells = f"{least['recall_200']:.3f} | {least['rebuilt_200']:.3f} | {'; '.join(f'{ratio:.3f}' for ratio in ratios)}"
        assert told == re.sub(r"\b0\.", ".", cells)


def test_the_demo_of_the_readme_is_the_run_that_is_kept() -> None:
    """It is what a newcomer compares the first run with."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [line for line in demo_lines() if line not in readme] == []


def test_no_time_that_the_readme_gives_is_of_a_run_that_nobody_kept() -> None:
    """One of them would stay as it is, whatever is measured later."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    times = re.findall(r"(?<![\w.])[\d.,]+ (?:ms|s)\b", readme)
    kept = " ".join([*measured_cells(), *demo_lines()])
    assert len(times) >= 5
    assert [time for time in times if not re.search(rf"(?<![\w.]){re.escape(time)}", kept)] == []


def test_the_table_of_canaries_is_that_of_the_run_that_is_kept() -> None:
    """How often the test is wrong is a promise to whoever leaves a promotion to it."""
    report = json.loads((ROOT / "docs" / "bench" / "canary.json").read_text(encoding="utf-8"))
    assert canary.as_markdown(report) in (ROOT / "docs" / "concepts" / "epochs.md").read_text(encoding="utf-8")
    equal = {row["way"]: row for row in report["rows"] if row["truth"] == "equal"}
    for way in ("one share", "ramp"):
        assert equal[way]["runs"] >= 200
        assert equal[way]["promoted"] <= 0.05 * equal[way]["runs"]


def test_the_figures_of_the_swap_bench_are_those_of_the_run_that_is_kept() -> None:
    """Those that miss their goal above all."""
    run = json.loads((ROOT / "docs" / "bench" / "swap.json").read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "bench" / "README.md").read_text(encoding="utf-8")
    counts = [run[name] for name in ("failed", "mixed", "empty", "lost", "violations")]
    fresh, query = run["freshness_p99_ms"], run["query_p99_ms"]
    cells = [
        f"| {run['queries']:,}; {counts[0]}, {counts[1]}, {counts[2]}; {counts[3]}; {counts[4]} |",
        f"| {run['rollback_ms_p50']:.0f} ms, {run['rollback_ms_p99']:.0f} ms |",
        f"| {run['swap_s_p50']:.0f} s, {run['swap_s_max']:.0f} s |",
        *(
            f"| {p99['before']:.0f} ms; {p99['between']:.0f} ms; {p99['during']:.0f} ms, {ratio:.1f} times |"
            for p99, ratio in ((fresh, run["freshness_p99_ratio"]), (query, run["query_p99_ratio"]))
        ),
        f"| {run['backfill_per_s']:,}/s, {run['backfill_efficiency']:.2f} |".replace(" 0.", " ."),
    ]
    assert [cell for cell in cells if cell not in page] == []


def test_the_figures_of_the_recovery_bench_are_those_of_the_run_that_is_kept() -> None:
    """A table of waits that no longer come about would be what an operator plans with."""
    run = json.loads((ROOT / "docs" / "bench" / "recovery.json").read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "bench" / "README.md").read_text(encoding="utf-8")
    assert [run[name] for name in ("lost", "failed_elsewhere", "mixed", "empty", "violations", "live_wrong")] == [0] * 6
    cells = [f"of {run['queries']:,} queries", f"{run['probes']:,} probes"]
    for role in run["roles"].values():
        cells.append(f"| {role['stale_ms_p50']:,.0f} ms; {role['stale_ms_max']:,.0f} ms |")
        if role["down_ms_p50"] is not None:
            cells.append(f"| {role['down_ms_p50']:,.0f} ms; {role['down_ms_max']:,.0f} ms |")
    assert [cell for cell in cells if cell not in page] == []


def test_the_figures_of_the_swap_are_those_of_the_runs_that_are_kept() -> None:
    """Who wants to know more than the page says reads the runs, and must find the same."""
    runs = json.loads((ROOT / "docs" / "bench" / "demo-swap.json").read_text(encoding="utf-8"))["runs"]
    page = (ROOT / "docs" / "swap.md").read_text(encoding="utf-8")
    assert as_markdown(runs) in page
    assert f"{sum(run['history']['answers'] for run in runs):,} answers" in page
    assert [fault for run in runs for fault in faults(run)] == []
