"""The console in a real Chromium, on a real broker and a real node.

At the edge stand a controller and an embedder played by the test: the one answers commands on the real log by the rules of
`schemas.rollout`, the other reports what the test embedded in its place.
"""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, expect, sync_playwright

from roost.cli.console import PaperTables
from schemas.codec import encode
from schemas.errors import CompareAndSetLost
from schemas.records.control import (
    CanaryPoint,
    CanaryReport,
    CommandKind,
    NodeStatus,
    Progress,
    Rollout,
    RolloutCommand,
    SourcePosition,
    Stage,
)
from schemas.records.users import UserState
from schemas.topics import NODE_STATUS
from serving.console.role import run_console
from serving.console.settings import ConsoleSettings
from tests.posts import Post, now_ms
from tests.served_node import ServedNode, free_port, node_on_a_thread, until
from tests.write_path import WritePath
from tools.chromium import FLAGS, find_chromium

pytestmark = pytest.mark.browser

ARABIC = "مرحبا بالعالم، هذا نص طويل يُقرأ من اليمين إلى اليسار"
PAGES = ("overview", "rollouts", "playground?user=u:reader&k=30", "paper", "nothing-here")
ROOT = Path(__file__).parents[2]
PHONE: ViewportSize = {"width": 390, "height": 844}


class HasBootstrap(Protocol):
    """The broker fixture."""

    bootstrap: str


class PlayedController:
    """`CommandSender` that answers on the real log, as the controller would."""

    def __init__(self, path: WritePath) -> None:
        self._path = path
        self.commands: list[RolloutCommand] = []

    def send(self, command: RolloutCommand) -> Rollout:
        """See `CommandSender.send`."""
        self.commands.append(command)
        if command.expected_revision != self._path.revision:
            raise CompareAndSetLost(f"the surface is at revision {self._path.revision}, not {command.expected_revision}")
        self._path.command(command.kind, command.bundle, share_bp=command.share_bp)
        return Rollout(command.surface, self._path.revision)


@dataclass
class Deployment:
    """A node with a live and a ready bundle, and a console beside it."""

    path: WritePath
    node: ServedNode
    controller: PlayedController
    url: str
    live: str
    ready: str


def lives(url: str) -> bool:
    """Tell whether somebody answers."""
    try:
        return httpx.get(f"{url}/livez", timeout=5).is_success
    except httpx.TransportError:
        return False


@contextmanager
def console_on_a_thread(path: WritePath, controller: PlayedController, results: Path) -> Iterator[str]:
    """Run a console for the while and give its address."""
    port, stop = free_port(), threading.Event()
    settings = ConsoleSettings(
        bootstrap=path.bootstrap,
        registry=path.registry,
        surfaces=path.surfaces_file,
        console_port=port,
        console_results=results,
        console_actor="console:test",
    )
    thread = threading.Thread(
        target=run_console, args=(settings, controller, stop), kwargs={"paper": PaperTables(), "version": "1.2.3"}, daemon=True
    )
    thread.start()
    try:
        url = f"http://127.0.0.1:{port}"
        until(lambda: lives(url))
        yield url
    finally:
        stop.set()
        thread.join(20)
    assert not thread.is_alive(), "the console did not stop"


def report_as_embedder(path: WritePath, *bundles: str) -> None:
    """Write the heartbeat of an embedder that has read everything and has nothing left to backfill."""
    ends = dict.fromkeys(range(4), 0)
    progress = tuple(
        Progress(
            path.surface.name,
            bundle,
            partition,
            source={"tweets": SourcePosition(end, now_ms())},
            embeddings_end=end,
            backfill_done=True,
        )
        for bundle in bundles
        for partition, end in ends.items()
    )
    path.send(NODE_STATUS, b"embedder:test", encode(NodeStatus("embedder:test", now_ms(), True, progress=progress)))


