"""`voxpop keys`: what programs are known by; a new secret is printed once, and kept nowhere."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from voxpop.cli_options import data_option, json_option, runs
from voxpop.cli_users import in_records, key_line, none_there, show
from voxpop.errors import UsageError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from voxpop.accounts.audit import By

_SPAN = re.compile(r"(\d{1,6})([smhdw])")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_ONCE = "This is the only time that it is shown: keep it where your program reads it."


@click.group()
def keys() -> None:
    """What programs are known by: a key belongs to a user, and may be for some models, endpoints and time only.

    Example: voxpop keys create ada --name laptop --expires 90d
    """


@keys.command("create")
@click.argument("who")
@click.option("--name", default="key", show_default=True, help="What it is for, such as laptop.")
@click.option("--model", "models", multiple=True, help="Only for this model. May be repeated.")
@click.option(
    "--endpoint", "endpoints", multiple=True, help="Only for this endpoint, such as chat. May be repeated."
)
@click.option("--expires", help="How long it is valid, such as 90d (s, m, h, d, w); else until it is revoked.")
@data_option
@json_option
@click.pass_context
@runs
async def create(context: click.Context, who: str, as_json: bool, data: Path | None, **given: Any) -> None:
    """Make a key for a user and print its secret, once.

    Example: voxpop keys create ada --name laptop --endpoint chat --expires 90d
    """
    from voxpop.accounts import keys as acts
    from voxpop.accounts import people
    from voxpop.api.keys import described

    lasts_s = _seconds("--expires", given["expires"])

    def work(session: "Session", by: "By") -> dict[str, Any]:
        scopes = acts.Scopes(
            models=given["models"] or ("*",),
            endpoints=given["endpoints"] or ("*",),
            expires_at=by.now + lasts_s * 1_000_000 if lasts_s else None,
        )
        made, clear = acts.create(session, by, people.user(session, who), given["name"], scopes)
        return {**described(made), "key": clear}

    _show_secret(as_json, await in_records(context, data, work))


@keys.command("list")
@click.argument("who", required=False)
@data_option
@json_option
@click.pass_context
@runs
async def list_keys(context: click.Context, who: str | None, as_json: bool, data: Path | None) -> None:
    """List all keys, or a user's; of a secret only its prefix is known.

    Example: voxpop keys list ada
    """
    from voxpop.accounts import keys as acts
    from voxpop.accounts import people
    from voxpop.api.keys import described

    rows = await in_records(
        context,
        data,
        lambda s, _: [described(k) for k in acts.keys(s, people.user(s, who) if who else None)],
    )
    show(as_json, {"keys": rows}, *([key_line(r) for r in rows] or [f"{none_there(context, data, 'keys')}."]))


@keys.command("show")
@click.argument("which")
@data_option
@json_option
@click.pass_context
@runs
async def show_key(context: click.Context, which: str, as_json: bool, data: Path | None) -> None:
    """Show a key, by its id or the prefix of its secret.

    Example: voxpop keys show vx-k7m2p9qa
    """
    from voxpop.accounts import keys as acts
    from voxpop.api.keys import described

    row = await in_records(context, data, lambda s, _: described(acts.key(s, which)))
    valid = [f"  {s['prefix']} until {s['until'] or 'rotated or revoked'}" for s in row["secrets"]]
    show(as_json, row, key_line(row), f"  of {row['user_id']}, changed by {row['changed_by']}", *valid)


@keys.command("rotate")
@click.argument("which")
@click.option("--grace", help="How long the old secret stays valid, such as 1d; else not at all.")
@data_option
@json_option
@click.pass_context
@runs
async def rotate(context: click.Context, which: str, grace: str | None, as_json: bool, data: Path | None) -> None:
    """Give a key a new secret and print it, once; its id, scopes and end stay.

    Example: voxpop keys rotate vx-k7m2p9qa --grace 1d
    """
    from voxpop.accounts import keys as acts
    from voxpop.api.keys import described

    grace_s = _seconds("--grace", grace)

    def work(session: "Session", by: "By") -> dict[str, Any]:
        key = acts.key(session, which)
        clear = acts.rotate(session, by, key, grace_s=grace_s)
        return {**described(key), "key": clear}

    _show_secret(as_json, await in_records(context, data, work))


@keys.command("revoke")
@click.argument("which")
@data_option
@json_option
@click.pass_context
@runs
async def revoke(context: click.Context, which: str, as_json: bool, data: Path | None) -> None:
    """End a key for good, within a second, in every server on this database.

    Example: voxpop keys revoke vx-k7m2p9qa
    """
    from voxpop.accounts import keys as acts
    from voxpop.api.keys import described

    def work(session: "Session", by: "By") -> dict[str, Any]:
        key = acts.key(session, which)
        acts.revoke(session, by, key)
        return described(key)

    row = await in_records(context, data, work)
    show(as_json, row, key_line(row))


def _show_secret(as_json: bool, row: dict[str, Any]) -> None:
    show(as_json, row, row["key"])
    if not as_json:
        click.echo(f"{key_line(row)}\n{_ONCE}", err=True)


def _seconds(name: str, value: str | None) -> int:
    if value is None:
        return 0
    match = _SPAN.fullmatch(value)
    if not match:
        raise UsageError(f"{name} cannot be '{value[:40]}'.", "Give a number and s, m, h, d or w, such as 90d.")
    return int(match[1]) * _UNIT_S[match[2]]
