"""Build the running program from a config: the only module that knows every concrete class."""

import asyncio
import gc
import ipaddress
import shutil
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxpop import policy as policies
from voxpop import tracing
from voxpop import voices as tones
from voxpop.accounts.people import count_users
from voxpop.assistant import Assistant
from voxpop.authorities import Authorities
from voxpop.config import Config
from voxpop.desk import Desk
from voxpop.engine_choice import Engines
from voxpop.engines import Engine
from voxpop.engines.quote import QuoteEngine
from voxpop.errors import UsageError, VoxpopError
from voxpop.gate import AccountGate
from voxpop.history import History
from voxpop.ingest import Progress, ingest
from voxpop.leaving import forget
from voxpop.logs import Say
from voxpop.places import Places
from voxpop.policy import Policy
from voxpop.prompt import instruction
from voxpop.quotas.opening import opened as counting
from voxpop.quotas.permits import Quotas
from voxpop.recheck import Recheck
from voxpop.recipes import digest
from voxpop.records import Database
from voxpop.reopening import Answers
from voxpop.rpc_choice import beside_http
from voxpop.service import Service, clock, gaps_of
from voxpop.simulator import world
from voxpop.source_choice import list_kinds, list_stored, open_budgets, opened
from voxpop.sources import Source
from voxpop.sources.lookup import Lookup
from voxpop.store import Hit
from voxpop.store.local import LocalStore
from voxpop.store.migration import holds_posts
from voxpop.store.query import parse
from voxpop.text import language
from voxpop.times import instant
from voxpop.voices import Voice, choose
from voxpop.watcher import Look, Watcher
from voxpop.watches import Watches

if TYPE_CHECKING:
    from voxpop.api.watches import Standing

_QUIET_S = 1.5


def authorities(config: Config, *, invented: bool = False) -> Authorities:
    """The configured lists; `invented` adds those of the simulated night, by account id."""
    lists = config.authorities
    official, press = list(lists.authority), list(lists.press)
    if invented:
        official += [a.did for a in world.authorities("authority")]
        press += [a.did for a in world.authorities("press")]
    return Authorities.of(official, press, lists.organisation, lists.person)


def policy(config: Config) -> Policy:
    """What is refused: the shipped rules, changed by the operator's own file. Raises UsageError for a bad one."""
    return policies.load(Path(config.answers.policy).expanduser() if config.answers.policy else None)


def load_voices(config: Config) -> dict[str, Voice]:
    """The shipped voices and those of the user's folder."""
    own = Path(config.answers.voices).expanduser() if config.answers.voices else config.data / "voices"
    return tones.load(own)


def open_store(config: Config, *, readonly: bool = False, folder: Path | None = None) -> LocalStore:
    """The store of the data folder, to be entered."""
    storage = config.storage
    return LocalStore(
        folder or config.data,
        commit_s=storage.commit_s,
        purge_s=storage.purge_s,
        keep_days=storage.keep_days,
        keep_gb=storage.keep_gb,
        readonly=readonly,
    )


@contextmanager
def traced(config: Config) -> Iterator[None]:
    """Spans are sent where the config says so, until the end."""
    end = tracing.begin(config.watching.traces) if config.watching.traces else None
    try:
        yield
    finally:
        if end:
            end()


async def ingest_until_quiet(source: Source, store: LocalStore) -> int:
    """Ingest until the source has been quiet for a moment; how many posts came."""
    progress = Progress(source.name, source.network, source.simulated)
    running = asyncio.create_task(ingest(source, store, progress))
    before = 0
    while not running.done() and (not progress.events or progress.events != before):
        before = progress.events
        await asyncio.wait([running], timeout=_QUIET_S)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    return progress.posts


async def search(config: Config, text: str, *, limit: int, **bounds: Any) -> tuple[list[Hit], float, int]:
    """Search the data folder: hits, milliseconds, and the moment that counts as now."""
    now = clock()
    query = parse(text, now)
    given = {name: _moment(name, bounds.get(name), now) for name in ("since", "until", "as_of")}
    ends = [t for t in (query.until, given["until"], given["as_of"]) if t is not None]
    handles = (*query.handles, *bounds.get("handles", ()))
    query = replace(
        query,
        limit=limit,
        until=min(ends, default=None),
        since=given["since"] if given["since"] is not None else query.since,
        handles=handles,
        lang=bounds.get("lang") or query.lang,
    )
    async with open_store(config, readonly=True) as store:
        began = time.perf_counter()
        hits = await store.search(query, now)
        return hits, (time.perf_counter() - began) * 1000, query.until or now


