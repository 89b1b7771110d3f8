"""The pages over a real socket, on a made-up deployment: what is shown, and what keeps a foreign page from giving commands."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace
from importlib import resources

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from schemas.errors import ControllerUnavailable, RoostError
from schemas.records.control import CommandKind, Stage
from schemas.rollout import nothing_yet
from serving.client import NotServing
from serving.console.readings import BrokerReading, Moment
from serving.console.web.app import MAX_FORM_BYTES, build_console
from serving.health import GroupRecall
from serving.http.server import HttpServer
from tests.console_fakes import HOME, LIVE, NEXT, NOW_MS, FakeConsole, audited, manifest, moment, reading, rollout, stage

READY = rollout(stage(LIVE, Stage.LIVE), stage(NEXT, Stage.READY))
CONFIRM = f"/rollouts/{HOME.name}/confirm?kind=promote&bundle={NEXT}&revision=5"


class Served:
    """A console on a port."""

    def __init__(self) -> None:
        self.fake = FakeConsole()
        self.server = HttpServer(build_console(self.fake.parts(), version="1.2.3"), host="127.0.0.1", port=0, chosen_by="--port")
        self.server.start()
        self.http = httpx.Client(base_url=self.server.url, timeout=10)

    def reset(self) -> None:
        """Make it a healthy deployment with a bundle to promote, and a browser without cookies."""
        fresh = FakeConsole()
        self.fake.watch.kept = [moment(READY)]
        self.fake.controller.__dict__.update(fresh.controller.__dict__, state=READY)
        self.fake.asker.__dict__.update(fresh.asker.__dict__)
        self.fake.catalog.manifests = fresh.catalog.manifests
        self.fake.results.files = {}
        self.http.cookies.clear()

    def form(self) -> dict[str, str]:
        """Open the confirmation of a promotion and return its hidden fields."""
        page = self.http.get(CONFIRM)
        assert page.status_code == 200
        return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page.text))

    def post(self, form: dict[str, str], **headers: str) -> httpx.Response:
        """Send a form as a browser on our page would."""
        origin = {"origin": self.server.url, "sec-fetch-site": "same-origin"}
        return self.http.post(f"/rollouts/{HOME.name}", data=form, headers=origin | headers)


@pytest.fixture(scope="module")
def module_served() -> Iterator[Served]:
    """Yield one server for the module."""
    served = Served()
    yield served
    served.http.close()
    served.server.stop()


@pytest.fixture
def served(module_served: Served) -> Served:
    """Return the server as if just started."""
    module_served.reset()
    return module_served


PAGES = (
    "/overview",
    "/overview/live",
    "/rollouts",
    "/rollouts/live",
    "/playground",
    f"/playground?user=u:1&against={NEXT}",
    "/paper",
)


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("state", ["nothing read", "broker away", "no node", "empty", "well"])
def test_every_page_says_what_is_there_in_every_state_of_the_deployment(served: Served, path: str, state: str) -> None:
    """The console is opened when something is wrong: it must not be wrong as well."""
    empty = moment(nothing_yet(HOME.name), beats=[], nodes=[], delays={})
    served.fake.watch.kept = {
        "nothing read": [],
        "broker away": [Moment(NOW_MS, BrokerReading("the broker at b:1 does not answer (timed out)"))],
        "no node": [moment(READY, beats=[], nodes=[])],
        "empty": [empty, empty],
        "well": [moment(READY, at_ms=NOW_MS - 2_000), moment(READY)],
    }[state]
    response = served.http.get(path)
    assert response.status_code == 200
    assert "Internal Server Error" not in response.text
    assert served.http.get("/overview/series.json").status_code == 200


def test_the_audit_draws_bounds_and_says_where_too_few_queries_were_audited_for_any(served: Served) -> None:
    """A language that nobody asks for stood at "at least 27 %", beside others that were really short."""
    whole = audited(("all", "all", 0.99, 0.97, 1.0), ("tier", "graph", 0.99, 0.97, 1.0))
    audit = replace(whole, groups=(*whole.groups, GroupRecall("language", "eu", 1, 1.0, 0.27, 1.0)))
    served.fake.watch.kept = [moment(READY, nodes=[reading(audit=audit)])]
    page = served.http.get("/overview").text
    assert page.count('<svg class="bounds') == 1
    assert "bars begin at 90.0 %" in page
    assert "1 of 5 queries audited" in page
    assert "27.0 %" not in page
    few = audited(("all", "all", 1.0, 0.43, 1.0), ("tier", "graph", 1.0, 0.43, 1.0), queries=2)
    served.fake.watch.kept = [moment(READY, nodes=[reading(audit=few)])]
    page = served.http.get("/overview").text
    assert page.count("2 of 5 queries audited") == 2, "in the figures on top, and in the row"
    assert "bars begin" not in page


def test_a_bundle_of_an_early_rollout_is_not_called_one_that_was_never_rolled_out(served: Served) -> None:
    """A rollout names its last eight ended bundles: of each before them the board said so, and offered to start it as if new."""
    served.fake.catalog.manifests = {f"{at:016x}": manifest() for at in range(12)}
    ended = [stage(f"{at:016x}", Stage.RETIRED) for at in range(2, 10)]
    served.fake.watch.kept = [moment(rollout(*ended, stage(f"{11:016x}", Stage.LIVE)))]
    page = served.http.get("/rollouts/live").text
    assert f"{0:016x}" in page
    assert "never rolled out" not in page


@pytest.mark.parametrize(
    ("held_back", "said"), [("", ""), ("paused", " once it is resumed"), ("frozen", " once the surface is unfrozen")]
)
def test_a_bundle_that_is_held_back_does_not_go_live_by_itself(served: Served, held_back: str, said: str) -> None:
    """Beside the pill that says so, the board promised it all the same."""
    entry = stage(NEXT, Stage.READY, automatic=True, paused=held_back == "paused")
    served.fake.watch.kept = [moment(rollout(stage(LIVE, Stage.LIVE), entry, frozen=held_back == "frozen"))]
    assert f"goes live by itself{said}</span>" in served.http.get("/rollouts/live").text


def test_no_page_asks_for_anything_from_elsewhere(served: Served) -> None:
    """It must work on a machine without a network; the browser is told so as well."""
    for path in PAGES:
        response = served.http.get(path)
        links = re.findall(r'(?:src|href|action|data-poll|data-series)="([^"]*)"', response.text)
        assert not [link for link in links if not link.startswith(("/", "#"))]
        for link in links:
            if link.startswith("/static/"):
                assert served.http.get(link).status_code == 200, link
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert "unsafe" not in response.headers["content-security-policy"]


def test_a_promotion_is_confirmed_and_sent_for_the_revision_that_was_shown(served: Served) -> None:
    """Seen, confirmed, sent, answered: the whole way of a command."""
    form = served.form()
    assert form["revision"] == "5"
    response = served.post(form | {"reason": "better ❤"})
    assert response.status_code == 303
    (command,) = served.fake.controller.commands
    assert (command.kind, command.bundle, command.expected_revision) == (CommandKind.PROMOTE, NEXT, 5)
    assert (command.actor, command.reason) == ("console:me", "better ❤")
    assert served.fake.controller.state.live == NEXT
    assert f"promote of {NEXT} is accepted: revision 6" in served.http.get(response.headers["location"]).text


def test_a_command_for_a_state_that_has_moved_on_changes_nothing_and_says_so(served: Served) -> None:
    """Of two operators one wins; the other must learn it."""
    form = served.form()
    served.fake.controller.state = replace(READY, revision=6)
    response = served.post(form)
    assert response.status_code == 409
    assert "is at revision 6, not 5" in response.text
    assert served.fake.controller.state.live == LIVE
    served.fake.watch.kept = [moment(replace(READY, revision=6))]
    assert "is at revision 6 by now" in served.http.get(CONFIRM).text


@pytest.mark.parametrize(
    ("change", "headers"),
    [
        ({"token": ""}, {}),
        ({"token": "0" * 64}, {}),
        ({"token": "ë" * 64}, {}),
        ({}, {"origin": "http://evil.example"}),
        ({}, {"origin": "null"}),
        ({}, {"sec-fetch-site": "cross-site"}),
        ({}, {"sec-fetch-site": "same-site"}),
    ],
)
def test_a_form_from_elsewhere_is_refused(served: Served, change: dict[str, str], headers: dict[str, str]) -> None:
    """Another page in the operator's browser must not be able to roll anything back."""
    response = served.post(served.form() | change, **headers)
    assert response.status_code == 403
    assert served.fake.controller.commands == []


