"""Writes docs/reference/openapi.json, the node's HTTP interface. Run after a change of it: `python -m tools.openapi`."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from roost import __version__
from serving.health import NodeHealth
from serving.http.app import build_app
from serving.metrics import NodeMetrics
from serving.query.census import SurfaceCensus
from serving.query.epochs import RoutingTable
from serving.query.retrieve import Retriever
from serving.query.users import UserStore

PLACE = Path(__file__).parents[1] / "docs" / "reference" / "openapi.json"


class _NoNode:
    def health(self) -> NodeHealth:
        """See `HasHealth`."""
        return NodeHealth("", ready=False, reasons=(), surfaces=(), users=0, masked=0, flips=0, broker_age_s=None)


def interface() -> str:
    """Return the document as text."""
    table = RoutingTable({})
    with ThreadPoolExecutor(1) as pool:
        app = build_app(
            Retriever(table, UserStore()), _NoNode(), NodeMetrics(), census=SurfaceCensus(table), version=__version__, pool=pool
        )
    return json.dumps(app.openapi(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PLACE.parent.mkdir(exist_ok=True)
    PLACE.write_text(interface(), encoding="utf-8")