@pytest.fixture(scope="module")
def deployment(broker: HasBootstrap, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Yield a deployment with candidates in three scripts and one very long word."""
    folder = tmp_path_factory.mktemp("console")
    path = WritePath(broker.bootstrap, folder)
    live, ready = path.bundle(1), path.bundle(2)
    posts = [Post(f"t:{n}", topics=(f"topic-{n % 5}",), text=f"text {n}") for n in range(20)]
    posts += [Post("t:ar", language="ar", text=ARABIC), Post("t:ja", language="ja", text="雪🎿"), Post("t:long", text="x" * 280)]
    results = folder / "results"
    results.mkdir()
    (results / "table1.json").write_text(
        '{"rows": [{"model": "two-tower", "auc": 0.7, "a long name of a figure": 1, "another": 2}]}'
    )
    for name in ("table2", "fig5", "swap", "sweep"):
        shutil.copy(ROOT / "docs" / "bench" / f"{name}.json", results)
    with node_on_a_thread(path) as node:
        path.go_live(live)
        path.user(UserState("u:reader", languages=("en",), profile_time_ms=1), "u:reader")
        path.embed(posts, live)
        path.start(ready)
        path.embed(posts, ready)
        path.ready(ready)
        until(lambda: node.answers_from(live) and node.bundles()[ready]["not_ready"] is None)
        report_as_embedder(path, live, ready)
        controller = PlayedController(path)
        with console_on_a_thread(path, controller, results) as url:
            yield Deployment(path, node, controller, url, live, ready)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Yield a Chromium; without one this fails: `make test` leaves these tests out where none can be had, and says so."""
    program = find_chromium()
    assert program is not None, "no Chromium: run `python -m tools.chromium`, or leave these out with -m 'not browser'"
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        yield started
        started.close()


@dataclass
class Watched:
    """A page, and everything that it said, asked for and broke."""

    page: Page
    context: BrowserContext
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def note(self, kind: str, text: str) -> None:
        """Keep what is a complaint; a page that is not there is meant to be a 404, which Chromium notes."""
        if kind in {"error", "warning"} and "404" not in text:
            self.complaints.append(text)


@pytest.fixture
def watched(browser: Browser, deployment: Deployment) -> Iterator[Watched]:
    """Yield a page in a profile of its own; afterwards it has complained of nothing and asked nobody else."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, base_url=deployment.url, locale="en-GB")
    # what browsers say of themselves in the C locale; to Intl it is no language, and charts must be drawn all the same
    context.add_init_script(
        "Object.defineProperty(Navigator.prototype, 'language', { get: () => 'en-US@posix', configurable: true })"
    )
    context.set_default_timeout(20_000)
    seen = Watched(context.new_page(), context)
    seen.page.on("console", lambda message: seen.note(message.type, message.text))
    seen.page.on("pageerror", lambda error: seen.note("error", str(error)))
    context.on("request", lambda request: seen.requests.append(request.url))
    yield seen
    context.close()
    assert seen.complaints == []
    assert [url for url in seen.requests if not url.startswith((deployment.url, "data:"))] == []


def act(page: Page, name: str) -> None:
    """Press a button of the board and confirm it in the dialog, by the keyboard alone."""
    expect(page.get_by_role("button", name=name, exact=True).first).to_be_visible()
    press(page, name)
    expect(page.get_by_role("dialog")).to_be_visible()
    press(page, name)
    page.wait_for_url("**/rollouts?answer=*")


def press(page: Page, name: str) -> None:
    """Go on by Tab to the next button of a name, and press it by Enter."""
    for _ in range(100):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('button, [role=button]') && document.activeElement.textContent") == name:
            page.keyboard.press("Enter")
            return
    pytest.fail(f"no Tab leads to {name!r}")


def test_the_overview_shows_what_the_node_holds_and_draws_its_charts(watched: Watched, deployment: Deployment) -> None:
    """The figures come from the node itself, and go on coming."""
    page = watched.page
    page.goto("/overview")
    expect(page.locator(".figure", has_text="Candidates live").locator("b")).to_have_text("23")
    expect(page.locator(".figure", has_text="Nodes ready").locator("b")).to_have_text("1")
    expect(page.get_by_role("row", name="Japanese")).to_be_visible()
    # a chart needs two readings of the node, and a query between them
    deployment.node.ask(k=23)
    expect(page.locator("[data-chart=query_ms] canvas")).to_be_visible(timeout=15_000)
    with page.expect_response("**/overview/live*"):
        pass
    expect(page.get_by_role("status").filter(has_text="Live")).to_be_visible()
    # the node audited that query by itself; with further ones it has bounds of them
    arabic = page.locator(".audit").get_by_role("row", name="Arabic")
    expect(arabic).to_be_visible(timeout=15_000)
    until(lambda: deployment.node.ask(k=23) and arabic.locator("svg").is_visible())
    expect(arabic).not_to_contain_text("queries audited")


def test_every_reader_s_lag_is_seen_on_a_phone_without_scrolling(watched: Watched) -> None:
    """A column a reader stood outside of its card, on a desktop too: the node that fell behind was the one not shown."""
    page = watched.page
    page.set_viewport_size(PHONE)
    page.goto("/overview")
    table = page.get_by_role("region", name="Lag by partition")
    expect(table.get_by_role("rowheader")).not_to_have_count(0)
    assert table.evaluate("one => one.scrollWidth <= one.clientWidth")


def test_an_operator_starts_a_canary_and_sees_its_curve_with_its_bounds(watched: Watched, deployment: Deployment) -> None:
    """The figures are the controller's; the chart must be there, and stay while the board refreshes around it."""
    page, path = watched.page, deployment.path
    page.goto("/rollouts")
    page.get_by_role("button", name="Start canary", exact=True).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Share of users, per cent").fill("20")
    dialog.get_by_label("Promote by itself").check()
    dialog.get_by_role("button", name="Start canary", exact=True).click()
    page.wait_for_url("**/rollouts?answer=*")
    assert (deployment.controller.commands[-1].share_bp, deployment.controller.commands[-1].automatic) == (2_000, True)
    (entry,) = path.state.in_stage(Stage.CANARY)
    expect(page.get_by_text("has not compared its users with the others yet")).to_be_visible()
    curve = tuple(CanaryPoint(now_ms() - 60_000 + 10_000 * n, 0.01, 0.01 - 0.2 / (n + 1), 0.01 + 0.2 / (n + 1)) for n in range(6))
    report = CanaryReport(
        path.surface.name,
        deployment.ready,
        deployment.live,
        entry.since_ms,
        "wait",
        "undecided: so far",
        250,
        900,
        90,
        1_000,
        4_000,
        360,
        curve,
    )
    told = NodeStatus("controller:test", now_ms(), True, canaries=(report,))
    path.send(NODE_STATUS, b"controller:test", encode(told))
    expect(page.get_by_text("undecided: so far")).to_be_visible()
    expect(page.get_by_role("row", name="everybody else")).to_contain_text("1,000")
    expect(page.get_by_text("+1.00 (-2.33 to +4.33)")).to_be_visible()
    chart = page.locator("[data-plot] canvas")
    expect(chart).to_be_visible()
    chart.evaluate("one => { one.dataset.kept = 'yes'; }")
    with page.expect_response("**/rollouts/live"):
        pass
    page.wait_for_timeout(200)
    expect(chart).to_have_attribute("data-kept", "yes")


def test_an_operator_promotes_a_bundle_and_rolls_back_and_the_node_follows(watched: Watched, deployment: Deployment) -> None:
    """Seen, confirmed, done: what the buttons are for, down to what users are answered with."""
    page = watched.page
    page.goto("/rollouts")
    act(page, "Promote")
    expect(page.locator(".note.good")).to_contain_text(f"promote of {deployment.ready} is accepted")
    until(lambda: deployment.node.answers_from(deployment.ready))
    expect(page.locator(f"article.live:has-text('{deployment.ready}')")).to_be_visible()
    act(page, "Roll back")
    until(lambda: deployment.node.answers_from(deployment.live))
    kinds = [command.kind for command in deployment.controller.commands]
    assert kinds[-2:] == [CommandKind.PROMOTE, CommandKind.ROLLBACK]
    assert deployment.controller.commands[-1].actor == "console:test"


def test_an_operator_aborts_a_bundle_that_is_building_and_nobody_notices(watched: Watched, deployment: Deployment) -> None:
    """The way out of a rollout gone wrong: only after a confirmation, for that bundle only, and users are answered as before."""
    page, path = watched.page, deployment.path
    wrong = path.bundle(3)
    path.start(wrong)
    page.goto("/rollouts")
    card = page.locator(f"article:has-text('{wrong}')")
    card.get_by_role("button", name="Abort", exact=True).click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(wrong)
    dialog.get_by_role("button", name="Cancel", exact=True).click()
    assert [entry.bundle for entry in path.state.in_stage(Stage.BUILDING)] == [wrong], "nothing was confirmed"

    # back where it was by the keyboard, so is the way on
    page.keyboard.press("Shift+Tab")
    act(page, "Abort")
    expect(page.locator(".note.good")).to_contain_text(f"abort of {wrong} is accepted")
    expect(card.get_by_role("button", name="Abort", exact=True)).to_have_count(0)
    until(lambda: wrong not in deployment.node.bundles())
    assert [entry.bundle for entry in path.state.in_stage(Stage.ABORTED)] == [wrong]
    assert deployment.node.answers_from(deployment.live)


def test_a_confirmation_that_is_out_of_date_changes_nothing_and_says_why(watched: Watched, deployment: Deployment) -> None:
    """Two operators, one board: the second learns that the first was faster."""
    page = watched.page
    page.goto("/rollouts")
    page.get_by_role("button", name="Freeze", exact=True).click()
    expect(page.get_by_role("dialog")).to_be_visible()
    deployment.path.command(CommandKind.FREEZE)
    revision = deployment.path.revision
    with watched.context.expect_event("response", lambda answer: answer.status == 409):
        page.get_by_role("dialog").get_by_role("button", name="Freeze", exact=True).click()
    expect(page.get_by_role("heading", name="Somebody else was first")).to_be_visible()
    watched.complaints.clear()
    assert deployment.path.revision == revision
    deployment.path.command(CommandKind.UNFREEZE)


def test_a_keyboard_is_enough_and_a_refresh_takes_nothing_away(watched: Watched) -> None:
    """Focus, what was opened, and the dialog's way back survive the refresh every two seconds."""
    page = watched.page
    page.goto("/rollouts")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    button = page.get_by_role("button", name="Freeze", exact=True)
    button.focus()
    history = page.locator("details[id^=history-]")
    expect(history).to_have_attribute("open", "")
    history.evaluate("one => { one.open = false; }")
    with page.expect_response("**/rollouts/live"):
        pass
    page.wait_for_timeout(200)
    expect(button).to_be_focused()
    expect(history).not_to_have_attribute("open", "")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(button).to_be_focused()


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("path", PAGES)
def test_no_page_is_wider_than_a_phone_in_either_colours(watched: Watched, path: str, colours: str) -> None:
    """Nobody scrolls sideways at three in the morning; texts stand out from what is behind them."""
    page = watched.page
    page.set_viewport_size(PHONE)
    page.emulate_media(color_scheme="dark" if colours == "dark" else "light")
    page.goto(f"/{path}")
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).every(one => one < 60)")
    assert dark is (colours == "dark")


