"""The kept answers over HTTP: listed, opened, made again, removed, each only for whom asked; it decides nothing."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from voxpop.accounts import Spent
from voxpop.api import page
from voxpop.api.entry import account_of
from voxpop.api.fields import told
from voxpop.api.streams import unless_gone
from voxpop.api.working import ANSWERS, SEARCH, working
from voxpop.desk import spent_of
from voxpop.dialects import NAME
from voxpop.errors import UsageError
from voxpop.history import Listed
from voxpop.messages import Sampling
from voxpop.places import Places
from voxpop.reopening import Line, Reopened, Reproduced

_MOST = 1000


class Kept(Protocol):
    """What opens an account's kept answers; each call raises UsageError for an id that it does not have."""

    async def listed(self, limit: int, *, owner: str | None) -> list[Listed]: ...

    async def open(self, id_: str, *, owner: str | None) -> Reopened: ...

    async def reproduce(self, id_: str, *, owner: str | None) -> Reproduced: ...

    async def remove(self, id_: str, *, owner: str | None) -> None: ...


@dataclass(frozen=True, slots=True)
class AnswerFaces:
    """The handlers, bound to the kept answers; who opens one holds a place, as who asks does."""

    kept: Callable[[], Kept]
    places: Places

    def routes(self) -> list[Route]:
        """Where they are served."""
        one = "/v1/answers/{id}"
        return [
            Route("/v1/answers", self.listed),
            Route(one, self.one, methods=["GET", "DELETE"]),
            Route(f"{one}/reproduce", self.reproduce, methods=["POST"]),
        ]

    async def listed(self, request: Request) -> Response:
        limit = _limit(request.query_params.get("limit"))
        return JSONResponse(listed(await self.kept().listed(limit, owner=_owner(request))))

    async def one(self, request: Request) -> Response:
        id_, owner = request.path_params["id"], _owner(request)
        if request.method == "DELETE":
            await self.kept().remove(id_, owner=owner)
            return JSONResponse({"id": id_, "object": "answer", "deleted": True})
        with self.places.held():
            async with working(request, SEARCH, model=NAME) as work:
                answer = await unless_gone(request, self.kept().open(id_, owner=owner))
                work.spent = Spent(searches=1)
        return JSONResponse(opened(answer), headers=work.headers)

    async def reproduce(self, request: Request) -> Response:
        id_, owner = request.path_params["id"], _owner(request)
        with self.places.held():
            async with working(request, ANSWERS, model=NAME, tokens=Sampling().max_tokens) as work:
                made = await unless_gone(request, self.kept().reproduce(id_, owner=owner))
                if made.done:
                    work.spent = replace(spent_of(made.done), searches=0)  # it is made of what was found then
        return JSONResponse(reproduced(made), headers=work.headers)


def _owner(request: Request) -> str:
    """Whose answers it is about."""
    return account_of(request).id


def listed(rows: list[Listed]) -> dict[str, Any]:
    """The kept answers, newest first; each with its owner where accounts have any."""
    data = [{**asdict(row), "asked_at": page.moment(row.at)} for row in rows]
    shown = [{k: v for k, v in row.items() if k != "at" and (v or k != "owner")} for row in data]
    return {"object": "list", "data": shown}


def opened(answer: Reopened) -> dict[str, Any]:
    """A kept answer as it stands now: each piece with its state, the posts that it cites, what became of others."""
    recipe = answer.kept.recipe
    return {
        "id": answer.kept.id,
        "object": "answer",
        "asked_at": page.moment(recipe.at),
        "opened_at": page.moment(answer.at),
        "question": recipe.request.question,
        "as_of": page.moment(recipe.request.as_of),
        "voice": recipe.request.voice,
        "engine": {"name": recipe.engine.name, "model": recipe.engine.model, "digest": recipe.engine.digest},
        "holds": answer.holds,
        "texts": [_text(line) for line in answer.lines],
        "citations": [page.card(p) for p in answer.cited],
        "missing": [{"n": m.number, "id": m.id, "how": m.how} for m in answer.missing],
        "withheld": [{"text": w.text, "reason": w.reason} for w in answer.withheld],
        "done": page.receipt(answer.done) if answer.done else None,
    }


def _text(line: Line) -> dict[str, Any]:
    text = page.render(line.text)[1] if line.text else {"text": None, "kind": "sentence"}
    state = {"state": line.state, "why_not": line.why, "by": page.card(line.by) if line.by else None}
    return {**text, "citations": list(line.numbers), **state}


def reproduced(made: Reproduced) -> dict[str, Any]:
    """Whether it came out the same, what is not as it was, and the difference."""
    said = {"identical": made.identical, "why": list(made.why), "diff": list(made.diff)}
    return {"object": "reproduction", **said}


def _limit(given: str | None) -> int:
    if given is None:
        return 50
    if not given.isascii() or not given.isdigit() or not 1 <= int(given[:5]) <= _MOST:
        raise UsageError(f"'limit' cannot be {told(given)}.", f"Give a whole number from 1 to {_MOST}.")
    return int(given[:5])
