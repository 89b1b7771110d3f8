"""Templates, found in the package and filled. Knows no page's content."""

import re
from collections.abc import Mapping
from importlib import resources

from fastapi import Response
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.responses import HTMLResponse

from serving.console.views import figures

PAGES = (("overview", "Overview"), ("rollouts", "Rollouts"), ("playground", "Playground"), ("paper", "Paper"))


class Templates:
    """The package's templates. A name that a template lacks is an error, never an empty place."""

    def __init__(self, *, version: str) -> None:
        self._environment = Environment(
            loader=PackageLoader("serving.console", "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {
            "count": figures.count,
            "ms": figures.milliseconds,
            "share": figures.share,
            "number": figures.number,
            "clock": figures.clock,
            "with_code": with_code,
        }
        self._environment.globals |= {"pages": PAGES, "version": version}

    def page(self, name: str, context: Mapping[str, object], *, status: int = 200) -> Response:
        """Return a filled template as an answer."""
        return HTMLResponse(self._environment.get_template(name).render(context), status)


def with_code(sentence: str) -> Markup:
    """Return a sentence of ours, or of a node, with what stands between backticks as code; everything else is escaped."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(sentence))))  # noqa: S704 - escaped one step before


def static_folder() -> str:
    """Return the folder of scripts and styles, all of them ours or in the package."""
    return str(resources.files("serving.console") / "static")