def test_the_colours_can_be_chosen_and_are_kept(watched: Watched) -> None:
    """Against the system's wish, and on the next page as well."""
    page = watched.page
    page.goto("/paper")
    for expected in ("light", "dark"):
        page.locator("#theme").click()
        expect(page.locator("html")).to_have_attribute("data-theme", expected)
    page.goto("/playground")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_candidates_are_shown_in_their_own_direction_and_two_bundles_are_compared(watched: Watched, deployment: Deployment) -> None:
    """Arabic reads from the right, whatever stands around it."""
    page = watched.page

    def offered() -> bool:
        page.goto("/playground")
        return page.locator(f'select[name="against"] option[value="{deployment.ready}"]').count() == 1

    # the console looks at the nodes every two seconds
    until(offered)
    page.get_by_label("User", exact=True).fill("u:reader")
    page.get_by_label("How many").fill("23")
    page.get_by_label("Compare with").select_option(deployment.ready)
    page.get_by_role("button", name="Retrieve").click()
    expect(page.get_by_text("23 of 23 candidates in common")).to_be_visible()
    expect(page.get_by_text("0 only left")).to_be_visible()
    arabic = page.get_by_text(ARABIC).first
    assert arabic.evaluate("one => getComputedStyle(one).direction") == "rtl"
    assert page.get_by_text("雪🎿").first.evaluate("one => getComputedStyle(one).direction") == "ltr"


