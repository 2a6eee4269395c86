"""Users, teams and the audit log over HTTP, under `/v1/admin`: for admins, and for nobody else."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from voxpop import parting
from voxpop.accounts import audit, passwords, people
from voxpop.accounts.audit import By
from voxpop.accounts.people import Wish
from voxpop.accounts.tables import Act, Team, User
from voxpop.api.bodies import read_json
from voxpop.api.fields import flag, only, refuse, text
from voxpop.api.keys import admin_of
from voxpop.records import Database
from voxpop.times import iso

_TEXTS = ("name", "email", "rank", "tier", "country", "team")
_USER = (*_TEXTS, "disabled", "password")
_LONGEST_LOG = 1000


async def _nothing(owner: str) -> None:
    """Where nothing is kept of anybody."""


@dataclass(frozen=True, slots=True)
class PeopleFaces:
    """The handlers; `clock` is in microseconds of UTC. `forget` removes what a user leaves beside the database.

    `data` is the data folder. `tier` raises UsageError for the name of a tier that does not exist.
    """

    database: Database
    clock: Callable[[], int]
    forget: Callable[[str], Awaitable[None]] = _nothing
    tier: Callable[[str], None] = lambda _: None
    data: Path = Path()

    def routes(self) -> list[Route]:
        """Where they are served."""
        users, teams = "/v1/admin/users", "/v1/admin/teams"
        return [
            Route(users, self.add_user, methods=["POST"]),
            Route(users, self.users, methods=["GET"]),
            Route(f"{users}/{{id}}", self.user, methods=["GET"]),
            Route(f"{users}/{{id}}", self.change_user, methods=["PATCH"]),
            Route(f"{users}/{{id}}", self.remove_user, methods=["DELETE"]),
            Route(teams, self.add_team, methods=["POST"]),
            Route(teams, self.teams, methods=["GET"]),
            Route(f"{teams}/{{id}}", self.team, methods=["GET"]),
            Route(f"{teams}/{{id}}", self.change_team, methods=["PATCH"]),
            Route(f"{teams}/{{id}}", self.remove_team, methods=["DELETE"]),
            Route("/v1/admin/audit", self.audit, methods=["GET"]),
        ]

    async def add_user(self, request: Request) -> Response:
        by, body = self._by(request), only(await read_json(request), _USER)
        text(body, "name")
        wish = await self._wish(body)
        return await self._done(lambda s: user_json(people.add_user(s, by, wish)), 201)

    async def users(self, request: Request) -> Response:
        admin_of(request)
        return await self._read(lambda s: _list([user_json(u) for u in people.users(s)]))

    async def user(self, request: Request) -> Response:
        admin_of(request)
        return await self._read(lambda s: user_json(people.user(s, request.path_params["id"])))

    async def change_user(self, request: Request) -> Response:
        by, wish = self._by(request), await self._wish(only(await read_json(request), _USER))

        def work(session: Session) -> dict[str, Any]:
            changed = people.user(session, request.path_params["id"])
            people.change_user(session, by, changed, wish)
            return user_json(changed)

        return await self._done(work)

    async def remove_user(self, request: Request) -> Response:
        by = self._by(request)

        async def do(work: parting.Work) -> parting.Parted:
            return await self.database.run(lambda session: work(session, by))

        gone = await parting.part(request.path_params["id"], do, self.forget, self.data)
        return JSONResponse({"id": gone.id, "object": "user.deleted", "deleted": True})

    async def add_team(self, request: Request) -> Response:
        by, body = self._by(request), only(await read_json(request), ("name", "tier"))
        name, tier = text(body, "name"), text(body, "tier", "")
        self.tier(tier)
        return await self._done(lambda s: team_json(people.add_team(s, by, name, tier)), 201)

    async def teams(self, request: Request) -> Response:
        admin_of(request)
        return await self._read(lambda s: _list([team_json(t) for t in people.teams(s)]))

    async def team(self, request: Request) -> Response:
        admin_of(request)

        def work(session: Session) -> dict[str, Any]:
            found = people.team(session, request.path_params["id"])
            return {**team_json(found), "members": [user_json(u) for u in people.users(session, found)]}

        return await self._read(work)

    async def change_team(self, request: Request) -> Response:
        by, tier = self._by(request), text(only(await read_json(request), ("tier",)), "tier")
        self.tier(tier)

        def work(session: Session) -> dict[str, Any]:
            changed = people.team(session, request.path_params["id"])
            people.change_team(session, by, changed, tier=tier)
            return team_json(changed)

        return await self._done(work)

    async def remove_team(self, request: Request) -> Response:
        by = self._by(request)

        def work(session: Session) -> dict[str, Any]:
            gone = people.team(session, request.path_params["id"])
            people.remove_team(session, by, gone)
            return {"id": gone.id, "object": "team.deleted", "deleted": True}

        return await self._done(work)

    async def audit(self, request: Request) -> Response:
        admin_of(request)
        asked = request.query_params
        before, limit = _whole(asked, "before", 0), _whole(asked, "limit", 100)
        subject = asked.get("subject", "")

        def work(session: Session) -> dict[str, Any]:
            found = audit.acts(session, before=before or None, subject=subject, limit=max(1, limit))
            return _list([act_json(a) for a in found])

        return await self._read(work)

    async def _wish(self, body: Mapping[str, Any]) -> Wish:
        wish = await _wish(body)
        self.tier(wish.tier or "")
        return wish

    def _by(self, request: Request) -> By:
        return By.account(admin_of(request), self.clock())

    async def _done(self, work: Callable[[Session], dict[str, Any]], status: int = 200) -> Response:
        return JSONResponse(await self.database.run(work), status)

    async def _read(self, work: Callable[[Session], dict[str, Any]]) -> Response:
        return JSONResponse(await self.database.run(work, write=False))


def user_json(user: User) -> dict[str, Any]:
    """A user as shown to admins; of a password only whether there is one."""
    team = {"id": user.team.id, "name": user.team.name, "tier": user.team.tier} if user.team else None
    return {
        "id": user.id,
        "object": "user",
        "name": user.name,
        "email": user.email,
        "rank": user.rank,
        "tier": user.tier,
        "country": user.country,
        "team": team,
        "disabled": user.disabled,
        "has_password": bool(user.password),
        "created_at": iso(user.created_at),
    }


def team_json(team: Team) -> dict[str, Any]:
    """A team as shown to admins."""
    created = iso(team.created_at)
    return {"id": team.id, "object": "team", "name": team.name, "tier": team.tier, "created_at": created}


def act_json(act: Act) -> dict[str, Any]:
    """A line of the audit log."""
    said = {"by": act.by, "act": act.act, "subject": act.subject, "details": act.details}
    return {"id": act.id, "at": iso(act.at), **said}


def _list(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"object": "list", "data": rows}


async def _wish(body: Mapping[str, Any]) -> Wish:
    said: dict[str, Any] = {name: text(body, name) for name in _TEXTS if body.get(name) is not None}
    if body.get("disabled") is not None:
        said["disabled"] = flag(body, "disabled")
    if body.get("password") is not None:
        said["password"] = await asyncio.to_thread(passwords.hashed, text(body, "password"))
    return Wish(**said)


def _whole(asked: Mapping[str, str], name: str, default: int) -> int:
    value = asked.get(name, "")
    if value and not (value.isascii() and value.isdigit() and len(value) < 19):
        refuse(name, f"'{name}' cannot be '{value[:40]}'.", "Give a whole number.")
    return int(value) if value else default
