"""`voxpop users`: who may ask, and what admins did; it asks and prints, and `accounts/` does."""

import asyncio
import getpass
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import orjson

from voxpop.cli_options import config_of, data_option, json_option, runs
from voxpop.errors import UsageError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from voxpop.accounts.audit import By

T = TypeVar("T")
_LONGEST_PASSWORD = 10_000


async def in_records(context: click.Context, data: Path | None, work: "Callable[[Session, By], T]") -> T:
    """Do `work` in the database of accounts, beside a running server too; the log names this system's user."""
    from voxpop.accounts.audit import By
    from voxpop.accounts.people import count_users
    from voxpop.app import records
    from voxpop.service import clock

    config = config_of(context, data=data)
    by = By(_at_the_command_line(), clock())
    async with records(config) as database:
        try:
            return await database.run(lambda session: work(session, by))
        except UsageError as error:
            if await database.run(count_users, write=False):
                raise
            cure = f"{none_there(context, data)}; is this the server's data folder?"
            raise UsageError(error.what, cure, code=error.code) from error


def none_there(context: click.Context, data: Path | None, what: str = "users") -> str:
    """That there are none in the database, and which it is."""
    from voxpop.app import records

    database = records(config_of(context, data=data))
    url = database.url
    where = str(Path(url.database or "").resolve()) if database.is_sqlite else url.render_as_string()
    return f"There are no {what} in {where}"


def _at_the_command_line() -> str:
    """Who types: who they were before sudo or su, and the account that runs this where it is another."""
    runs_it = getpass.getuser() if os.name == "nt" else _name_of(os.geteuid())
    types = os.environ.get("SUDO_USER", "")
    if not types:
        with suppress(OSError):  # no terminal, such as under cron
            types = os.getlogin()
    types = types or runs_it
    return (f"cli:{types}" + (f" as {runs_it}" if types != runs_it else ""))[:120]


