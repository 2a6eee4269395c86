"""The command line: parse and print, no decisions. Exit 2 for bad usage, 1 for a failure, with one line why.

What a command needs is imported when it runs: `voxpop --help` waits for no index and no server.
"""

import asyncio
import sys
import time
from collections.abc import Callable
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson

from voxpop import __version__
from voxpop.cli_options import (
    as_of_option,
    config_of,
    data_option,
    engine_option,
    json_option,
    model_option,
    runs,
    shortened,
    source_option,
    voice_option,
)
from voxpop.errors import UsageError

if TYPE_CHECKING:
    from voxpop.messages import Text

_LONGEST_QUESTION = 4_000
_HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def _readable(_: click.Context, __: click.Parameter, value: str) -> str:
    """Bytes that are no text, replaced: nothing else could be stored, searched or printed."""
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


@click.group(context_settings=_HELP)
@click.version_option(__version__, prog_name="voxpop")
@click.option(
    "--config",
    "config_file",
    envvar="VOXPOP_CONFIG",
    type=click.Path(path_type=Path),
    help="TOML file of settings (docs/configuration.md).",
)
@click.pass_context
def cli(context: click.Context, config_file: Path | None) -> None:
    """Ask what people are posting right now; every sentence is cited and checked.

    Example: voxpop up
    """
    context.obj = config_file


@cli.command()
@source_option
@click.option("--host", help="Address to listen on (loopback).")
@click.option("--port", type=click.IntRange(0, 65535), help="Port of the page and the API; 0 takes a free one.")
@data_option
@engine_option
@model_option
@voice_option
@click.pass_context
@runs
async def up(context: click.Context, **given: Any) -> None:
    """Start the page and the API, and ingest until stopped.

    With --engine local a model on this machine writes too, such as --model grok-1.

    Example: voxpop up --source bluesky --port 8080
    """
    from voxpop import app, logs
    from voxpop.voices import choose

    config = config_of(context, **given)
    choose(app.load_voices(config), config.answers.voice)
    await app.serve(config, logs.begin(config.watching.log))


@cli.command()
@click.option(
    "--source", "sources", multiple=True, required=True, help="Such as replay:posts.jsonl.zst. May be repeated."
)
@data_option
@json_option
@click.pass_context
@runs
async def ingest(context: click.Context, as_json: bool, **given: Any) -> None:
    """Ingest until the source ends; prints posts, what was dropped and why, rate and cursor.

    Example: voxpop ingest --source replay:posts.jsonl.zst --data ./data
    """
    from voxpop import ingesting, logs
    from voxpop.live_table import Screen

    config = config_of(context, **given)
    say = logs.begin(config.watching.log)
    rows: list[dict[str, Any]] = []
    began, code = time.monotonic(), 0
    with Screen(sys.stderr) as screen:
        drawn = sys.stderr.isatty() and config.watching.log == "text" and not as_json
        show: Callable[[dict[str, Any]], None] = screen.draw if drawn else _in_lines(say, as_json)
        try:
            await ingesting.ingest_all(config, show, rows.extend)
        except asyncio.CancelledError:
            code = 130  # what was stored until then is told all the same
    _tell_brought(rows, time.monotonic() - began, as_json)
    if code:
        sys.exit(code)


def _in_lines(say: Callable[[str], None], as_json: bool) -> Callable[[dict[str, Any]], None]:
    """How many posts there are by now, each second; and why nothing comes, once until something does."""
    from voxpop.render import plain

    told: dict[str, int] = {}

    def show(status: dict[str, Any]) -> None:
        for row in status["sources"]:
            if not row["ok"] and told.get(row["name"]) != row["posts"]:
                told[row["name"]] = row["posts"]
                say(plain(f"{row['name']}: {row['state']}"))
        if not as_json:
            say("; ".join(f"{s['name']}: {s['posts']} posts" for s in status["sources"]))

    return show


