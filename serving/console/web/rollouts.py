"""The rollout board and its commands: each confirmed on a page of its own, and sent only if nothing changed meanwhile."""

import time
import uuid
from collections import OrderedDict
from urllib.parse import parse_qsl

from fastapi import FastAPI, Request, Response
from fastapi.responses import RedirectResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from schemas.errors import CompareAndSetLost, ControllerUnavailable, InvalidRecord, Refused, RoostError
from schemas.records.control import CommandKind, RolloutCommand
from serving.console.readings import ConsoleParts
from serving.console.views.rollouts import SurfaceBoard, board, board_trouble, find_action
from serving.console.web.guard import COOKIE, Tokens, is_same_origin
from serving.console.web.templates import Templates

_KEPT_ANSWERS = 100
_WHOLE_BP = 10_000
_TITLES: dict[type[RoostError], tuple[int, str]] = {
    Refused: (409, "The controller refused"),
    CompareAndSetLost: (409, "Somebody else was first"),
    ControllerUnavailable: (503, "No answer from the controller"),
    InvalidRecord: (422, "Not a command"),
}


class Answers:
    """What became of the last commands given here, by command id: a link can name one, but cannot make one up."""

    def __init__(self) -> None:
        self._sentences: OrderedDict[str, str] = OrderedDict()

    def keep(self, command_id: str, sentence: str) -> None:
        """Keep a sentence; the oldest goes."""
        self._sentences[command_id] = sentence
        if len(self._sentences) > _KEPT_ANSWERS:
            self._sentences.popitem(last=False)

    def get(self, command_id: str) -> str:
        """Return the sentence, or nothing."""
        return self._sentences.get(command_id, "")


class RolloutPages:
    """The board, the confirmation of a command, and the command."""

    def __init__(self, parts: ConsoleParts, templates: Templates) -> None:
        self._parts = parts
        self._templates = templates
        self._tokens = Tokens()
        self._answers = Answers()

    def board(self, template: str, answer: str = "") -> Response:
        """Return every surface's board; `answer` is the id of a command given a moment ago."""
        moments = self._parts.watch.moments()
        context = {
            "page": "rollouts",
            "boards": [board(moments, surface, self._parts.catalog) for surface in self._parts.surfaces.values()],
            "said": self._answers.get(answer),
            "trouble": board_trouble(moments[-1] if moments else None),
        }
        return self._templates.page(template, context)

    def confirm(self, request: Request, surface: str, kind: str, bundle: str, revision: int) -> Response:
        """Return the page that asks once more, with the token that the command needs."""
        shown = self._board_of(surface)
        action = find_action(shown, kind, bundle or None)
        if action is None:
            what = f"{kind[:32]} is not possible for {bundle[:32] or surface}"
            raise HTTPException(409, f"{what} at revision {shown.revision}; look at the board again.")
        cookie = request.cookies.get(COOKIE) or self._tokens.new_cookie()
        context = {
            "page": "rollouts",
            "surface": surface,
            "action": action,
            "revision": revision,
            "moved_on": revision != shown.revision,
            "now": shown.revision,
            "token": self._tokens.of(cookie),
        }
        answer = self._templates.page("confirm.html", context)
        answer.set_cookie(COOKIE, cookie, httponly=True, samesite="strict", path="/rollouts")
        return answer

    def command(self, request: Request, surface: str, form: dict[str, str]) -> Response:
        """Send what a form of ours asks for; a person then sees the board, or what the controller said."""
        if not is_same_origin(request.headers) or not self._tokens.accepts(request.cookies.get(COOKIE), form.get("token")):
            raise HTTPException(403, "This form is not from this console, or the console was started anew; open the page again.")
        self._board_of(surface)
        try:
            wanted = command_of(form, surface, actor=self._parts.actor)
        except ValueError as error:
            raise HTTPException(422, str(error)) from error
        try:
            record = self._parts.sender.send(wanted)
        except RoostError as error:
            status, title = _TITLES.get(type(error), (503, "The command was not sent"))
            context = {"page": "rollouts", "title": title, "sentence": str(error), "back": "/rollouts"}
            return self._templates.page("problem.html", context, status=status)
        self._parts.watch.hurry()
        of_what = wanted.bundle or surface
        self._answers.keep(wanted.command_id, f"{wanted.kind} of {of_what} is accepted: revision {record.revision}")
        return RedirectResponse(f"/rollouts?answer={wanted.command_id}", 303)

    def _board_of(self, surface: str) -> SurfaceBoard:
        if surface not in self._parts.surfaces:
            raise HTTPException(404, "There is no such surface.")
        return board(self._parts.watch.moments(), self._parts.surfaces[surface], self._parts.catalog)


def add_rollouts(app: FastAPI, parts: ConsoleParts, templates: Templates) -> None:
    """Add the routes."""
    pages = RolloutPages(parts, templates)

    @app.get("/rollouts")
    def rollouts_page(answer: str = "") -> Response:
        return pages.board("rollouts.html", answer)

    @app.get("/rollouts/live")
    def rollouts_live() -> Response:
        return pages.board("_rollouts.html")

    @app.get("/rollouts/{surface}/confirm")
    def confirm(request: Request, surface: str, kind: str, revision: int, bundle: str = "") -> Response:
        return pages.confirm(request, surface, kind, bundle, revision)

    @app.post("/rollouts/{surface}")
    async def command(request: Request, surface: str) -> Response:
        text = (await request.body()).decode(errors="replace")
        try:
            form = dict(parse_qsl(text, keep_blank_values=True, max_num_fields=16))
        except ValueError:
            raise HTTPException(422, "The form has more fields than any of ours.") from None
        return await run_in_threadpool(pages.command, request, surface, form)


def command_of(form: dict[str, str], surface: str, *, actor: str) -> RolloutCommand:
    """Return the command that a form asks for; raises `ValueError` with a sentence when it is none."""
    try:
        kind = CommandKind(form.get("kind", ""))
    except ValueError:
        raise ValueError("The form names no command.") from None
    revision = form.get("revision", "")
    if not revision.isdecimal() or len(revision) > 15:
        raise ValueError("The form names no revision: a command must say which state it was given for.")
    share_bp = None
    if kind is CommandKind.CANARY:
        try:
            share_bp = round(float(form.get("share", "")) * 100)
        except (ValueError, OverflowError):
            share_bp = 0
        if not 0 < share_bp <= _WHOLE_BP:
            raise ValueError("The share must be a number of per cent, from 0.01 to 100.")
    return RolloutCommand(
        uuid.uuid4().hex,
        surface,
        kind,
        actor=actor,
        time_ms=time.time_ns() // 1_000_000,
        bundle=form.get("bundle") or None,
        expected_revision=int(revision),
        share_bp=share_bp,
        automatic=kind is CommandKind.CANARY and "automatic" in form,
        reason=form.get("reason", ""),
    )