def test_a_token_of_another_browser_is_refused(served: Served) -> None:
    """A token that leaked is of no use without its cookie."""
    form = served.form()
    served.http.cookies.clear()
    assert served.post(form).status_code == 403


def test_a_name_that_somebody_else_points_here_is_refused(served: Served) -> None:
    """DNS rebinding: a foreign page would be our origin in the browser's eyes."""
    assert served.http.get("/overview", headers={"host": "evil.example"}).status_code == 400
    assert served.http.get("/overview", headers={"host": "localhost:8780"}).status_code == 200


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"kind": "explode"}, 422),
        ({"revision": "-1"}, 422),
        ({"revision": ""}, 422),
        ({"revision": "9" * 400}, 422),
        ({"kind": "canary", "share": "nan"}, 422),
        ({"kind": "canary", "share": "1e400"}, 422),
        ({"kind": "canary", "share": "1e300"}, 422),
        ({"kind": "canary", "share": "0"}, 422),
        ({"bundle": "f" * 16}, 409),
        ({f"more{n}": "" for n in range(30)}, 422),
        ({"reason": "x" * MAX_FORM_BYTES}, 413),
    ],
)
def test_a_form_that_is_no_command_is_refused_in_a_sentence(served: Served, change: dict[str, str], status: int) -> None:
    """Garbage is never a server error, and never a command."""
    response = served.post(served.form() | change)
    assert response.status_code == status
    assert served.fake.controller.state == READY


