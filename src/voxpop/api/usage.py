"""What an account may still use and what it used: limits, usage, a team's monthly statement; it counts nothing.

Everybody sees their own; an admin sees anybody's. A report is JSON, or CSV where the client asks for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from voxpop.accounts import Account, Denied
from voxpop.api.entry import account_of
from voxpop.errors import UsageError
from voxpop.quotas.asking import asked, month
from voxpop.quotas.permits import Quotas
from voxpop.quotas.reports import STATEMENT, columns, limits_of, report, statement
from voxpop.quotas.telling import csv_text
from voxpop.times import iso


@dataclass(frozen=True, slots=True)
class UsageFaces:
    """The handlers over what counts."""

    quotas: Quotas

    def routes(self) -> list[Route]:
        """Where they are served."""
        return [
            Route("/v1/limits", self.limits, methods=["GET"]),
            Route("/v1/usage", self.usage, methods=["GET"]),
            Route("/v1/usage/statement", self.statement, methods=["GET"]),
        ]

    async def limits(self, request: Request) -> Response:
        return JSONResponse(await limits_of(self.quotas, account_of(request)))

    async def usage(self, request: Request) -> Response:
        account = account_of(request)
        given = dict(request.query_params)
        bounds = asked(given, self.quotas.clock(), **_whose(account, given))
        rows, total = await self.quotas.database.run(lambda s: report(s, bounds), write=False)
        if as_csv(request, given):
            return _csv(rows, columns(bounds.groups), "usage.csv")
        return JSONResponse(
            {
                "object": "usage",
                "start": iso(bounds.begins),
                "end": iso(bounds.ends),
                "group_by": list(bounds.groups),
                "data": rows,
                "total": total,
            }
        )

    async def statement(self, request: Request) -> Response:
        account = account_of(request)
        given = dict(request.query_params)
        team = given.get("team", account.team)
        if account.rank != "admin":
            raise Denied("Only an admin sees a team's statement.", "Ask one for it.", code="forbidden")
        begins, ends = month(given.get("month", ""), self.quotas.clock())
        shown = await self.quotas.database.run(lambda s: statement(s, team, begins, ends), write=False)
        if as_csv(request, given):
            return _csv(shown["data"], STATEMENT, f"statement-{shown['month']}.csv")
        return JSONResponse(shown)


def _whose(account: Account, given: Mapping[str, str]) -> dict[str, str | None]:
    """Whose usage is asked for. Raises Denied where that is not its own."""
    who, team = given.get("account", ""), given.get("team")
    if account.rank != "admin" and (who not in ("", account.id) or team is not None):
        raise Denied("Only an admin sees what others used.", "Leave out 'account' and 'team'.", code="forbidden")
    if who == "all" or (team is not None and not who):
        return {"account": None, "team": team}
    return {"account": who or account.id, "team": team}


def as_csv(request: Request, given: Mapping[str, str]) -> bool:
    """Whether CSV is asked for, by `format` or the Accept header. Raises UsageError for another format."""
    if wanted := given.get("format"):
        if wanted not in ("csv", "json"):
            raise UsageError(f"'format' cannot be '{wanted[:40]}'.", "Give csv or json.")
        return wanted == "csv"
    return request.headers.get("accept", "").partition(",")[0].partition(";")[0].strip() == "text/csv"


def _csv(rows: list[dict[str, Any]], groups: tuple[str, ...], name: str) -> Response:
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(csv_text(rows, groups), media_type="text/csv", headers=headers)