def _moment(name: str, value: str | None, now: int) -> int | None:
    try:
        return None if value is None else instant(value, now)
    except ValueError as error:
        cure = "Give an ISO 8601 time such as 2014-10-22T14:30:00Z, a date, or an age such as -2h."
        raise UsageError(f"--{name.replace('_', '-')} cannot be '{value}'.", cure) from error


@asynccontextmanager
async def asking(config: Config) -> AsyncIterator[Assistant]:
    """An assistant over the data folder as it is now, with the engine loaded."""
    if not holds_posts(config.data) and holds_posts(config.data / "simulated"):
        cure = f"Ask it with: --data {config.data / 'simulated'}"
        raise VoxpopError(f"Only the simulated night is in {config.data}.", cure)
    engines = Engines(config, lambda _: None)
    with traced(config):
        async with open_store(config, readonly=True) as store, history(config, config.data) as kept:
            await engines.load_now()
            yield assistant(config, store, engines.now, kept)


@asynccontextmanager
async def reopening(config: Config, id_: str, *, engine: bool = False) -> AsyncIterator[Answers]:
    """The kept answers of the data folder; `engine` loads the one that wrote the answer of this id.

    Raises VoxpopError where that engine cannot be had.
    """
    async with history(config, config.data) as kept:
        made = (await kept.get(id_, owner=None)).recipe.engine
        if engine and made.name != "quote":
            wanted = replace(config.engine, use=made.name, model=made.model if made.model != "none" else "")
            config = replace(config, engine=wanted)
        engines = Engines(config, lambda _: None) if engine and made.name != "quote" else None
        async with open_store(config, readonly=True) as store:
            if engines:
                await engines.load_now()
            yield Answers(kept, store, assistant(config, store, engines.now if engines else QuoteEngine), clock)


def history(config: Config, folder: Path) -> History:
    """The kept answers of a folder of posts, to be entered."""
    # The lists of the invented night are part of the code, and everybody who opens the folder must mean the same.
    rules = f"{digest(authorities(config, invented=True))} {policy(config).digest}"
    return History(folder, keep_days=config.answers.keep_days, clock=clock, rules=rules)


def assistant(
    config: Config, store: LocalStore, engine: Callable[[], Engine] = QuoteEngine, kept: History | None = None
) -> Assistant:
    """An assistant over a store, outside `voxpop up`; by default it quotes and keeps no answer."""
    return Assistant(
        store,
        engine,
        load_voices(config),
        authorities=authorities(config, invented=True),
        policy=policy(config),
        clock=clock,
        gaps=gaps_of(store),
        keep=kept.keep if kept else lambda _: "",
    )


async def list_sources(config: Config) -> list[dict[str, Any]]:
    """The kinds of source, then those that the data folder knows and how they stand."""
    rows = list_kinds(config)
    if holds_posts(config.data):
        async with open_store(config, readonly=True) as store:
            rows += await list_stored(store, clock())
    return rows


