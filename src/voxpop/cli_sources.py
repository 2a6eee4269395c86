"""The command `sources`: what can be read and where each stands, or the running server's sources, live."""

import asyncio
import sys
from typing import Any

import click
import orjson

from voxpop.cli_options import (
    config_of,
    data_option,
    json_option,
    key_option,
    keyed,
    refused_key,
    runs,
    shortened,
    source_option,
)
from voxpop.config import Config
from voxpop.errors import UsageError, VoxpopError

_EVERY_S = 1.0
_PATIENCE_S = 5.0


@click.command()
@click.option("--watch", is_flag=True, help="Follow the running server's sources; Ctrl+C ends it.")
@source_option
@click.option("--host", help="With --watch: where voxpop up listens.")
@click.option("--port", type=click.IntRange(1, 65535), help="With --watch: its port.")
@key_option
@data_option
@json_option
@click.pass_context
@runs
async def sources(context: click.Context, as_json: bool, watch: bool, key: str | None, **given: Any) -> None:
    """List the sources that can be used, and where each stands in the data folder; or watch them run.

    Example: voxpop sources --watch
    """
    config = config_of(context, **given)
    if watch:
        await _watch(config, as_json, key)
    else:
        await _list(config, as_json)


async def _list(config: Config, as_json: bool) -> None:
    from voxpop import app
    from voxpop.render import plain

    rows = await app.list_sources(config)
    if as_json:
        click.echo(orjson.dumps({"sources": rows}).decode())
        return
    for row in rows:
        click.echo(f"{row['source']:<12} {row['about']}")
        if row["cursor"]:
            click.echo(f"{'':<12} cursor {shortened(row['cursor'])}")
        if row.get("reads"):
            click.echo(f"{'':<12} ${row['spent_usd']:.2f} for {row['reads']:,} reads this month")
        for gap in row.get("gaps", ()):
            click.echo(f"{'':<12} nothing from {gap['since'][:16]}Z to {gap['until'][:16]}Z: {plain(gap['why'])}")


async def _watch(config: Config, as_json: bool, key: str | None) -> None:
    """One picture a second, until interrupted; a server that answered once is waited for when it is gone."""
    import httpx

    from voxpop.live_table import Screen, rated

    host = f"[{config.server.host}]" if ":" in config.server.host else config.server.host
    address, answered = f"http://{host}:{config.server.port}", False
    before: dict[str, Any] | None = None
    headers = keyed(key)
    async with httpx.AsyncClient(base_url=address, headers=headers, trust_env=False, timeout=_PATIENCE_S) as client:
        with Screen(sys.stdout) as screen:
            while True:
                try:
                    status = await _status(client, address, key)
                except VoxpopError as error:
                    if not answered or isinstance(error, UsageError):
                        raise
                    if before is not None:
                        screen.note(f"{error.what} Waiting for it.")
                    before = None
                    await asyncio.sleep(_EVERY_S)
                    continue
                answered = True
                shown = rated(before, status)
                before = status
                if as_json:
                    click.echo(orjson.dumps(shown).decode())
                else:
                    screen.draw(shown)
                await asyncio.sleep(_EVERY_S)


async def _status(client: Any, address: str, key: str | None) -> dict[str, Any]:
    import httpx

    cure = "Start it with 'voxpop up', or name its address with --host and --port."
    try:
        answer = await client.get("/api/status")
        if refused := refused_key(answer.status_code, key, "status"):
            raise refused
        status: dict[str, Any] = orjson.loads(answer.content)
        answer.raise_for_status()
        if not {"sources", "store", "process"} <= status.keys():
            raise ValueError("what answered is no voxpop of this version")
    except (httpx.HTTPError, ValueError, AttributeError) as error:
        why = str(error) or type(error).__name__
        raise VoxpopError(f"No voxpop answers at {address}: {why}.", cure, code="no_server") from error
    return status
