"""docker/'s alerts and dashboards against what the processes export, and against the runbook."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.deployment_files import DOCKER, ROOT, compose, metrics_port, role_services
from tests.exported_metrics import Exported, exported
from tests.monitoring_files import Query, alerts, dashboards, queries

_QUERIES = [pytest.param(query, id=query.place) for query in queries()]
RUNBOOK = ROOT / "docs" / "runbook.md"


@pytest.mark.parametrize(
    "words", ["check config prometheus.yml", "check rules --lint=all alerts.yml", "test rules alerts_test.yml"], ids=str
)
def test_prometheus_accepts_its_files_where_it_is_installed(words: str) -> None:
    """Its own reading is the one that counts; on a machine without it the other tests read the files."""
    if promtool := shutil.which("promtool"):
        said = subprocess.run([promtool, *words.split()], cwd=DOCKER, capture_output=True, text=True, check=False)
        assert said.returncode == 0, said.stdout + said.stderr


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Return what the processes export."""
    return exported(tmp_path_factory.mktemp("registry"))


@pytest.mark.parametrize("query", _QUERIES)
def test_every_series_and_label_that_is_asked_for_is_exported(query: Query, series: Exported) -> None:
    """A query for a series that was renamed is no error: its alert just never fires again."""
    named = {name: labels for name, labels in query.series().items() if not name.startswith("process_")}
    everywhere = {name: labels for job in series.values() for name, labels in job.items()}
    assert named.keys() <= everywhere.keys()
    for name, labels in named.items():
        assert labels <= everywhere[name], name
    grouped = query.grouped_by()
    assert grouped <= set().union(*(everywhere[name] for name in named))


@pytest.mark.parametrize("query", _QUERIES)
def test_what_is_counted_counts_the_first_of_its_kind(query: Query, series: Exported) -> None:
    """A counter with labels is born at 1, which is no increase: the first refusal, or promotion, was none."""
    everywhere = {name: labels for job in series.values() for name, labels in job.items()}
    for name in re.findall(r"increase\((\w+)", query.text):
        assert not everywhere[name] or re.search(rf"\b{name}(\{{[^}}]*\}})? unless {name} offset ", query.text), name


def test_a_series_that_nobody_exports_would_be_found(series: Exported) -> None:
    """The test above must be able to fail."""
    with pytest.raises(AssertionError):
        test_every_series_and_label_that_is_asked_for_is_exported(Query("x", "roost_ready_total == 0"), series)
    with pytest.raises(AssertionError):
        test_every_series_and_label_that_is_asked_for_is_exported(Query("x", 'roost_ready{surface="x"}'), series)
    with pytest.raises(AssertionError):
        test_every_series_and_label_that_is_asked_for_is_exported(Query("x", "sum by (topics) (roost_users)"), series)
    with pytest.raises(ValueError, match="unclosed"):
        Query("x", "sum by (").parsed()


def test_names_follow_the_conventions_of_prometheus(series: Exported) -> None:
    """Base units, `_total` for what is counted: a dashboard of somebody else's reads them without a manual."""
    names = {name for job in series.values() for name in job}
    assert all(re.fullmatch(r"roost_[a-z0-9_]+", name) for name in names)
    assert not [name for name in names if re.search(r"_(ms|millis|milliseconds|kb|mb|percent)(_|$)", name)]


def test_prometheus_asks_every_process_that_answers_and_no_other() -> None:
    """A role that was left out is silent for ever, and its alerts with it."""
    config = yaml.safe_load((DOCKER / "prometheus.yml").read_text())
    assert config["rule_files"] == ["alerts.yml"]
    asked = {target for job in config["scrape_configs"] for entry in job["static_configs"] for target in entry["targets"]}
    answering = {f"{name}:{port}" for name, role in role_services().items() if (port := metrics_port(role.environment))}
    assert asked == answering
    assert len(asked) == 7
    assert "console" in role_services()["console"].environment["ROOST_CONSOLE_HOSTS"].split(","), "it refuses other names"
    jobs = {job["job_name"] for job in config["scrape_configs"]}
    selected = {job for query in queries() for job in re.findall(r'job="(\w+)"', query.text)}
    assert selected <= jobs


def test_every_alert_has_a_section_in_the_runbook_and_every_section_an_alert() -> None:
    """At three in the morning, an alert without one is a riddle."""
    sections = re.split(r"^### ", RUNBOOK.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    by_name = {text.partition("\n")[0].strip(): text for text in sections}
    assert by_name.keys() == alerts().keys()
    for name, text in by_name.items():
        assert all(f"**{part}.**" in text for part in ("Means", "Look", "Mend")), name


def test_every_alert_says_what_is_wrong_and_how_urgent_it_is() -> None:
    """Whoever is woken reads one sentence first."""
    for name, rule in alerts().items():
        assert rule["labels"]["severity"] in ("page", "ticket"), name
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["runbook"] == f"docs/runbook.md#{name.lower()}"
        used = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        grouped = Query(name, rule["expr"]).grouped_by()
        aggregated = re.search(r"\b(sum|max|count|min) by \(([^)]*)\)", rule["expr"])
        if aggregated is not None:
            assert used <= grouped | {"job", "instance"} & set(aggregated.group(2).split(", ")), name


def test_every_panel_says_what_it_shows_in_which_unit_and_reads_the_source_that_is_there() -> None:
    """A panel of a source that does not exist is empty, and so is one for a number without a unit to whoever reads it."""
    source = yaml.safe_load((DOCKER / "grafana" / "provisioning" / "datasources" / "prometheus.yaml").read_text())["datasources"][0]
    assert source["url"] == "http://prometheus:9090"
    assert dashboards()
    for dashboard in dashboards().values():
        panels = dashboard["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels)
        for panel in panels:
            if panel["type"] == "row":
                continue
            assert panel["title"]
            assert panel["description"].endswith(".")
            assert panel["fieldConfig"]["defaults"]["unit"]
            assert {target["datasource"]["uid"] for target in panel["targets"]} == {source["uid"]}


def test_what_is_mounted_is_where_the_programs_look() -> None:
    """Grafana starts without a word when its folder of dashboards is empty."""
    services = compose()["services"]
    mounts = [mount.split(":")[:2] for name in ("prometheus", "grafana") for mount in services[name]["volumes"]]
    mounted = {inside: DOCKER / outside for outside, inside in mounts if outside.startswith(".")}
    provider = yaml.safe_load((DOCKER / "grafana" / "provisioning" / "dashboards" / "roost.yaml").read_text())["providers"][0]
    assert mounted[provider["options"]["path"]] == DOCKER / "grafana" / "dashboards"
    first = Path(services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (mounted[str(first.parent)] / first.name).is_file()
    configured = next(word for word in services["prometheus"]["command"] if word.startswith("--config.file="))
    assert mounted[configured.partition("=")[2]] == DOCKER / "prometheus.yml"
    assert mounted["/etc/prometheus/alerts.yml"] == DOCKER / "alerts.yml"