def _tell_brought(rows: list[dict[str, Any]], took_s: float, as_json: bool) -> None:
    if as_json:
        click.echo(orjson.dumps({"sources": rows}).decode())
        return
    for row in rows:
        dropped = ", ".join(f"{n} {why}" for why, n in row["dropped"].items()) or "none"
        click.echo(
            f"{row['source']}: {row['posts']} posts in {row['took_s']:.1f} s ({row['posts_per_s']}/s): "
            f"{row['added']} added, {row['edited']} edited, {row['unchanged']} already stored, "
            f"{row['deleted']} deleted, {row['refused']} refused; dropped: {dropped}; "
            f"cursor {shortened(row['cursor'])}"
        )
    if len(rows) > 1:
        posts = sum(row["posts"] for row in rows)
        click.echo(f"{len(rows)} sources: {posts} posts in {took_s:.1f} s ({posts / took_s:.0f}/s)")


@cli.command()
@click.argument("query", callback=_readable)
@as_of_option
@click.option("--since", help="Only posts witnessed at or after this time.")
@click.option("--until", help="Only posts witnessed at or before this time.")
@click.option("--from", "handles", multiple=True, help="Only posts of this handle. May be repeated.")
@click.option("--lang", help="Only posts in this language (ISO 639-1).")
@click.option("--limit", type=click.IntRange(1, 200), default=10, show_default=True, help="How many posts.")
@data_option
@json_option
@click.pass_context
@runs
async def search(
    context: click.Context, query: str, as_json: bool, limit: int, data: Path | None, **given: Any
) -> None:
    """Search the stored posts: words, "phrases", from:handle, -word, lang:fr, since:-2h, min_likes:10.

    Example: voxpop search 'parliament "shots fired" -rumour' --as-of 2014-10-22T14:30:00Z
    """
    from voxpop import app, render
    from voxpop.service import clock

    for name in ("since", "until", "as_of"):
        _instant(f"--{name.replace('_', '-')}", given[name], clock())
    config = config_of(context, data=data)
    hits, took_ms, now = await app.search(config, query, limit=limit, **given)
    if as_json:
        click.echo(orjson.dumps(render.hits_json(hits, took_ms)).decode())
        return
    for hit in hits:
        click.echo(render.hit_text(hit, now))
    click.echo(f"{len(hits)} posts in {took_ms:.1f} ms", err=True)


@cli.command()
@click.argument("question", callback=_readable)
@as_of_option
@voice_option
@engine_option
@model_option
@data_option
@json_option
@click.option("--why", is_flag=True, help="Say of each sentence why it is there.")
@click.pass_context
@runs
async def ask(
    context: click.Context, question: str, as_of: str | None, as_json: bool, why: bool, **given: Any
) -> None:
    """Answer one question from the stored posts.

    Example: voxpop ask "Where did the shooting happen?" --as-of 2014-10-22T14:30:00Z
    """
    from voxpop import app, render
    from voxpop.messages import Message, Request, Text
    from voxpop.service import clock

    if len(question) > _LONGEST_QUESTION:
        raise UsageError(f"The question is over {_LONGEST_QUESTION} characters.", "Ask a shorter one.")
    if not question.strip():
        raise UsageError("The question is empty.", 'Ask something, such as: voxpop ask "What happened?"')
    config = config_of(context, **given)
    now = clock()
    then = _instant("--as-of", as_of, now)
    request = Request((Message("user", question),), voice=config.answers.voice, as_of=then)
    answer, shown = render.Answer(), False
    async with app.asking(config) as assistant:
        async for event in assistant.answer(request):
            answer.add(event)
            if as_json:
                continue
            if line := render.progress(event, then or now):
                click.secho(line, dim=True, err=True)
            if isinstance(event, Text):
                shown = True
                _print_text(event)
                if why and event.kind == "sentence":
                    click.secho(render.because(event, answer.cited), dim=True)
    if as_json:
        click.echo(orjson.dumps(answer.json()).decode())
        return
    if shown and answer.cited:
        click.echo("\n" + answer.sources(then or now))
    click.secho("\n" + answer.footer(then or now), dim=True)