def test_why_a_candidate_is_or_is_not_in_each_answer_is_told_beside_it(watched: Watched, deployment: Deployment) -> None:
    """From a hit by its link, and by its id when it did not come; each bundle gives its own reason."""
    page = watched.page
    page.goto(f"/playground?user=u:reader&k=2&against={deployment.live}")
    page.get_by_role("link", name="Why t:").first.click()
    told = page.get_by_role("region", name="is, or is not, in the answer")
    expect(told.get_by_text("is retrieved at rank 1 of bundle")).to_be_visible()
    retrieved = set(page.locator(".answer").first.locator(".hits .id").all_inner_texts())
    other = next(f"t:{n}" for n in range(20) if f"t:{n}" not in retrieved)
    page.get_by_label("Why this one, or why not").fill(other)
    page.get_by_role("button", name="Retrieve").click()
    expect(told.get_by_text("others score higher")).to_be_visible()
    expect(told.get_by_text(f"text {other.removeprefix('t:')}", exact=True)).to_be_visible()
    expect(told.locator("dt", has_text="score of the last of 2")).to_be_visible()
    page.goto("/playground?user=u:reader&k=2&why=t:never")
    expect(told.get_by_text("not in the index")).to_be_visible()
    expect(told.locator("code", has_text="roost explain --user u:reader --candidate t:never")).to_be_visible()


