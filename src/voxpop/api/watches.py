"""Standing questions over HTTP: add, list, follow, end, each only one's own; it parses and decides nothing.

A stream is resumed by the number of the last flip that the client saw (`Last-Event-ID`): what was kept since then
comes first.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from voxpop.accounts import Spent
from voxpop.api.bodies import read_json
from voxpop.api.entry import account_of
from voxpop.api.fields import told
from voxpop.api.page import moment
from voxpop.api.streams import Frame, stream
from voxpop.api.working import SEARCH, working
from voxpop.authorities import Authorities
from voxpop.dialects import NAME
from voxpop.errors import FieldError, UsageError, VoxpopError
from voxpop.places import Places
from voxpop.positions import Position
from voxpop.posts import Post
from voxpop.watcher import Look
from voxpop.watches import Told, Watch, Watches
from voxpop.webhooks import Courier, checked

_FIELDS = ("question", "webhook", "expires_in")
_DAY_S = 86_400
_LONGEST_S = 366 * _DAY_S
_USUAL_S = 7 * _DAY_S
_LOOK_S = 5.0


@dataclass(frozen=True, slots=True)
class Standing:
    """The faces of standing questions, and what tells their webhooks; `places` bounds the open streams."""

    watches: Watches
    look: Look
    clock: Callable[[], int]
    places: Places
    private: bool

    @property
    def courier(self) -> Courier:
        """Tells the webhooks, in the same words as the streams."""
        return Courier(self.watches, self.body, clock=self.clock, private=self.private)

    def routes(self) -> list[Route]:
        """Where they are served."""
        return [
            Route("/v1/watches", self.add, methods=["POST"]),
            Route("/v1/watches", self.list, methods=["GET"]),
            Route("/v1/watches/{id}", self.one, methods=["GET"]),
            Route("/v1/watches/{id}", self.remove, methods=["DELETE"]),
            Route("/v1/watches/{id}/events", self.events, methods=["GET"]),
        ]

    async def add(self, request: Request) -> Response:
        owner = _owner(request)
        question, url, lasts_s = read(await read_json(request))
        if url:
            checked(url, private=self.private)
        now = self.clock()
        async with working(request, SEARCH, model=NAME) as work:
            position = await self.look.stand(await self.look.ask(question, now))
            watch = await self.watches.add(
                question, now=now, lasts_s=lasts_s, url=url, position=position, owner=owner
            )
            work.spent = Spent(searches=1)
        shown = watch_json(watch)
        if watch.secret:
            shown["webhook"]["secret"] = watch.secret  # this once
        return JSONResponse(shown, 201, headers=work.headers)

    async def list(self, request: Request) -> Response:
        rows = [watch_json(w) for w in await self.watches.of(_owner(request))]
        return JSONResponse({"object": "list", "data": rows})

    async def one(self, request: Request) -> Response:
        return JSONResponse(watch_json(await self._one(request)))

    async def remove(self, request: Request) -> Response:
        id_ = request.path_params["id"]
        await self.watches.remove(id_, owner=_owner(request))
        return JSONResponse({"id": id_, "object": "watch.deleted", "deleted": True})

    async def events(self, request: Request) -> Response:
        watch = await self._one(request)
        last = request.headers.get("last-event-id", "") or request.query_params.get("after", "")
        if last and not (last.isascii() and last.isdigit() and len(last) < 19):
            raise UsageError(f"'{last[:40]}' is no flip's number.", "Give the id of the last one that you saw.")
        return await stream(request, self._follow(watch, int(last) if last else None), self.places, _failure)

    async def _one(self, request: Request) -> Watch:
        return await self.watches.one(request.path_params["id"], owner=_owner(request))

    async def _follow(self, watch: Watch, last: int | None) -> AsyncIterator[Frame]:
        """Where it stands, then each flip after `last`, as they come, until the watch ends."""
        seen = watch.seq if last is None else last
        yield {"event": "position", **({} if last else {"id": str(seen)}), **_data(watch_json(watch))}
        while True:
            news = self.watches.next_change()
            for flip in await self.watches.flips(watch.id, seen):
                yield {"event": "flip", "id": str(flip.seq), **_data(await self.flip_json(watch, flip))}
                seen = flip.seq
            with suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), _LOOK_S)
            try:
                await self.watches.one(watch.id, owner=watch.owner)
            except UsageError:
                yield {"event": "end", **_data({"id": watch.id})}
                return

    async def body(self, watch: Watch, flip: Told) -> bytes:
        """What a webhook is told."""
        said = {"type": "watch.flipped", "timestamp": moment(flip.at), "data": await self.flip_json(watch, flip)}
        return orjson.dumps(said)

    async def flip_json(self, watch: Watch, told: Told) -> dict[str, Any]:
        """A flip with its posts as they are now; one that was deleted since is named and said to be gone."""
        return flip_json(watch, told, await self.look.store.posts(told.flip.posts), self.look.authorities)


def _owner(request: Request) -> str:
    """Whose watches it is about."""
    return account_of(request).id


def standing(
    watches: Watches,
    look: Look,
    clock: Callable[[], int],
    *,
    streams: int,
    private: bool = False,
) -> Standing:
    """The faces over these watches; `streams` bounds those open, `private` lets webhooks be on this machine."""
    return Standing(watches, look, clock, Places(streams), private)


def flip_json(watch: Watch, told: Told, posts: list[Post], authorities: Authorities) -> dict[str, Any]:
    """The contract of a flip, on the stream, to a webhook and of `voxpop watch --json`."""
    there = {p.id: _post(p, authorities) for p in posts}
    flip = told.flip
    return {
        "id": told.id,
        "watch": watch.id,
        "seq": told.seq,
        "at": moment(told.at),
        "question": watch.question,
        "why": flip.why,
        "before": position_json(flip.before),
        "after": position_json(flip.after),
        "posts": [there.get(id_) or {"id": id_, "gone": True} for id_ in flip.posts],
    }


def watch_json(watch: Watch) -> dict[str, Any]:
    """A watch; its secret is never shown again."""
    return {
        "id": watch.id,
        "object": "watch",
        "question": watch.question,
        "created_at": moment(watch.created),
        "expires_at": moment(watch.expires),
        "flips": watch.seq,
        "position": position_json(watch.position),
        "webhook": {"url": watch.url} if watch.url else None,
    }


def position_json(position: Position) -> dict[str, Any]:
    """What is said, and by which posts."""
    return {
        "stance": position.stance,
        "said": list(position.said),
        "confirmed": position.confirmed,
        "posts": list(position.posts),
    }


def _post(post: Post, authorities: Authorities) -> dict[str, Any]:
    return {
        "id": post.id,
        "gone": False,
        "author": {"handle": post.author.handle, "name": post.author.name},
        "author_class": authorities.classify(post.author),
        "network": post.network,
        "url": post.url,
        "witnessed_at": moment(post.witnessed_at),
        "text": post.text,
    }


def read(body: Any) -> tuple[str, str, float]:
    """(question, webhook, seconds) of a body. Raises FieldError for what it does not know."""
    if not isinstance(body, dict):
        raise UsageError("The body is not a JSON object.", 'Send such as {"question": "Who won?"}.')
    for name in body:
        if name not in _FIELDS:
            raise FieldError(name[:60], f"No field {told(name)}.", f"Send only: {', '.join(_FIELDS)}.")
    question, url, lasts = (body.get(name) for name in _FIELDS)
    if not isinstance(question, str) or question.encode("utf-8", "replace").decode() != question:
        raise FieldError("question", f"'question' cannot be {told(question)}.", "Give a question as text.")
    if url is not None and not isinstance(url, str):
        raise FieldError("webhook", f"'webhook' cannot be {told(url)}.", "Give an address, or leave it out.")
    if lasts is None:
        lasts = _USUAL_S
    if isinstance(lasts, bool) or not isinstance(lasts, int | float) or not 1 <= lasts <= _LONGEST_S:
        cure = f"Give seconds from 1 to {_LONGEST_S}."
        raise FieldError("expires_in", f"'expires_in' cannot be {told(lasts)}.", cure)
    return question, url or "", float(lasts)


def _data(value: Mapping[str, Any]) -> Frame:
    return {"data": orjson.dumps(value).decode()}


def _failure(error: VoxpopError) -> Frame:
    return {"event": "error", **_data({"message": error.what, "cure": error.cure, "code": error.code})}
