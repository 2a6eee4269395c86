"""Open the source that a spec names; it refuses a spec that it does not know, and says which it may have meant.

Specs: `bluesky`, `bluesky:wss://host/subscribe`, `replay:PATH?speed=max`, `simulated?seed=7&speed=1`, and `auto`:
Bluesky if it answers, otherwise the simulated night, marked as such. Whoever calls brings the simulator: a function
that starts it with a seed and a speed and returns its websocket address.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Literal
from urllib.parse import parse_qsl, urlsplit

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from voxpop.errors import UsageError, VoxpopError
from voxpop.sources import Source
from voxpop.sources.bluesky import DEFAULT_HOSTS, BlueskySource, Patience
from voxpop.sources.handles import PUBLIC, Directories
from voxpop.sources.replay import ReplaySource

Simulator = Callable[[int, float], Awaitable[str]]
_SIMULATED_SPEED = 5.0
_WHOLE_NIGHT_S = 24 * 3600.0
_OPTIONS: dict[str, tuple[str, ...]] = {
    "auto": (),
    "bluesky": (),
    "replay": ("speed",),
    "simulated": ("seed", "speed"),
}


@dataclass(frozen=True, slots=True)
class Spec:
    """A source as a person writes it: its kind, what follows the colon, and the options after the question mark."""

    kind: str
    target: str = ""
    options: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ways:
    """What a spec leaves open: the public hosts, how far back to begin, and how to reach the simulator."""

    hosts: Sequence[str] = DEFAULT_HOSTS
    lookback_s: float = 1800.0
    dictionary: str = ""
    directories: Directories | None = PUBLIC
    probe_s: float = 5.0
    simulator: Simulator | None = None


_DEFAULT = Ways()


def parse_spec(text: str) -> Spec:
    """Read a spec, or say what is wrong with it."""
    kind, colon, rest = text.strip().partition(":")
    if not colon:
        kind, _, query = kind.partition("?")
        target = ""
    elif kind == "replay":
        target, _, query = rest.rpartition("?") if "?" in rest else (rest, "", "")
    else:
        target, query = rest, ""
    if kind not in _OPTIONS:
        raise UsageError(f"No source is called {text!r}.", _meant(kind, tuple(_OPTIONS)))
    if (kind == "replay") != bool(target) and kind != "bluesky":
        raise UsageError(
            f"Source {text!r} is incomplete or too long.", "Write 'replay:PATH', 'simulated' or 'auto'."
        )
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options:
        if name not in _OPTIONS[kind]:
            raise UsageError(f"Source {kind!r} has no option {name!r}.", _meant(name, _OPTIONS[kind]))
    _speed(options), _seed(options)
    return Spec(kind, target, options)


async def open_source(spec: str, ways: Ways = _DEFAULT) -> Source:
    """The source that the spec names, ready to be read; `auto` decides here, once."""
    asked = parse_spec(spec)
    if asked.kind == "replay":
        return ReplaySource(asked.target, _speed(asked.options))
    if asked.kind == "simulated":
        return await _simulated(asked, ways)
    if asked.kind == "bluesky":
        return _bluesky(ways, (asked.target,) if asked.target else ())
    answering = await probe(ways.hosts, ways.probe_s)
    if answering:
        return _bluesky(ways, (), first=answering)
    if ways.simulator is None:
        raise VoxpopError(
            f"None of {len(ways.hosts)} Bluesky hosts answered within {ways.probe_s:g} s.",
            "Check the network, or name another source, such as replay:PATH.",
        )
    return await _simulated(asked, ways)


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


def _meant(word: str, known: tuple[str, ...]) -> str:
    close = get_close_matches(word, known, 1)
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"Known: {', '.join(known)}." if known else "It takes none."
