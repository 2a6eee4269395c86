"""`voxpop watch`: ask once, print each flip as it comes; it follows a running server, else the data folder."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any

import click
import orjson

from voxpop.cli_options import config_of, data_option, json_option, key_option, keyed, refused_key, runs
from voxpop.errors import UsageError, VoxpopError

if TYPE_CHECKING:
    import httpx

    from voxpop.config import Config

_LOOK_S = 1.0
_QUIET_S = 60.0
_LINE = 160
Event = tuple[str, dict[str, Any]]


@click.command()
@click.argument("question", required=False)
@click.option("--webhook", help="Have this address told instead, as long as the server runs (docs/watches.md).")
@click.option("--once", is_flag=True, help="End at the first flip.")
@click.option("--list", "listed", is_flag=True, help="Print the server's standing questions.")
@click.option("--all", "of_all", is_flag=True, help="With --list: everybody's, read from the data folder.")
@click.option("--stop", metavar="ID", help="End one of the server's standing questions.")
@click.option("--port", type=click.IntRange(1, 65535), help="The port of the running server.")
@key_option
@data_option
@json_option
@click.pass_context
@runs
async def watch(context: click.Context, question: str | None, as_json: bool, key: str | None, **given: Any) -> None:
    """Ask once and be told when the answer flips, with the posts that flipped it. Stop with Ctrl+C.

    Example: voxpop watch "Who won the election?"
    """
    config = config_of(context, **given)
    if sum(map(bool, (question, given["listed"], given["stop"]))) != 1:
        cure = 'Give a question, such as: voxpop watch "Who won the election?"'
        raise UsageError("One of a question, --list and --stop is needed.", cure)
    if given["of_all"]:
        if not given["listed"]:
            raise UsageError("--all goes with --list alone.", "Say: voxpop watch --list --all")
        _tell_list({"data": await _of_all(config)}, as_json)
        return
    async with _client(config, key) as client:
        running = await _running(client, key)
        if question and not running and not given["webhook"]:
            await _print(_alone(config, question), as_json, given["once"])
        elif not running:
            where = str(client.base_url)
            raise VoxpopError(f"No voxpop answers at {where}", "Start it with: voxpop up (or give its --port).")
        elif question and given["webhook"]:
            _tell_added(
                await _asked(client, "POST", "", {"question": question, "webhook": given["webhook"]}), as_json
            )
        elif question:
            await _print(_followed(client, question), as_json, given["once"])
        elif given["stop"]:
            _tell_ended(await _asked(client, "DELETE", f"/{given['stop']}"), as_json)
        else:
            _tell_list(await _asked(client, "GET", ""), as_json)


async def _of_all(config: "Config") -> list[dict[str, Any]]:
    """Everybody's standing questions, each with the name of whose it is."""
    from voxpop import app
    from voxpop.accounts.people import users
    from voxpop.api.watches import watch_json
    from voxpop.watches import kept_in

    watches, names = kept_in(config.data), dict[str, str]()
    if any(w.owner for w in watches):
        async with app.records(config) as database:
            names = await database.run(lambda s: {u.id: u.name for u in users(s)}, write=False)
    owned = [{"id": w.owner, "name": names.get(w.owner, "")} if w.owner else None for w in watches]
    return [watch_json(w) | {"owner": owner} for w, owner in zip(watches, owned, strict=True)]


def _client(config: "Config", key: str | None) -> "httpx.AsyncClient":
    import httpx

    host = f"[{config.server.host}]" if ":" in config.server.host else config.server.host
    base = f"http://{host}:{config.server.port or 8080}"
    return httpx.AsyncClient(
        base_url=base, headers=keyed(key), trust_env=False, timeout=httpx.Timeout(30.0, connect=2.0)
    )


async def _running(client: "httpx.AsyncClient", key: str | None) -> bool:
    """Whether a server answers there. Raises UsageError where it wants another key."""
    import httpx

    with suppress(httpx.HTTPError):
        response = await client.get("/v1/watches", timeout=2.0)
        if refused := refused_key(response.status_code, key, "watches"):
            raise refused
        return response.status_code == 200 and b'"object"' in response.content
    return False


async def _asked(client: "httpx.AsyncClient", method: str, path: str, body: Any = None) -> dict[str, Any]:
    """What the server says. Raises VoxpopError with its own words where it refuses."""
    import httpx

    try:
        response = await client.request(method, f"/v1/watches{path}", json=body)
        said = orjson.loads(response.content)
    except (httpx.HTTPError, orjson.JSONDecodeError) as error:
        raise VoxpopError(
            f"The server at {client.base_url} failed: {type(error).__name__}.", "Try again."
        ) from error
    if refusal := said.get("error"):
        kind = UsageError if response.status_code < 500 else VoxpopError
        raise kind(str(refusal.get("message", "")), code=str(refusal.get("code", "failed")))
    answer: dict[str, Any] = said
    return answer


