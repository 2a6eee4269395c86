"""The commands on kept answers: list, show, remove, reproduce; they parse and print."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import orjson

from voxpop.cli_options import config_of, data_option, json_option, runs
from voxpop.errors import UsageError

if TYPE_CHECKING:
    from voxpop.reopening import Line, Reopened


@click.group(invoke_without_command=True)
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many.")
@data_option
@json_option
@click.pass_context
@runs
async def answers(context: click.Context, limit: int, as_json: bool, data: Path | None) -> None:
    """List the kept answers, newest first: those of every account, each with whose it is.

    Example: voxpop answers
    """
    if context.invoked_subcommand:
        if data or as_json:
            raise UsageError("An option stands before the command.", "Write it at the end of the line.")
        return
    from voxpop import app
    from voxpop.api.answers import listed
    from voxpop.history import NAME
    from voxpop.render import plain
    from voxpop.times import iso

    config = config_of(context, data=data)
    async with app.history(config, config.data) as kept:
        rows = await kept.listed(limit, owner=None)
    if as_json:
        click.echo(orjson.dumps(listed(rows)).decode())
        return
    for row in rows:
        question = " ".join(row.question.split())
        at, asked = iso(row.at)[:16].replace("T", " "), f"{question[:200]}{_whose(row.owner)}"
        click.echo(plain(f"{row.id}  {at}  {row.engine:<6}  {asked}"))
    if not rows:
        night = config.data / "simulated"
        told = f" Those of the simulated night: --data {night}" if (night / NAME).exists() else ""
        click.echo(f"No answers are kept in {config.data}.{told}", err=True)


def _whose(owner: str) -> str:
    return f"  (asked by {owner})" if owner else ""


@answers.command()
@click.argument("id_", metavar="ID")
@data_option
@json_option
@click.pass_context
@runs
async def show(context: click.Context, id_: str, as_json: bool, data: Path | None) -> None:
    """Open a kept answer: each sentence is verified again, and struck through where it no longer holds.

    Exit 1 where one does not.

    Example: voxpop answers show 5f0c2d9be1a47c36
    """
    from voxpop import app
    from voxpop.api.answers import opened

    async with app.reopening(config_of(context, data=data), id_) as kept:
        answer = await kept.open(id_, owner=None)
    if as_json:
        click.echo(orjson.dumps(opened(answer)).decode())
    else:
        _print(answer)
    if not answer.holds:
        sys.exit(1)


def _print(answer: "Reopened") -> None:
    from voxpop import render
    from voxpop.times import iso

    recipe = answer.kept.recipe
    click.secho(render.plain(f"{iso(recipe.at)[:16].replace('T', ' ')}  {recipe.request.question}\n"), bold=True)
    for line in answer.lines:
        _print_line(line)
    shown = render.Answer()
    shown.cited, shown.done = {p.number: p for p in answer.cited}, answer.done
    if shown.cited:
        click.echo("\n" + shown.sources(answer.at))
    click.secho("\n" + (shown.footer(answer.at) or f"answer {answer.kept.id}"), dim=True)


def _print_line(line: "Line") -> None:
    from voxpop.render import handle, marked, plain

    said = marked(line.text) if line.text else "(gone)"
    if line.state == "holds":
        click.secho(plain(said), italic=bool(line.text and line.text.kind not in ("sentence", "chat")))
        return
    by = f": {handle(line.by)}, {line.by.post.url or line.by.post.id}" if line.by else ""
    click.secho(plain(said), strikethrough=True, nl=False)
    click.echo(plain(f"  <- no longer holds: {line.why}{by}"))


@answers.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@data_option
@json_option
@click.pass_context
@runs
async def remove(context: click.Context, ids: tuple[str, ...], as_json: bool, data: Path | None) -> None:
    """Remove kept answers, their questions included.

    Example: voxpop answers remove 5f0c2d9be1a47c36
    """
    from voxpop import app

    config = config_of(context, data=data)
    async with app.history(config, config.data) as kept:
        for id_ in ids:
            await kept.remove(id_, owner=None)
    click.echo(orjson.dumps({"removed": ids}).decode() if as_json else f"Removed {', '.join(ids)}.")


@click.command()
@click.argument("id_", metavar="ID")
@data_option
@json_option
@click.pass_context
@runs
async def reproduce(context: click.Context, id_: str, as_json: bool, data: Path | None) -> None:
    """Make a kept answer again from its stored inputs; exit 1 where it does not come out the same, byte for byte.

    Example: voxpop reproduce 5f0c2d9be1a47c36
    """
    from voxpop import app
    from voxpop.api.answers import reproduced
    from voxpop.render import plain

    async with app.reopening(config_of(context, data=data), id_, engine=True) as kept:
        made = await kept.reproduce(id_, owner=None)
    if as_json:
        click.echo(orjson.dumps(reproduced(made)).decode())
    else:
        click.echo("identical" if made.identical else "not the same" if made.diff else "cannot be compared")
        for line in (*made.why, *made.diff):
            click.echo(plain(line))
    if not made.identical:
        sys.exit(1)


COMMANDS = (answers, reproduce)