@pytest.mark.parametrize(
    ("error", "status"), [(ControllerUnavailable("no controller answered"), 503), (RoostError("broker away"), 503)]
)
def test_a_controller_that_does_not_answer_is_said(served: Served, error: RoostError, status: int) -> None:
    """The command may still be answered: whoever gave it must look before giving it again."""
    form = served.form()
    served.fake.controller.error = error
    response = served.post(form)
    assert response.status_code == status
    assert str(error) in response.text


def test_what_may_not_be_done_has_no_confirmation(served: Served) -> None:
    """An old link, or a made-up one."""
    for query in ("kind=rollback&revision=5", f"kind=promote&bundle={LIVE}&revision=5", "kind=%3Cb%3E&revision=5"):
        response = served.http.get(f"/rollouts/{HOME.name}/confirm?{query}")
        assert response.status_code == 409
        assert "<b>" not in response.text
    assert served.http.get("/rollouts/nope/confirm?kind=freeze&revision=5").status_code == 404
    assert served.http.get("/overview?surface=nope").status_code == 404
    assert served.http.get("/nothing").status_code == 404


@pytest.mark.parametrize("query", ["kind=promote&revision=abc", "kind=promote", f"kind=promote&revision={'9' * 5_000}"])
def test_an_address_that_was_typed_wrong_is_a_page_like_any_other_problem(served: Served, query: str) -> None:
    """A person reads it, with a way back; the framework's own answer is for programs."""
    response = served.http.get(f"/rollouts/{HOME.name}/confirm?{query}")
    assert (response.status_code, response.headers["content-type"].partition(";")[0]) == (422, "text/html")
    assert "look at revision in it" in response.text


def test_texts_are_shown_as_text_in_their_own_direction_and_language(served: Served) -> None:
    """A tweet is anybody's bytes: no markup of theirs runs, and Arabic reads from the right."""
    served.fake.asker.answers = {LIVE: [("t:1", "ar", "مرحبا <script>alert(1)</script>"), ("t:2", "", "")]}
    page = served.http.get("/playground?user=u:1").text
    assert '<p class="text" dir="auto" lang="ar">مرحبا &lt;script&gt;alert(1)&lt;/script&gt;</p>' in page
    assert "no text" in page
    assert '<option value="u:🦉">' in page


