"""`voxpop teams`: users who belong together and share a tier; it asks and prints."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from voxpop.cli_options import data_option, json_option, runs
from voxpop.cli_users import in_records, none_there, refuse_unknown_tier, show

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from voxpop.accounts.audit import By


@click.group()
def teams() -> None:
    """Users who belong together: one tier for all, one statement of what they used.

    Example: voxpop teams add editors --tier premium
    """


def _line(team: dict[str, Any]) -> str:
    return f"{team['name']:<20} {team['id']}" + (f"  tier {team['tier']}" if team["tier"] else "")


@teams.command("add")
@click.argument("name")
@click.option("--tier", default="", help="Name of the tier of all who have none of their own.")
@data_option
@json_option
@click.pass_context
@runs
async def add(context: click.Context, name: str, tier: str, as_json: bool, data: Path | None) -> None:
    """Add a team.

    Example: voxpop teams add editors --tier premium
    """
    from voxpop.accounts import people
    from voxpop.api.people import team_json

    refuse_unknown_tier(context, tier)
    row = await in_records(context, data, lambda s, by: team_json(people.add_team(s, by, name, tier)))
    show(as_json, row, _line(row))


@teams.command("list")
@data_option
@json_option
@click.pass_context
@runs
async def list_teams(context: click.Context, as_json: bool, data: Path | None) -> None:
    """List the teams.

    Example: voxpop teams list
    """
    from voxpop.accounts import people
    from voxpop.api.people import team_json

    rows = await in_records(context, data, lambda s, _: [team_json(t) for t in people.teams(s)])
    show(as_json, {"teams": rows}, *([_line(r) for r in rows] or [f"{none_there(context, data, 'teams')}."]))


@teams.command("tier")
@click.argument("name")
@click.argument("tier")
@data_option
@json_option
@click.pass_context
@runs
async def tier_of(context: click.Context, name: str, tier: str, as_json: bool, data: Path | None) -> None:
    """Put a team in a tier; '' leaves it without.

    Example: voxpop teams tier editors premium
    """
    from voxpop.accounts import people
    from voxpop.api.people import team_json

    refuse_unknown_tier(context, tier)

    def work(session: "Session", by: "By") -> dict[str, Any]:
        found = people.team(session, name)
        people.change_team(session, by, found, tier=tier)
        return team_json(found)

    row = await in_records(context, data, work)
    show(as_json, row, _line(row))


@teams.command("members")
@click.argument("name")
@click.option("--add", "added", multiple=True, help="Put a user in the team. May be repeated.")
@click.option("--remove", "removed", multiple=True, help="Take a user out of it. May be repeated.")
@data_option
@json_option
@click.pass_context
@runs
async def members(
    context: click.Context,
    name: str,
    added: tuple[str, ...],
    removed: tuple[str, ...],
    as_json: bool,
    data: Path | None,
) -> None:
    """List the members of a team, after putting users in or taking them out; a user is in one team.

    Example: voxpop teams members editors --add ada --add grace
    """
    from voxpop.accounts import people
    from voxpop.api.people import team_json, user_json

    def work(session: "Session", by: "By") -> dict[str, Any]:
        team = people.team(session, name)
        for who in added:
            people.change_user(session, by, people.user(session, who), people.Wish(team=team.id))
        for who in removed:
            found = people.user(session, who)
            if found.team_id == team.id:
                people.change_user(session, by, found, people.Wish(team=""))
        session.flush()
        return {**team_json(team), "members": [user_json(u) for u in people.users(session, team)]}

    row = await in_records(context, data, work)
    show(as_json, row, _line(row), *(f"  {u['name']}" for u in row["members"]))


@teams.command("remove")
@click.argument("name")
@data_option
@json_option
@click.pass_context
@runs
async def remove(context: click.Context, name: str, as_json: bool, data: Path | None) -> None:
    """Remove a team that has no members.

    Example: voxpop teams remove editors
    """
    from voxpop.accounts import people

    def work(session: "Session", by: "By") -> dict[str, Any]:
        gone = people.team(session, name)
        people.remove_team(session, by, gone)
        return {"id": gone.id, "name": gone.name, "removed": True}

    row = await in_records(context, data, work)
    show(as_json, row, f"The team {row['name']} is gone.")