def _name_of(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # a container's account may have no name
        return str(uid)


def refuse_unknown_tier(context: click.Context, name: str | None) -> None:
    """Raises UsageError for a tier that the settings do not have: who is put there could ask nothing."""
    from voxpop.quotas.opening import tier_file

    tier_file(config_of(context).accounts)().refuse_unknown(name)


def show(as_json: bool, row: dict[str, Any], *lines: str) -> None:
    """Print a row as JSON, or as lines for a person."""
    from voxpop.render import plain

    for line in [orjson.dumps(row).decode()] if as_json else map(plain, lines):
        click.echo(line)


def key_line(key: dict[str, Any]) -> str:
    """A key as a line for a person."""
    models, endpoints = ", ".join(key["models"]), ", ".join(key["endpoints"])
    facts = [
        f"models {models}" if models != "*" else "",
        f"endpoints {endpoints}" if endpoints != "*" else "",
        f"expires {key['expires_at']}" if key["expires_at"] else "",
        f"REVOKED {key['revoked_at']}" if key["revoked_at"] else "",
        f"used {key['used_at']}" if key["used_at"] else "never used",
    ]
    return f"{key['id']}  {key['redacted']}  {key['name']}: " + ", ".join(f for f in facts if f)


def _line(user: dict[str, Any]) -> str:
    team = user["team"]
    tier = user["tier"] or (team["tier"] if team else "")
    facts = [
        user["rank"],
        user["email"] or "",
        f"team {team['name']}" if team else "",
        f"tier {tier}" if tier else "",
        user["country"],
        "DISABLED" if user["disabled"] else "",
    ]
    return f"{user['name']:<20} {user['id']}  " + ", ".join(f for f in facts if f)


@click.group()
def users() -> None:
    """Who may use this server, and what was done about it. Without any user, this machine alone may, without a key.

    Example: voxpop users add ada --admin
    """


_facts = [
    click.option("--email", help="Address, for signing in on the page."),
    click.option("--team", help="Name of a team (see: voxpop teams)."),
    click.option("--tier", help="Name of a tier of their own, before the team's."),
    click.option("--country", help="ISO 3166-1's two letters, such as NZ."),
]


def _with_facts(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_facts):
        command = option(command)
    return command


@users.command("add")
@click.argument("name")
@click.option("--admin", is_flag=True, help="Let them do everything; the first user is one in any case.")
@_with_facts
@data_option
@json_option
@click.pass_context
@runs
async def add_user(
    context: click.Context, name: str, admin: bool, as_json: bool, data: Path | None, **given: Any
) -> None:
    """Add a user. As soon as there is one, everybody needs a key, on this machine too.

    Example: voxpop users add ada --admin --email ada@example.org
    """
    from voxpop.accounts import people
    from voxpop.api.people import user_json

    refuse_unknown_tier(context, given["tier"])
    wish = people.Wish(name=name, rank="admin" if admin else None, **given)
    row = await in_records(context, data, lambda s, by: user_json(people.add_user(s, by, wish)))
    next_ = f"voxpop keys create {row['name']} (programs), voxpop users password {row['name']} (the page)"
    show(as_json, row, _line(row), f"Let them in with: {next_}")


@users.command("list")
@click.option("--team", help="Only a team's.")
@data_option
@json_option
@click.pass_context
@runs
async def list_users(context: click.Context, team: str | None, as_json: bool, data: Path | None) -> None:
    """List the users.

    Example: voxpop users list
    """
    from voxpop.accounts import people
    from voxpop.api.people import user_json

    rows = await in_records(
        context,
        data,
        lambda s, _: [user_json(u) for u in people.users(s, people.team(s, team) if team else None)],
    )
    none = f"{none_there(context, data)}: without any, this machine alone may use the server, without a key."
    show(as_json, {"users": rows}, *([_line(r) for r in rows] or [none]))


@users.command("show")
@click.argument("who")
@data_option
@json_option
@click.pass_context
@runs
async def show_user(context: click.Context, who: str, as_json: bool, data: Path | None) -> None:
    """Show a user, by name, address or id, and their keys.

    Example: voxpop users show ada
    """
    from voxpop.accounts import keys, people
    from voxpop.api.keys import described
    from voxpop.api.people import user_json

    def work(session: "Session", _: "By") -> dict[str, Any]:
        found = people.user(session, who)
        return {**user_json(found), "keys": [described(k) for k in keys.keys(session, found)]}

    row = await in_records(context, data, work)
    show(as_json, row, _line(row), *(f"  {key_line(k)}" for k in row["keys"]))


def _changing(name: str, doc: str, **wished: Any) -> click.Command:
    """A command that sets one thing of a user."""

    @users.command(name, help=doc)
    @click.argument("who")
    @data_option
    @json_option
    @click.pass_context
    @runs
    async def command(context: click.Context, who: str, as_json: bool, data: Path | None) -> None:
        await _change(context, who, as_json, data, **wished)

    return command


async def _change(context: click.Context, who: str, as_json: bool, data: Path | None, **wished: Any) -> None:
    from voxpop.accounts import people
    from voxpop.api.people import user_json

    refuse_unknown_tier(context, wished.get("tier"))

    def work(session: "Session", by: "By") -> dict[str, Any]:
        found = people.user(session, who)
        people.change_user(session, by, found, people.Wish(**wished))
        return user_json(found)

    row = await in_records(context, data, work)
    show(as_json, row, _line(row))


_changing(
    "disable",
    "Shut a user out, within a second; nothing of theirs is removed.\n\nExample: voxpop users disable ada",
    disabled=True,
)
_changing("enable", "Let a disabled user in again.\n\nExample: voxpop users enable ada", disabled=False)


@users.command("change")
@click.argument("who")
@click.option("--name", help="Another name.")
@click.option("--rank", type=click.Choice(["admin", "member"]), help="What they may do.")
@_with_facts
@data_option
@json_option
@click.pass_context
@runs
async def change_user(context: click.Context, who: str, as_json: bool, data: Path | None, **given: Any) -> None:
    """Change what is known of a user; an empty text takes it away.

    Example: voxpop users change ada --rank admin --team editors
    """
    await _change(context, who, as_json, data, **given)


@users.command("tier")
@click.argument("who")
@click.argument("tier")
@data_option
@json_option
@click.pass_context
@runs
async def tier_of(context: click.Context, who: str, tier: str, as_json: bool, data: Path | None) -> None:
    """Put a user in a tier; '' leaves them in their team's.

    Example: voxpop users tier ada premium
    """
    await _change(context, who, as_json, data, tier=tier)


@users.command("password")
@click.argument("who")
@data_option
@json_option
@click.pass_context
@runs
async def password(context: click.Context, who: str, as_json: bool, data: Path | None) -> None:
    """Set a user's password for the page; asks twice, or reads one line where the input is no terminal.

    Example: voxpop users password ada
    """
    from voxpop.accounts import passwords

    if sys.stdin.isatty():
        chosen = click.prompt("New password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        chosen = sys.stdin.readline(_LONGEST_PASSWORD).rstrip("\r\n")
    await _change(context, who, as_json, data, password=await asyncio.to_thread(passwords.hashed, chosen))


@users.command("invite")
@click.option("--tier", default="", help="The tier of who comes by it.")
@click.option("--team", default="", help="Their team.")
@click.option(
    "--days", type=click.FloatRange(0.01, 90), default=7.0, show_default=True, help="How long it is good."
)
@data_option
@json_option
@click.pass_context
@runs
async def invite(
    context: click.Context, tier: str, team: str, days: float, as_json: bool, data: Path | None
) -> None:
    """Let one person make an account on the page, once (setting accounts.sign_up: invited).

    Example: voxpop users invite --tier premium
    """
    from voxpop.accounts import sign_in

    refuse_unknown_tier(context, tier)
    names = [name for name in config_of(context).server.trusted_hosts if "*" not in name]

    def work(session: "Session", by: "By") -> dict[str, Any]:
        token = sign_in.invite(session, by, tier=tier, team=team, lasts_s=days * 86_400)
        path = f"/#invitation={token}"
        return {"invitation": token, "path": path, "url": f"https://{names[0]}{path}" if names else ""}

    row = await in_records(context, data, work)
    how = "Send it" if names else "Send it behind this server's address"
    show(as_json, row, row["url"] or row["path"], f"{how}; it is shown this once.")


@users.command("remove")
@click.argument("who")
@click.option("--yes", is_flag=True, help="Do not ask.")
@data_option
@json_option
@click.pass_context
@runs
async def remove_user(context: click.Context, who: str, yes: bool, as_json: bool, data: Path | None) -> None:
    """Remove a user and all that is theirs for good; asks first. The ledger and the log keep their id.

    Example: voxpop users remove ada
    """
    from voxpop.leaving import forget_in
    from voxpop.parting import part

    if not (yes or as_json or click.confirm(f"Remove '{who}' and all that is theirs?", err=True)):
        raise UsageError("Nobody was removed.", "Answer y, or give --yes.", code="declined")
    folder = config_of(context, data=data).data
    gone = await part(who, lambda work: in_records(context, data, work), lambda id_: forget_in(folder, id_), folder)
    row = {"id": gone.id, "name": gone.name, "removed": True}
    show(as_json, row, f"{row['name']}, their keys, answers, standing questions and files are gone.")


@users.command("log")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many acts.")
@click.option("--subject", default="", help="Only what was done to the user, team or key of this id.")
@data_option
@json_option
@click.pass_context
@runs
async def log(context: click.Context, limit: int, subject: str, as_json: bool, data: Path | None) -> None:
    """Print what admins did, the newest first: who, what, on whom and when.

    Example: voxpop users log --limit 20
    """
    from voxpop.accounts import audit
    from voxpop.api.people import act_json

    rows = await in_records(
        context, data, lambda s, _: [act_json(a) for a in audit.acts(s, subject=subject, limit=limit)]
    )
    lines = [f"{r['at']} {r['by']}: {r['act']} {r['subject']} {orjson.dumps(r['details']).decode()}" for r in rows]
    show(as_json, {"acts": rows}, *(lines or ["Nothing was done yet."]))