def test_two_bundles_are_asked_for_the_same_user_and_compared(served: Served) -> None:
    """The second is pinned; the first is what users get."""
    served.fake.asker.answers = {LIVE: [("t:1", "en", "a"), ("t:2", "en", "b")], NEXT: [("t:2", "en", "b"), ("t:3", "en", "c")]}
    page = served.http.get(f"/playground?user=u:1&k=2&against={NEXT}").text
    assert [request.pin for request in served.fake.asker.requests] == [None, NEXT]
    assert "1 of 2 candidates in common" in page
    assert "▲ 1" in page


def test_a_node_without_an_answer_and_a_field_over_its_limit_are_sentences(served: Served) -> None:
    """The playground is where people try things."""
    assert "must be numbers" in served.http.get("/playground?k=lots").text
    assert "pin: String should match pattern" in served.http.get("/playground?bundle=x").text
    served.fake.asker.error = NotServing("503: no bundle is live")
    assert "no bundle is live" in served.http.get("/playground?user=u:1").text


def test_results_are_shown_and_an_empty_folder_says_how_to_fill_it(served: Served) -> None:
    """Nothing is made up: what was run is shown, or that nothing was."""
    assert "No results yet" in served.http.get("/paper").text
    served.fake.results.files = {"table1": {"rows": [{"model": "two-tower <b>", "auc": 0.7}]}}
    page = served.http.get("/paper").text
    assert "Table 1" in page
    assert "two-tower &lt;b&gt;" in page


def test_gates_are_listed_with_their_verdicts(served: Served) -> None:
    """Why a bundle may, or may not, go live."""
    served.fake.catalog.manifests[NEXT] = manifest(passed=False)
    page = served.http.get("/rollouts").text
    assert "1 of 2 gates passed" in page
    assert "language mismatch" in page


def test_health_says_whether_the_figures_are_current(served: Served) -> None:
    """A console that shows yesterday's figures is not ready."""
    assert served.http.get("/livez").json() == {"alive": True}
    assert served.http.get("/version").json() == {"version": "1.2.3"}
    served.fake.watch.kept = [moment(at_ms=1)]
    response = served.http.get("/readyz")
    assert (response.status_code, response.json()["ready"]) == (503, False)
    assert "the console cannot read" in served.http.get("/overview/live").text


def test_the_files_of_the_chart_library_are_the_released_ones() -> None:
    """They are shipped as they were published (uPlot 1.6.32): a changed byte here is a change nobody reviewed."""
    vendor = resources.files("serving.console") / "static" / "vendor"
    digests = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in vendor.iterdir()}
    assert digests == {
        "uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
        "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
        "uPlot.LICENSE": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
    }


def test_the_console_measures_its_pages_its_commands_and_how_old_its_figures_are(served: Served) -> None:
    """A console that shows the past, or whose commands get no answer, must be seen by more than whoever looks at it."""

    def measured() -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        families = text_string_to_metric_families(served.http.get("/metrics").text)
        return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}

    before = measured()
    assert before["roost_console_reading_timestamp_seconds", frozenset()] == NOW_MS / 1000
    served.http.get("/no/such/page")
    served.http.get("/also/none")
    served.post(served.form())
    served.fake.controller.error = ControllerUnavailable("nobody answers")
    served.fake.controller.state = READY
    served.fake.watch.kept = [moment(READY)]
    served.post(served.form())
    after = measured()

    def grew(name: str, **labels: str) -> float:
        series = (name, frozenset(labels.items()))
        return after.get(series, 0.0) - before.get(series, 0.0)

    assert grew("roost_console_commands_total", kind="promote", outcome="accepted") == 1
    assert grew("roost_console_commands_total", kind="promote", outcome="unanswered") == 1
    assert grew("roost_console_page_seconds_count", route="/rollouts/{surface}/confirm", status="200") == 2
    assert grew("roost_console_page_seconds_count", route="none", status="404") == 2, "an address of a stranger is no series"
    served.fake.watch.kept = []
    assert measured()["roost_console_reading_timestamp_seconds", frozenset()] == 0
