"""docker/'s alerts and dashboards as tests read them: every query, and the series and labels it names. Holds no test."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import promql_parser as promql
import yaml

from tests.deployment_files import DOCKER

# of every series that Prometheus stores
SCRAPED_LABELS = frozenset({"job", "instance"})
_OF_PROMETHEUS = frozenset({"up"})


@dataclass(frozen=True)
class Query:
    """A PromQL query, and where it stands."""

    place: str
    text: str

    def parsed(self) -> promql.Expr:
        """Return it parsed, with Grafana's variables filled in; raises ValueError for one that Prometheus would refuse."""
        text = self.text.replace("$__rate_interval", "1m").replace("$__range", "1h").replace("$surface", "home-timeline")
        return promql.parse(text)

    def nodes(self) -> list[Any]:
        """Return all parts of the query."""
        found: list[Any] = []
        promql.walk(self.parsed(), pre_visit=found.append)
        return found

    def series(self) -> dict[str, set[str]]:
        """Return the labels that are asked of each series by name; those that Prometheus makes itself are left out."""
        found: dict[str, set[str]] = {}
        for node in self.nodes():
            selector = node.vector_selector if isinstance(node, promql.MatrixSelector) else node
            if isinstance(selector, promql.VectorSelector) and selector.name not in _OF_PROMETHEUS:
                asked = {matcher.name for matcher in selector.matchers.matchers} - SCRAPED_LABELS
                found.setdefault(str(selector.name), set()).update(asked)
        return found

    def grouped_by(self) -> set[str]:
        """Return the labels that results are grouped or matched by."""
        found: set[str] = set()
        for node in self.nodes():
            if isinstance(node, promql.AggregateExpr) and node.modifier is not None:
                found.update(node.modifier.labels)
        return found - SCRAPED_LABELS


def alerts() -> dict[str, dict[str, Any]]:
    """Return the rules by the alert's name."""
    groups = yaml.safe_load((DOCKER / "alerts.yml").read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def dashboards() -> dict[str, dict[str, Any]]:
    """Return the dashboards by file name."""
    return {path.name: json.loads(path.read_text()) for path in sorted((DOCKER / "grafana" / "dashboards").glob("*.json"))}


def queries() -> Iterator[Query]:
    """Yield every query of the alerts and the dashboards."""
    for name, rule in alerts().items():
        yield Query(f"alert {name}", rule["expr"])
    for name, dashboard in dashboards().items():
        for panel in dashboard["panels"]:
            for target in panel.get("targets", ()):
                yield Query(f"{name}: {panel['title']}", target["expr"])
        for annotation in dashboard["annotations"]["list"]:
            yield Query(f"{name}: {annotation['name']}", annotation["expr"])
        for variable in dashboard["templating"]["list"]:
            asked = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"])
            assert asked is not None
            yield Query(f"{name}: ${variable['name']}", f"count by ({asked.group(2)}) ({asked.group(1)})")
