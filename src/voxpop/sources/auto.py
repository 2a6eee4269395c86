"""Open the source that a spec names: our own kinds, and those that other packages offer as entry points.

`auto` is Bluesky if it answers, otherwise the simulated night, marked as such. Whoever calls brings the simulator:
a function that starts it with a seed and a speed and returns its websocket address.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from voxpop.errors import UsageError, VoxpopError
from voxpop.sources import Source
from voxpop.sources.bluesky import DEFAULT_HOSTS, BlueskySource, Patience
from voxpop.sources.feeds_pace import FeedSettings
from voxpop.sources.feeds_places import is_address, place, places
from voxpop.sources.handles import PUBLIC, Directories
from voxpop.sources.jsonl import JsonlSource
from voxpop.sources.mastodon import KIND as MASTODON
from voxpop.sources.replay import ReplaySource
from voxpop.sources.rss import RssSource
from voxpop.sources.specs import GROUP, Kind, Spec, parse
from voxpop.sources.x import XSettings, XSource
from voxpop.sources.x_api import TOKEN as X_TOKEN

Simulator = Callable[[int, float], Awaitable[str]]
_SIMULATED_SPEED = 5.0
_WHOLE_NIGHT_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Ways:
    """What a spec leaves open: the public hosts, how far back to begin, and how to reach the simulator.

    `secret` gives a token by its name, such as `VOXPOP_X_TOKEN`; empty where there is none.
    """

    hosts: Sequence[str] = DEFAULT_HOSTS
    lookback_s: float = 1800.0
    dictionary: str = ""
    engagement: bool = False
    directories: Directories | None = PUBLIC
    probe_s: float = 5.0
    simulator: Simulator | None = None
    rss: FeedSettings = FeedSettings()
    x: XSettings = XSettings()
    secret: Callable[[str], str] = field(default=lambda _: "")


_DEFAULT = Ways()


def parse_spec(text: str) -> Spec:
    """Read a spec, or say what is wrong with it."""
    return parse(text, kinds())


async def open_source(spec: str, ways: Ways = _DEFAULT) -> Source:
    """The source that the spec names, ready to be read; `auto` decides here, once."""
    asked = parse_spec(spec)
    return await kinds()[asked.kind].opens(asked, ways)


@cache
def kinds() -> Mapping[str, Kind]:
    """Every kind of source by its name. Raises VoxpopError for a package's offer that cannot be used."""
    found = dict(_OWN)
    for point in entry_points(group=GROUP):
        if point.name in _OWN:
            raise VoxpopError(f"A package offers a source called {point.name!r}, which is ours.", "Remove it.")
        try:
            found[point.name] = kind = point.load()
        except Exception as error:
            raise VoxpopError(f"The source {point.name!r} ({point.value}) failed: {error}.", "Mend it.") from error
        if not isinstance(kind, Kind):
            raise VoxpopError(f"The source {point.name!r} ({point.value}) is no Kind.", "See docs/plugins.md.")
    return found


async def _open_auto(spec: Spec, ways: Ways) -> Source:
    answering = await probe(ways.hosts, ways.probe_s)
    if answering:
        return _bluesky(ways, (), first=answering)
    if ways.simulator is None:
        raise VoxpopError(
            f"None of {len(ways.hosts)} Bluesky hosts answered within {ways.probe_s:g} s.",
            "Check the network, or name another source, such as replay:PATH.",
        )
    return await _simulated(spec, ways)


async def _open_bluesky(spec: Spec, ways: Ways) -> Source:
    return _bluesky(ways, (spec.target,) if spec.target else ())


async def _open_replay(spec: Spec, _: Ways) -> Source:
    return ReplaySource(spec.target, _speed(spec.options))


async def _open_jsonl(spec: Spec, _: Ways) -> Source:
    return JsonlSource(spec.target)


async def _open_rss(spec: Spec, ways: Ways) -> Source:
    named = (spec.target,) if spec.target else ways.rss.feeds
    if not named:
        raise UsageError(
            "Source 'rss' has no feeds.", "Set rss.feeds, or write rss:https://host/feed or rss:LIST.opml."
        )
    found = await asyncio.to_thread(places, named)
    if not spec.target:
        return RssSource(found, ways.rss)
    return RssSource(
        found, ways.rss, name=f"rss:{found[0].name if is_address(spec.target) else Path(spec.target).name}"
    )