async def _followed(client: "httpx.AsyncClient", question: str) -> AsyncIterator[Event]:
    """The events of a new watch of the server, across cuts; it ends with this command."""
    import httpx

    added = await _asked(client, "POST", "", {"question": question})
    seen = str(added["flips"])
    yield "position", added
    try:
        while True:
            try:
                async with aclosing(_stream(client, added["id"], seen)) as events:  # type: ignore[type-var]
                    async for name, id_, data in events:
                        seen = id_ or seen
                        if name == "end":
                            return
                        if name == "flip":
                            yield name, data
            except httpx.HTTPError as error:
                click.echo(f"voxpop: cut off ({type(error).__name__}), trying again", err=True)
            await asyncio.sleep(_LOOK_S)
    finally:
        with suppress(VoxpopError):
            await _asked(client, "DELETE", f"/{added['id']}")


async def _stream(
    client: "httpx.AsyncClient", id_: str, seen: str
) -> AsyncIterator[tuple[str, str, dict[str, Any]]]:
    """(name, id, data) of server-sent events (https://html.spec.whatwg.org/#event-stream-interpretation)."""
    headers = {"last-event-id": seen}
    async with client.stream("GET", f"/v1/watches/{id_}/events", headers=headers, timeout=_QUIET_S) as response:
        if response.status_code != 200:
            await response.aread()
            raise VoxpopError("The watch has ended with its server.", "Ask again.")
        fields: dict[str, str] = {}
        async for line in response.aiter_lines():
            name, _, value = line.partition(": ")
            if line:
                fields[name] = value
            elif "data" in fields:
                yield fields.get("event", ""), fields.get("id", ""), orjson.loads(fields["data"])
                fields = {}


async def _alone(config: "Config", question: str) -> AsyncIterator[Event]:
    """The same from the data folder, whoever writes to it; nothing of it is kept."""
    from voxpop import app
    from voxpop.api.watches import flip_json, watch_json
    from voxpop.service import clock
    from voxpop.store.migration import holds_posts
    from voxpop.watcher import Look, Sight
    from voxpop.watches import Watch

    if not holds_posts(config.data):
        cure = "Start voxpop up beside, or choose a folder with --data."
        raise VoxpopError(f"No voxpop runs, and there are no posts in {config.data}.", cure)
    listed, policy = app.authorities(config, invented=True), app.policy(config)
    sight = Sight(Watch("watch_here", question, clock(), clock()))
    state: Any = None
    while True:
        async with app.open_store(config, readonly=True) as store:
            totals = await store.totals()
            now = totals["seq"], totals["tombstones"], totals["posts"]
            if now != state:
                first, state = state is None, now
                told = await sight.again(Look(store, listed, policy), clock())
                if first:
                    yield "position", watch_json(sight.watch)
                elif told:
                    yield "flip", flip_json(sight.watch, told, await store.posts(told.flip.posts), listed)
        await asyncio.sleep(_LOOK_S)


async def _print(events: AsyncIterator[Event], as_json: bool, once: bool) -> None:
    async with aclosing(events):  # type: ignore[type-var]
        async for name, data in events:
            shown = orjson.dumps({"event": name, **data}).decode() if as_json else _lines(name, data)
            click.echo(shown)
            sys.stdout.flush()
            if once and name == "flip":
                return


def _lines(name: str, data: dict[str, Any]) -> str:
    from voxpop.render import plain

    if name == "position":
        return plain(f"Now: {_position(data['position'])}. You are told when that changes; stop with Ctrl+C.")
    head = (
        f"{data['at'][11:19]} {data['why'].upper()}: {_position(data['after'])} (was: {_position(data['before'])})"
    )
    return plain("\n".join([head, *(_post(p) for p in data["posts"])]))


def _position(position: dict[str, Any]) -> str:
    said = ", ".join(position["said"])
    sure = "" if position["confirmed"] or position["stance"] in ("unknown", "not declared") else ", unconfirmed"
    return f"{position['stance']}{f' ({said})' if said else ''}{sure}"


def _post(post: dict[str, Any]) -> str:
    if post["gone"]:
        return f"    {post['id']} (deleted)"
    text = " ".join(post["text"].split())
    text = text if len(text) <= _LINE else f"{text[: _LINE - 1]}…"
    return f"    @{post['author']['handle']} ({post['author_class']}): {text}\n    {post['url'] or post['id']}"


def _tell_added(added: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(orjson.dumps(added).decode())
        return
    click.echo(f"{added['id']}: {_position(added['position'])}. Flips go to {added['webhook']['url']}.")
    click.echo(f"Its secret, shown this once: {added['webhook']['secret']}")


def _tell_ended(ended: dict[str, Any], as_json: bool) -> None:
    click.echo(orjson.dumps(ended).decode() if as_json else f"{ended['id']} has ended.")


def _tell_list(listed: dict[str, Any], as_json: bool) -> None:
    from voxpop.render import plain

    if as_json:
        click.echo(orjson.dumps({"watches": listed["data"]}).decode())
        return
    for row in listed["data"]:
        where = f" -> {row['webhook']['url']}" if row["webhook"] else ""
        owner = row.get("owner")
        whose = f"{owner['name'] or owner['id']}: " if owner else ""
        click.echo(
            plain(
                f"{row['id']} {row['flips']} flips, {_position(row['position'])}: {whose}{row['question']}{where}"
            )
        )
    click.echo(f"{len(listed['data'])} standing questions", err=True)
