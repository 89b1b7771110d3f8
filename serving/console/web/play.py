"""The playground's route: a form that is a link, asked of a node, once or by two bundles. Draws through its view."""

from collections.abc import Sequence
from urllib.parse import urlencode

from fastapi import FastAPI, Request, Response
from pydantic import ValidationError

from schemas.errors import RoostError
from serving.api import Answer, ExplainRequest, InlineUser, RetrieveRequest
from serving.console.readings import Asker, ConsoleParts
from serving.console.views.overview import default_surface
from serving.console.views.playground import Choice, choices, compared, marked_gone, node_to_ask, side, stage_of, words
from serving.console.views.why import why
from serving.console.web.templates import Templates

DEFAULT_K = 20
MAX_K = 200
_FIELDS = ("surface", "user", "languages", "interests", "region", "follows", "k", "only", "max_age_min", "bundle", "against", "why")


def add_playground(app: FastAPI, parts: ConsoleParts, templates: Templates) -> None:
    """Add the page."""

    @app.get("/playground")
    def playground(request: Request) -> Response:
        form = {name: request.query_params.get(name, "") for name in _FIELDS}
        moments = parts.watch.moments()
        now = moments[-1] if moments else None
        surface = form["surface"] if form["surface"] in parts.surfaces else default_surface(parts.surfaces, moments)
        form["surface"], form["k"] = surface, form["k"] or str(DEFAULT_K)
        bundles = choices(now, surface)
        context: dict[str, object] = {
            "page": "playground",
            "surfaces": tuple(parts.surfaces),
            "form": form,
            "bundles": bundles,
            "users": now.users if now is not None else (),
            "problem": "",
            "sides": (),
            "comparison": None,
            "why": None,
            "link": urlencode({name: value for name, value in form.items() if value and name != "why"}),
        }
        node_url = node_to_ask(now, surface)
        if node_url is None:
            context["problem"] = f"No node that serves {surface} answers; the overview says what is running."
        elif request.query_params:
            try:
                first = parts.asker.ask(node_url, surface, request_of(form, pin=form["bundle"]))
                second = parts.asker.ask(node_url, surface, request_of(form, pin=form["against"])) if form["against"] else None
            except ValueError as error:
                context["problem"] = str(error)
            except RoostError as error:
                context["problem"] = f"The node has no answer: {error}"
            else:
                context |= _compared(first, second, bundles)
                asked = [answer.bundle for answer in (first, second) if answer is not None]
                context |= _explained(parts.asker, node_url, form, asked, bundles)
        return templates.page("playground.html", context)


def _explained(
    asker: Asker, node_url: str, form: dict[str, str], asked: Sequence[str], bundles: tuple[Choice, ...]
) -> dict[str, object]:
    """Return what each bundle that answered says of the candidate asked about; a sentence where the node refuses."""
    if not (candidate_id := form["why"].strip()):
        return {}
    try:
        explanations = []
        for bundle in dict.fromkeys(asked):
            # pinned: between the answer and this the rollout may have moved on
            question = request_of(form, pin=bundle).model_dump() | {"candidate_id": candidate_id}
            explanation = asker.explain(node_url, form["surface"], ExplainRequest.model_validate(question))
            explanations.append((explanation, stage_of(bundles, bundle)))
    except ValidationError:
        return {"problem": "A candidate's id has at most 64 bytes."}
    except RoostError as error:
        return {"problem": f"The node has no explanation: {error}"}
    return {"why": why(explanations)}


def _compared(first: Answer, second: Answer | None, bundles: tuple[Choice, ...]) -> dict[str, object]:
    left = side(first, stage_of(bundles, first.bundle))
    if second is None:
        return {"sides": (left,)}
    right = side(second, stage_of(bundles, second.bundle), against=first)
    return {"sides": (marked_gone(left, second), right), "comparison": compared(first, second)}


def request_of(form: dict[str, str], *, pin: str) -> RetrieveRequest:
    """Return the request a form asks for; raises `ValueError` with a sentence that names the field to mend."""
    try:
        inline = InlineUser(
            languages=words(form["languages"]),
            region=form["region"].strip(),
            interests=words(form["interests"]),
            follows=words(form["follows"]),
        )
        return RetrieveRequest(
            user_id=form["user"].strip() or None,
            user=None if inline == InlineUser() else inline,
            k=min(int(form["k"]), MAX_K),
            languages=words(form["only"]) or None,
            max_age_s=float(form["max_age_min"]) * 60 if form["max_age_min"].strip() else None,
            pin=pin or None,
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}") from error
    except ValueError:
        raise ValueError("How many, and the largest age in minutes, must be numbers.") from None
