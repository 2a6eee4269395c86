"""`voxpop usage`: what was used, what is left, a team's month, and whether the ledger adds up; it prints."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import click
import orjson

from voxpop.cli_options import config_of, data_option, json_option, runs

if TYPE_CHECKING:
    from voxpop.quotas.permits import Quotas

_WIDTH = 24


@asynccontextmanager
async def counting(context: click.Context, **given: Any) -> AsyncIterator["Quotas"]:
    """What counts, over the database of the data folder."""
    from voxpop.quotas.opening import opened
    from voxpop.records import Database
    from voxpop.service import clock

    config = config_of(context, **given)
    database = Database.beside(config.data, config.records.url)
    async with database, opened(config.accounts, database, clock) as quotas:
        yield quotas


def bar(part: float, whole: float) -> str:
    """How much of a whole, drawn for people."""
    filled = round(_WIDTH * min(1.0, part / whole)) if whole else 0
    return "█" * filled + "░" * (_WIDTH - filled)


@click.group("usage", invoke_without_command=True)
@click.option(
    "--start", default="", help="First moment: a date, a time, or an age such as -7d. Default: this month."
)
@click.option("--end", default="", help="The moment before which it ends. Default: now.")
@click.option("--by", default="day", show_default=True, help="Of day, model, key, endpoint, account, team, bucket.")
@click.option("--account", default="", help="Only of this account (its name or id).")
@click.option("--team", default="", help="Only of this team (its name or id).")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@data_option
@json_option
@click.pass_context
@runs
async def usage(context: click.Context, as_json: bool, **given: Any) -> None:
    """What was used: requests, tokens, searches and what they cost, by day or as you ask.

    Example: voxpop usage --start -7d --by day,model
    """
    if context.invoked_subcommand:
        return
    from voxpop.accounts import people
    from voxpop.quotas.asking import asked
    from voxpop.quotas.reports import columns, report

    async with counting(context, data=given["data"]) as quotas:

        def work(session: Any) -> tuple[Any, ...]:
            account = people.user(session, given["account"]).id if given["account"] else None
            team = people.team(session, given["team"]).id if given["team"] else None
            told = {"start": given["start"], "end": given["end"], "group_by": given["by"]}
            bounds = asked(told, quotas.clock(), account=account, team=team)
            return (bounds, *report(session, bounds))

        bounds, rows, total = await quotas.database.run(work, write=False)
    if as_json:
        click.echo(orjson.dumps({"group_by": bounds.groups, "data": rows, "total": total}).decode())
    elif given["as_csv"]:
        from voxpop.quotas.telling import csv_text

        click.echo(csv_text(rows, columns(bounds.groups)), nl=False)
    else:
        _table(rows, bounds.groups, total)


def _table(rows: list[dict[str, Any]], groups: tuple[str, ...], total: dict[str, Any]) -> None:
    from voxpop.render import plain

    most = max((_tokens(r) for r in rows), default=0)
    for row in [*rows, {**dict.fromkeys(groups, ""), **total}]:
        name = " ".join(str(row[g]) or "-" for g in groups) if any(row[g] for g in groups) else "total"
        drawn = bar(_tokens(row), most) if row is not total and name != "total" else " " * _WIDTH
        click.echo(
            f"{plain(name):<32} {drawn} {row['requests']:>8,} requests {_tokens(row):>12,} tokens "
            f"{row['searches']:>7,} searches {row['engine_s']:>9.1f} s {row['cost_usd']:>11.4f} USD"
        )


def _tokens(row: dict[str, Any]) -> int:
    return int(row["prompt_tokens"] + row["completion_tokens"])


@usage.command("limits")
@click.argument("account", default="")
@data_option
@json_option
@click.pass_context
@runs
async def limits(context: click.Context, account: str, as_json: bool, data: Any) -> None:
    """What is used of each limit of an account (its name or id), what is left, and when it resets.

    Seconds and minutes are those of this process, unless accounts.limits_url names a Redis.

    Example: voxpop usage limits ann
    """
    from voxpop.accounts import Account, keys, people
    from voxpop.quotas.reports import limits_of

    async with counting(context, data=data) as quotas:
        who = Account()
        if account:
            who = await quotas.database.run(lambda s: keys.account_of(people.user(s, account)), write=False)
        shown = await limits_of(quotas, who)
    if as_json:
        click.echo(orjson.dumps(shown).decode())
        return
    click.echo(f"{who.name or 'This machine'}: {shown['tier']['title']} ({shown['tier']['name']})")
    if place := shown["waiting"]:
        click.echo(f"  waits for {place['title']}: number {place['place']} of {place['of']}; {place['why']}")
    for bucket in shown["buckets"]:
        if not bucket["limits"]:
            click.echo(f"  {bucket['name']}: no limit")
        for one in bucket["limits"]:
            ends = f", resets {one['resets_at']}" if one["resets_at"] else ""
            named = f"{bucket['name']} {one['name'].replace('_', ' ')}"
            click.echo(f"  {named:<34} {bar(one['used'], one['limit'])} {one['used']:,} of {one['limit']:,}{ends}")


@usage.command("statement")
@click.option("--month", default="", help="Such as 2026-11, of UTC. Default: this one.")
@click.option("--team", default="", help="A team's name or id. Empty: whoever is in none.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@data_option
@json_option
@click.pass_context
@runs
async def statement(context: click.Context, month: str, team: str, as_csv: bool, as_json: bool, data: Any) -> None:
    """A month of a team, by account and model, and what it cost.

    Example: voxpop usage statement --month 2026-11 --team newsroom
    """
    from voxpop.quotas import asking, reports
    from voxpop.quotas.telling import csv_text

    async with counting(context, data=data) as quotas:
        begins, ends = asking.month(month, quotas.clock())
        shown = await quotas.database.run(lambda s: reports.statement(s, team, begins, ends), write=False)
    if as_json:
        click.echo(orjson.dumps(shown).decode())
    elif as_csv:
        click.echo(csv_text(shown["data"], reports.STATEMENT), nl=False)
    else:
        click.echo(f"{shown['team']['name'] if shown['team'] else 'No team'}, {shown['month']} (UTC)")
        rows = [{**r, "who": r["name"] or r["account"] or "this machine"} for r in shown["data"]]
        _table(rows, ("who", "model"), shown["total"])


@usage.command("check")
@data_option
@json_option
@click.pass_context
@runs
async def check(context: click.Context, as_json: bool, data: Any) -> None:
    """Whether the sums by which limits are held are those of the ledger. Exit 1 where they are not.

    Example: voxpop usage check
    """
    from voxpop.quotas.reports import differences

    async with counting(context, data=data) as quotas:
        wrong = await quotas.database.run(differences, write=False)
    if as_json:
        rows = [dict(zip(("account", "bucket", "requests", "tokens"), r, strict=True)) for r in wrong]
        click.echo(orjson.dumps({"differences": rows}).decode())
    else:
        for account, bucket, requests, tokens in wrong:
            click.echo(f"{account or 'this machine'} {bucket}: {requests:+,} requests, {tokens:+,} tokens too many")
        if not wrong:
            click.echo("All sums are those of the ledger.")
    if wrong:
        sys.exit(1)