def _print_text(text: "Text") -> None:
    from voxpop.render import marked, plain

    if text.kind == "chat":
        click.echo(plain(text.text), nl=False)
    elif text.kind == "sentence":
        click.echo(plain(marked(text)))
    else:
        ours = "voxpop: " if text.kind == "notice" else ""
        click.secho(ours + plain(text.text), italic=True)


def _instant(name: str, value: str | None, now: int) -> int | None:
    from voxpop.times import instant, iso

    try:
        at = None if value is None else instant(value, now)
        if at is not None:
            iso(at)  # a time that cannot be written cannot be asked for
        return at
    except (ValueError, OverflowError, OSError) as error:
        cure = "Give an ISO 8601 time such as 2014-10-22T14:30:00Z, a date, or an age such as -2h."
        raise UsageError(f"{name} cannot be '{value}'.", cure) from error


@cli.command()
@data_option
@json_option
@click.pass_context
@runs
async def voices(context: click.Context, as_json: bool, data: Path | None) -> None:
    """List the voices.

    Example: voxpop voices
    """
    from voxpop import app

    config = config_of(context, data=data)
    rows = [
        {"name": v.name, "title": v.title, "languages": sorted(v.lines), "instruction": v.instruction}
        for v in app.load_voices(config).values()
    ]
    if as_json:
        click.echo(orjson.dumps({"voices": rows}).decode())
        return
    for row in rows:
        click.echo(f"{row['name']:<10} {', '.join(row['languages'])}: {str(row['instruction']).splitlines()[0]}")


@cli.command()
@source_option
@click.option("--port", type=click.IntRange(0, 65535), help="The port that voxpop up would use.")
@data_option
@engine_option
@model_option
@json_option
@click.pass_context
@runs
async def doctor(context: click.Context, as_json: bool, **given: Any) -> None:
    """Check each link from the network to the index; name what is broken, and its cure. Exit 1 where something is.

    Example: voxpop doctor
    """
    from voxpop.doctor import examine

    findings = await examine(config_of(context, **given))
    if as_json:
        click.echo(orjson.dumps({"checks": [f.json() for f in findings]}).decode())
    else:
        for finding in findings:
            mark = {"ok": "ok  ", "warning": "warn", "broken": "FAIL"}[finding.state]
            click.echo(f"{mark} {finding.link:<9} {finding.said}" + (f" {finding.cure}" if finding.cure else ""))
    if any(f.state == "broken" for f in findings):
        sys.exit(1)


@cli.command()
@voice_option
@json_option
@click.pass_context
@runs
async def demo(context: click.Context, as_json: bool, **given: Any) -> None:
    """Play an invented election night on this machine and ask it questions as it goes; needs no network.

    Example: voxpop demo --voice fun
    """
    from voxpop.demo import play

    await play(config_of(context, **given), as_json, click.echo)


def program() -> click.Group:
    """The whole command line, the groups that live elsewhere included."""
    from voxpop.cli_answers import COMMANDS as ON_ANSWERS
    from voxpop.cli_eval import evaluate
    from voxpop.cli_keeping import COMMANDS
    from voxpop.cli_keys import keys
    from voxpop.cli_models import models
    from voxpop.cli_policy import policy
    from voxpop.cli_sources import sources
    from voxpop.cli_teams import teams
    from voxpop.cli_tiers import tiers
    from voxpop.cli_usage import usage
    from voxpop.cli_users import users
    from voxpop.cli_watch import watch
    from voxpop.cli_weights import weights
    from voxpop.cli_x import x

    # These add their commands to the group of `weights`.
    for each in ("bench", "convert", "make", "plan", "quantize", "tokenizer"):
        import_module(f"voxpop.cli_weights_{each}")
    ours = (models, policy, sources, x, evaluate, watch, users, teams, keys, tiers, usage, weights)
    for command in (*ours, *COMMANDS, *ON_ANSWERS):
        cli.add_command(command)
    return cli


def main() -> None:
    """The `voxpop` command. A terminal that lacks a character shows another in its place."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    program()()


if __name__ == "__main__":
    main()