def _check_rss(spec: Spec) -> None:
    if is_address(spec.target):
        place(spec.target)


async def _open_x(_: Spec, ways: Ways) -> Source:
    return XSource(ways.secret(X_TOKEN), ways.x)


async def probe(hosts: Sequence[str], within_s: float = 5.0) -> str:
    """The host that opens first; empty if none does in time."""
    tries = [asyncio.create_task(_opens(host, within_s)) for host in hosts]
    try:
        for answer in asyncio.as_completed(tries, timeout=within_s):
            if host := await answer:
                return host
    except TimeoutError:
        pass
    finally:
        for task in tries:
            task.cancel()
        await asyncio.gather(*tries, return_exceptions=True)
    return ""


async def _opens(host: str, within_s: float) -> str:
    try:
        async with connect(host, open_timeout=within_s, close_timeout=0.1, compression=None):
            return host
    except (OSError, TimeoutError, WebSocketException, ValueError, ImportError):
        return ""


def _bluesky(ways: Ways, own: tuple[str, ...], first: str = "") -> BlueskySource:
    hosts = own or (first, *(h for h in ways.hosts if h != first)) if first or own else tuple(ways.hosts)
    return BlueskySource(
        hosts,
        name=f"bluesky:{urlsplit(own[0]).netloc}" if own else "bluesky",
        compress=bool(ways.dictionary),
        dictionary=ways.dictionary or None,
        lookback_s=ways.lookback_s,
        engagement=ways.engagement,
        directories=ways.directories,
    )


async def _simulated(spec: Spec, ways: Ways) -> BlueskySource:
    if ways.simulator is None:
        raise VoxpopError("No simulator is at hand.", "Name another source, such as bluesky or replay:PATH.")
    speed = _speed(spec.options, _SIMULATED_SPEED)
    url = await ways.simulator(_seed(spec.options), 1.0 if speed == "max" else speed)
    return BlueskySource(
        (url,),
        name="simulated",
        network="simulated",
        simulated=True,
        lookback_s=max(ways.lookback_s, _WHOLE_NIGHT_S),
        engagement=ways.engagement,
        patience=Patience(gap_s=float("inf")),  # nothing came before the night began
        directories=Directories.at(f"http://{urlsplit(url).netloc}"),
    )


def _speed(options: dict[str, str], default: float | Literal["max"] = "max") -> float | Literal["max"]:
    text = options.get("speed", "")
    if text in ("", "max"):
        return default if not text else "max"
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise UsageError(f"Speed {text!r} is not possible.", "Give 'max' or a number above 0, such as speed=10.")
    return speed


def _seed(options: dict[str, str]) -> int:
    text = options.get("seed", "7")
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise UsageError(f"Seed {text!r} is not possible.", "Give a whole number, such as seed=7.")
    return int(text)


_OWN = {
    "auto": Kind("Bluesky if it answers, else the simulated stream", "auto", _open_auto),
    "bluesky": Kind(
        "Bluesky's Jetstream, live, no key", "bluesky or bluesky:wss://host/subscribe", _open_bluesky, "may"
    ),
    "jsonl": Kind("rows of JSON, piped in or appended", "jsonl (standard input) or jsonl:PATH", _open_jsonl, "may"),
    "mastodon": MASTODON,
    "replay": Kind(
        "recorded posts", "replay:PATH?speed=max", _open_replay, "must", ("speed",), lambda s: _speed(s.options)
    ),
    "rss": Kind(
        "news feeds: RSS, Atom, RDF, JSON Feed", "rss, rss:https://host/feed or rss:LIST.opml", _open_rss, "may",
        check=_check_rss,
    ),
    "simulated": Kind(
        "an invented election night, for trying things out", "simulated?seed=7&speed=5", _simulated,
        options=("seed", "speed"), check=lambda s: (_speed(s.options), _seed(s.options)),
    ),
    "x": Kind("X's filtered stream, paid for by the post (docs/x.md)", "x", _open_x),
}  # fmt: skip