def tab_to(page: Page, selector: str) -> None:
    """Press Tab until what the selector names has the focus."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    pytest.fail(f"no Tab of 60 reaches {selector}")


def test_a_question_and_its_why_need_no_mouse(watched: Watched) -> None:
    """Asked, answered and explained by Tab and Enter alone."""
    page = watched.page
    page.goto("/playground")
    tab_to(page, "input[name=user]")
    page.keyboard.type("u:reader")
    page.keyboard.press("Enter")
    expect(page.locator(".hits li").first).to_be_visible()
    tab_to(page, ".hits a")
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="is, or is not, in the answer")).to_be_visible()


def test_the_papers_figures_are_drawn_from_the_last_results(watched: Watched) -> None:
    """Four charts of lines with bands, and the table below them."""
    page = watched.page
    page.goto("/paper")
    figure = page.locator("#fig5")
    expect(figure.locator("[data-plot] canvas")).to_have_count(4)
    expect(figure.get_by_role("figure", name="Top-1 language mismatch")).to_be_visible()
    figure.get_by_text("The same as a table").click()
    expect(figure.get_by_role("region").get_by_role("row", name="triplet").first).to_be_visible()
    page.locator("#theme").click()
    expect(figure.locator("[data-plot] canvas")).to_have_count(4)


# every word of letters that the browser breaks over two lines, wherever it stands
BROKEN_WORDS = """() => {
  const found = [], walker = document.createTreeWalker(document.getElementById("content"), NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode())
    for (const match of node.data.matchAll(/[A-Za-z]{2,16}/g)) {
      const range = document.createRange();
      range.setStart(node, match.index);
      range.setEnd(node, match.index + match[0].length);
      if (new Set([...range.getClientRects()].map((one) => Math.round(one.top))).size > 1) found.push(match[0]);
    }
  return found;
}"""


@pytest.mark.parametrize("path", ["overview", "rollouts", "paper"])
def test_no_word_is_broken_on_a_phone(watched: Watched, deployment: Deployment, path: str) -> None:
    """A column too narrow for its words stacks them letter by letter: it is as wide as a phone, and nobody can read it."""
    page = watched.page
    page.set_viewport_size(PHONE)
    page.goto(f"/{path}")
    if path == "overview":
        # the waterfall is of what is new since the console first read the node
        expect(page.locator(".figure", has_text="Nodes ready").locator("b")).to_have_text("1", timeout=20_000)
        deployment.path.embed([Post("t:new")], deployment.live)
        expect(page.get_by_role("rowheader", name="Inserted")).to_be_visible(timeout=20_000)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    page.wait_for_timeout(300)
    assert page.evaluate(BROKEN_WORDS) == []


def test_a_table_of_the_paper_is_read_on_a_phone_without_scrolling_sideways(watched: Watched) -> None:
    """Most columns stood outside of the card, and whoever had scrolled to them no longer saw which model they were of."""
    page = watched.page
    page.set_viewport_size(PHONE)
    page.goto("/paper")
    table = page.locator("#table2 .scroll")
    assert table.evaluate("one => one.scrollWidth <= one.clientWidth")
    named = "one => getComputedStyle(one, '::before').content"
    assert table.locator("tbody tr").first.locator("td").nth(1).evaluate(named) == '"favorites"'


def test_no_table_of_any_result_is_scrolled_sideways_on_a_phone(watched: Watched) -> None:
    """A benchmark's rows have up to twenty columns: of four fifths of them a phone showed neither head nor row."""
    page = watched.page
    page.set_viewport_size(PHONE)
    page.goto("/paper")
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    wide = "all => all.filter((one) => one.scrollWidth > one.clientWidth).map((one) => one.closest('section').id)"
    assert page.locator(".scroll").count() > 3
    assert page.locator(".scroll").evaluate_all(wide) == []


def test_a_console_without_a_node_says_so_in_place_of_figures(watched: Watched, broker: HasBootstrap, tmp_path: Path) -> None:
    """The first thing somebody sees who starts the roles in the wrong order."""
    path = WritePath(broker.bootstrap, tmp_path)
    with console_on_a_thread(path, PlayedController(path), tmp_path) as url:
        page = watched.page
        page.goto(f"{url}/rollouts")
        expect(page.get_by_text("Nothing is rolled out here")).to_be_visible()
        page.goto(f"{url}/playground?user=u:1")
        expect(page.get_by_role("alert")).to_contain_text("No node that serves")
        page.goto(f"{url}/paper")
        expect(page.get_by_text("No results yet")).to_be_visible()
        watched.requests[:] = [request for request in watched.requests if not request.startswith(url)]