async def serve(config: Config, say: Say) -> None:
    """Run the page and the API and ingest, until interrupted."""
    from voxpop.api.serving import run
    from voxpop.api.storing import answered, people, storing
    from voxpop.signing import session_faces

    server = config.server
    policy(config)
    async with AsyncExitStack() as stack:
        stack.enter_context(traced(config))
        database = await stack.enter_async_context(records(config))
        quotas = await stack.enter_async_context(counting(config.accounts, database, clock))
        gate = await _entrance(config, database, quotas)
        session = session_faces(config.accounts, database, gate)
        # The language identifier takes half a second to load: not at the first question.
        await asyncio.to_thread(language, "load what tells languages apart")
        sources, store, folder, invented = await _read_from(stack, config, say)
        kept = await stack.enter_async_context(history(config, folder))
        listed = authorities(config, invented=invented)
        asked, watcher = await _standing(stack, config, store, folder, listed)
        engines = Engines(config, say, [instruction(choose(load_voices(config), config.answers.voice))])
        service = Service(
            store,
            sources,
            load_voices(config),
            default_voice=config.answers.voice,
            authorities=listed,
            policy=policy(config),
            engine=engines.now,
            engine_state=lambda: engines.state,
            history=kept,
            aliases=server.aliases,
            beside=[*_rechecks(config, sources, store), watcher.run, asked.courier.run, quotas.run],
        )
        tune()
        answers = await stack.enter_async_context(answered(database, store.posts, clock))
        desk = Desk(service.assistant, gate, longest_s=server.answer_s)
        stored = await stack.enter_async_context(storing(config, database, service.posts, clock))
        shared = {**answers, "places": Places(server.streams)}
        both = {**shared, "files": stored.files, "batches": stored.batches, "price": quotas.price}
        other = await beside_http(stack, config, service, desk, database, say, **both)
        whose = people(database, quotas, clock, lambda owner: forget(owner, kept, asked.watches), config.data)
        more = [*asked.routes(), *whose, *stored.routes(shared["places"])]
        asking: dict[str, Any] = {"more": more, "desk": desk, "session": session, "quotas": quotas}
        await run(service, engines, server, say, beside=stored.run, other=other, shared=shared, **asking)


async def _read_from(
    stack: AsyncExitStack, config: Config, say: Say
) -> tuple[Sequence[Source], LocalStore, Path, bool]:
    """The sources, the store of what they bring, its folder, and whether any of it is made up."""
    say(f"voxpop: data in {config.data}")
    say(f"voxpop: looking for sources ({', '.join(config.sources.use)})")
    sources = await stack.enter_async_context(opened(config))
    invented = any(s.simulated for s in sources)
    folder = await _emptied(config, say) if invented else config.data
    store = await stack.enter_async_context(open_store(config, folder=folder))
    await open_budgets(sources, store)
    return sources, store, folder, invented


def records(config: Config) -> Database:
    """The database of accounts, usage and what is stored for them, to be entered."""
    return Database.beside(config.data, config.records.url)


async def _entrance(config: Config, database: Database, quotas: Quotas) -> AccountGate:
    """The gate. Raises UsageError where anybody could come in from outside."""
    server = config.server
    inside = _is_loopback(server.host) and not server.trusted_hosts
    if not inside and not await database.run(count_users, write=False):
        where = f"on {server.host}" if not server.trusted_hosts else f"for {', '.join(server.trusted_hosts)}"
        cure = (
            "Make an account and a key first: voxpop users add NAME --admin, then voxpop keys create NAME. "
            "Or use 127.0.0.1 and no server.trusted_hosts."
        )
        raise UsageError(f"Will not listen {where}: there are no accounts, so anybody could use it.", cure)
    return AccountGate(database, clock, open_here=inside, quotas=quotas)


def _rechecks(
    config: Config, sources: Sequence[Source], store: LocalStore
) -> list[Callable[[], Coroutine[Any, Any, None]]]:
    every_s = config.x.recheck_hours * 3600
    looked = [s for s in sources if every_s and isinstance(s, Lookup)]
    return [Recheck(s, store, every_s=every_s, clock=clock).run for s in looked]


async def _standing(
    stack: AsyncExitStack, config: Config, store: LocalStore, folder: Path, listed: Authorities
) -> tuple["Standing", Watcher]:
    """The faces of the standing questions of a folder, and what looks at them."""
    from voxpop.api.watches import standing

    watching, look = config.watching, Look(store, listed, policy(config))
    watches = await stack.enter_async_context(Watches(folder, most=watching.watches, each=watching.watches_each))
    watcher = Watcher(watches, look, clock=clock, every_s=watching.every_s)
    streams, private = config.server.streams, watching.webhooks_private
    return standing(watches, look, clock, streams=streams, private=private), watcher


def tune() -> None:
    """Settings of the whole process, made once it has loaded what stays.

    Collections then pass over what is loaded, which stalls searches otherwise.
    """
    gc.collect()
    gc.freeze()


async def _emptied(config: Config, say: Say) -> Path:
    """The folder of invented posts: they never mix with real ones, nor with those of an earlier night.

    Raises VoxpopError where another voxpop still writes there.
    """
    folder = config.data / "simulated"
    async with open_store(config, folder=folder):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    say("voxpop: SIMULATED STREAM. Bluesky does not answer or was not asked; every post is invented.")
    return folder


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"
