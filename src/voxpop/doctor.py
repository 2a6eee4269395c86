"""`voxpop doctor`: try each link from the network to the index, name the broken one and its cure; mend nothing."""

import asyncio
import os
import shutil
import socket
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import urlsplit

import httpx

from voxpop import app, models
from voxpop.config import Config, Storage
from voxpop.doctor_accounts import examined
from voxpop.engine_choice import Engines, available_memory, models_folder, own_path
from voxpop.errors import VoxpopError
from voxpop.keeping.verify import verify
from voxpop.render import ago
from voxpop.service import clock
from voxpop.source_choice import check_source
from voxpop.sources.auto import parse_spec
from voxpop.sources.bluesky import DEFAULT_HOSTS
from voxpop.sources.feeds_places import places
from voxpop.sources.mastodon_server import address
from voxpop.sources.specs import Spec
from voxpop.sources.x_api import TOKEN as X_TOKEN
from voxpop.store.migration import holds_posts
from voxpop.voices import choose

State = Literal["ok", "warning", "broken"]
_OWN = ("auto", "simulated", "replay", "jsonl")
_FEW, _OURS_S = 3, 1.0
_LOW_DISK = 2 << 30
_LOW_MEMORY = 1 << 30


@dataclass(frozen=True, slots=True)
class Finding:
    """What one link is like; `cure` says what to do where it is not ok."""

    link: str
    state: State
    said: str
    cure: str = ""

    def json(self) -> dict[str, Any]:
        return asdict(self)


async def examine(config: Config) -> list[Finding]:
    """Every link, in the order in which a post travels."""
    return [
        await _network(config),
        *[await _source(config, spec) for spec in config.sources.use],
        _disk(config.data, config.storage),
        _memory(),
        _voices(config),
        _model(config),
        await _port(config.server.host, config.server.port),
        await _index(config),
        *[Finding(link, cast(State, state), *said) async for link, state, *said in examined(config)],
    ]


async def _network(config: Config) -> Finding:
    live = [s for s in config.sources.use if s in ("auto", "bluesky")]
    if not live:
        return Finding("network", "ok", f"No public Jetstream is needed for {', '.join(config.sources.use)}.")
    hosts = config.sources.bluesky_hosts or DEFAULT_HOSTS
    for host in hosts:
        if await _answers(host, config.sources.probe_s):
            return Finding("network", "ok", f"{_shown(host)} answers.")
    tried = ", ".join(str(urlsplit(h).hostname) for h in hosts)
    said = f"No Jetstream host answers ({tried})."
    if live != ["auto"]:
        cure = "Check the connection or a proxy, or use --source auto or --source simulated."
        return Finding("network", "broken", said, cure)
    cure = "Check the connection or a proxy; until then 'voxpop up' plays the simulated stream."
    return Finding("network", "warning", said, cure)


async def _source(config: Config, spec: str) -> Finding:
    try:
        check_source(spec)
        parsed = parse_spec(spec)
        ends = _ends(config, parsed)
    except VoxpopError as error:
        return Finding("source", "broken", error.what, error.cure)
    if parsed.kind in _OWN or (parsed.kind == "bluesky" and not parsed.target):
        return Finding("source", "ok", f"'{spec}' can be opened.")
    if not ends:
        return Finding("source", "ok", f"'{spec}' is known; whether it can be reached was not checked.")
    silent = [_shown(end) for end in ends if not await _answers(end, config.sources.probe_s)]
    if silent:
        cure = "Check the address, the connection or a proxy; voxpop goes on trying while it runs."
        return Finding("source", "warning", f"'{spec}': {', '.join(silent)} does not answer.", cure)
    more = f" (the first {_FEW} of its feeds)" if parsed.kind == "rss" and len(ends) == _FEW else ""
    return Finding("source", "ok", f"'{spec}': {', '.join(map(_shown, ends))} answers{more}.")


def _ends(config: Config, spec: Spec) -> list[str]:
    """The addresses that a source asks, as far as they are known before it is opened."""
    match spec.kind:
        case "bluesky":
            return [spec.target] if spec.target else []
        case "mastodon":
            return [address(spec.target)[0]]
        case "rss":
            if not (named := (spec.target,) if spec.target else config.rss.feeds):
                cure = "Set rss.feeds, or write rss:https://host/feed or rss:LIST.opml."
                raise VoxpopError("Source 'rss' has no feeds.", cure)
            return [p.url for p in places(named)][:_FEW]
        case "x":
            if not os.environ.get(X_TOKEN):
                what = f"The source 'x' needs a bearer token of X's API, and {X_TOKEN} is not set."
                raise VoxpopError(what, f"Make one at console.x.com and set it: export {X_TOKEN}=… (docs/x.md).")
            return [config.x.host]
    return []


def _shown(end: str) -> str:
    return f"{urlsplit(end).hostname}:{_port_of(end)}"


def _port_of(end: str) -> int:
    parts = urlsplit(end)
    try:
        return parts.port or (443 if parts.scheme in ("wss", "https") else 80)
    except ValueError:
        return 0  # nothing answers there


