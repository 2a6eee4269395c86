"""What every command shares: its options, its config, and how it fails; it runs nothing of its own."""

import asyncio
import atexit
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn

import click
import orjson

from voxpop.config import Config, load
from voxpop.errors import UsageError, VoxpopError
from voxpop.inert import visible

_ENDING = (signal.SIGINT, signal.SIGTERM)
_PATIENCE_S = 1.0


def _fail(error: VoxpopError, as_json: bool) -> NoReturn:
    if as_json:
        click.echo(
            orjson.dumps({"error": {"message": error.what, "cure": error.cure, "code": error.code}}).decode()
        )
    else:
        click.echo(visible(f"voxpop: {error}"), err=True)
    sys.exit(2 if isinstance(error, UsageError) else 1)


def runs(work: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async command; a VoxpopError is printed as one line (JSON with --json) and sets the exit code.

    SIGINT and SIGTERM end it with 130.
    """

    @wraps(work)
    def command(*args: Any, **kwargs: Any) -> None:
        before = {number: signal.getsignal(number) for number in _ENDING}
        asked: list[float] = []
        try:
            asyncio.run(_stoppable(work(*args, **kwargs), asked))
        except VoxpopError as error:
            _fail(error, bool(kwargs.get("as_json")))
        except (KeyboardInterrupt, asyncio.CancelledError):
            sys.exit(130)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        finally:
            if asked:  # one more, while Python ends, must not make another exit code of ours
                atexit.register(_answered_by, dict.fromkeys(_ENDING, signal.SIG_IGN))
            else:
                _answered_by(before)

    return command


def _answered_by(ways: Mapping[signal.Signals, Any]) -> None:
    with suppress(ValueError):  # only the main thread has signals
        for number, way in ways.items():
            signal.signal(number, way)


async def _stoppable(work: Coroutine[Any, Any, None], asked: list[float]) -> None:
    """The first signal cancels the work, which then closes what it has open; a second must not break that off.

    One that comes later ends the program at once: somebody does not want to wait. The store stands that. `asked`
    is told when the first came.
    """
    task, loop = asyncio.current_task(), asyncio.get_running_loop()

    def stop(*_: object) -> None:
        if asked and time.monotonic() - asked[0] > _PATIENCE_S:
            os._exit(130)
        if task and not asked:
            asked.append(time.monotonic())
            loop.call_soon_threadsafe(task.cancel)

    _answered_by(dict.fromkeys(_ENDING, stop))
    await work


def shortened(cursor: str | None) -> str:
    """A cursor as a person sees it: a source of many feeds keeps kilobytes there."""
    return (
        "none"
        if cursor is None
        else cursor
        if len(cursor) <= 80
        else f"{cursor[:79]}… ({len(cursor):,} characters)"
    )


data_option = click.option("--data", type=click.Path(path_type=Path), help="Data folder (posts, index, models).")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
key_option = click.option(
    "--key",
    envvar="VOXPOP_KEY",
    show_envvar=True,
    help="Your key, where the server has accounts; who lists processes sees what stands on a command line.",
)
as_of_option = click.option("--as-of", help="Answer as if it were then: ISO time, or such as -2h.")
engine_option = click.option("--engine", help="auto, quote, local, openai or echo.")
model_option = click.option("--model", help="A model (see: voxpop models), or a GGUF file.")
voice_option = click.option("--voice", help="A voice (see: voxpop voices).")
source_option = click.option(
    "--source",
    "sources",
    multiple=True,
    help="Such as auto, rss or replay:PATH (see: voxpop sources). May be repeated.",
)


def keyed(key: str | None) -> dict[str, str]:
    """The header by which a running server knows who asks; none without a key. Raises UsageError."""
    if key and not (key.isascii() and key.isprintable()):
        raise UsageError("The key has characters that no key has.", "Give it as it was shown: vx-…")
    return {"authorization": f"Bearer {key}"} if key else {}


def refused_key(status: int, key: str | None, endpoint: str) -> UsageError | None:
    """What a server's 401 or 403 means to who gave this key; None for another status."""
    if status == 403:
        cure = f"Use a key for the endpoint '{endpoint}', or one without scopes."
        return UsageError("The key is not for this.", cure, code="forbidden")
    if status != 401:
        return None
    what = "The running server does not know this key." if key else "The running server has accounts."
    cure = "Give a key of yours with --key or VOXPOP_KEY; an admin makes one with: voxpop keys create NAME"
    return UsageError(what, cure, code="invalid_api_key")


def config_of(context: click.Context, **given: Any) -> Config:
    """The config with what the command line gives laid over it."""
    config = load(context.find_root().obj, os.environ)
    places = {
        "host": ("server", "host"),
        "port": ("server", "port"),
        "data": ("storage", "data"),
        "sources": ("sources", "use"),
        "engine": ("engine", "use"),
        "model": ("engine", "model"),
        "voice": ("answers", "voice"),
    }
    for name, (section, key) in places.items():
        value = given.get(name)
        if value not in (None, ()):
            typed = str(value) if isinstance(value, Path) else value
            config = replace(config, **{section: replace(getattr(config, section), **{key: typed})})
    return config