async def _answers(end: str, wait_s: float) -> bool:
    """Whether something listens at an address; nothing is asked of it."""
    try:
        async with asyncio.timeout(wait_s):
            _, writer = await asyncio.open_connection(urlsplit(end).hostname, _port_of(end))
        writer.close()
        return True
    except (OSError, TimeoutError, ValueError):
        return False


def _disk(folder: Path, storage: Storage) -> Finding:
    place = next(p for p in [folder, *folder.absolute().parents] if p.exists())
    free = shutil.disk_usage(place).free
    if not place.is_dir():
        return Finding("disk", "broken", f"{place} is not a folder.", "Choose another folder with --data.")
    if not os.access(place, os.W_OK | os.X_OK):
        return Finding("disk", "broken", f"{place} cannot be written.", "Choose another folder with --data.")
    kept = [f"{n:g} {unit}" for n, unit in ((storage.keep_days, "days"), (storage.keep_gb, "GB")) if n]
    said = f"{free / 2**30:.1f} GiB free at {place}; {' and '.join(kept) or 'all posts'} kept."
    if free < _LOW_DISK:
        return Finding("disk", "warning", said, "Free some space: a model needs 1 to 5 GiB.")
    return Finding("disk", "ok", said)


def _memory() -> Finding:
    free = available_memory()
    said = f"{free / 2**30:.1f} GiB available."
    if free < _LOW_MEMORY:
        return Finding("memory", "warning", said, "Close other programs, or use --engine quote.")
    return Finding("memory", "ok", said)


def _voices(config: Config) -> Finding:
    try:
        known = app.load_voices(config)
        choose(known, config.answers.voice)
    except VoxpopError as error:
        return Finding("voices", "broken", error.what, error.cure)
    return Finding("voices", "ok", f"{', '.join(known)}.")


def _model(config: Config) -> Finding:
    try:
        return _model_of(config)
    except VoxpopError as error:
        return Finding("model", "broken", error.what, error.cure)


def _model_of(config: Config) -> Finding:
    Engines(config, lambda _: None)
    if config.engine.use not in ("auto", "local"):
        return Finding("model", "ok", f"The engine '{config.engine.use}' needs no model here.")
    if not find_spec("openvino"):
        cure = "For a model: pip install 'voxpop[local]'"
        state: State = "broken" if config.engine.use == "local" else "warning"
        return Finding("model", state, "The local engine is not installed; answers are quotes.", cure)
    if path := own_path(config):
        return Finding("model", "ok", f"{path}.")
    folder = models_folder(config)
    here = [m.name for m in models.installed(folder)]
    if config.engine.model and config.engine.model not in here:
        missing = models.missing(folder, models.resolve(config.engine.model))
        return Finding("model", "broken", f"The model '{config.engine.model}' is not in {folder}.", missing.cure)
    if not here:
        return Finding(
            "model", "warning", f"No model in {folder}; answers are quotes.", "Run 'voxpop models pull'."
        )
    return Finding("model", "ok", f"{', '.join(here)} in {folder}.")


async def _port(host: str, port: int) -> Finding:
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except (OSError, OverflowError) as error:
        if isinstance(error, OSError) and await _is_ours(host, port):
            return Finding("port", "ok", f"voxpop is running there: {host}:{port}.")
        why = error.strerror if isinstance(error, OSError) else "there is no such port"
        cure = "Stop what uses it (perhaps another voxpop), or choose --port."
        return Finding("port", "broken", f"{host}:{port} cannot be used: {why}.", cure)
    return Finding("port", "ok", f"{host}:{port} is free.")


async def _is_ours(host: str, port: int) -> bool:
    """Whether a voxpop answers there."""
    where = f"[{host}]" if ":" in host else host
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=_OURS_S) as client:
            answer = await client.get(f"http://{where}:{port}/api/status")
            status: dict[str, Any] = answer.json()
        if answer.status_code == 401:  # it has accounts, and knows nobody by no key
            return bool(status["error"]["code"] == "invalid_api_key")
        return {"sources", "store", "process"} <= status.keys()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, AttributeError, LookupError, TypeError):
        return False


async def _index(config: Config) -> Finding:
    if not holds_posts(config.data):
        return Finding("index", "ok", f"No posts yet in {config.data}.")
    try:
        async with app.open_store(config, readonly=True) as store:
            totals = await store.totals()
        elsewhere = bool(config.records.url)
        checked = await asyncio.to_thread(verify, config.data, lambda *_: None, elsewhere=elsewhere)
        faults = checked.faults
    except VoxpopError as error:
        return Finding("index", "broken", error.what, error.cure)
    if faults:
        return Finding("index", "warning", " ".join(f.what for f in faults), faults[0].cure)
    newest = f", newest {ago(clock() - totals['newest'])}" if totals["newest"] else ""
    return Finding("index", "ok", f"{totals['posts']} posts{newest}; truth and index agree.")
