"""Choose the engine: `quote` from the start, and a model when one is ready, without a restart."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from voxpop import models
from voxpop.config import Config
from voxpop.engines import Engine, EngineInfo
from voxpop.engines.echo import EchoEngine
from voxpop.engines.openai import OpenAIEngine
from voxpop.engines.quote import QuoteEngine
from voxpop.errors import UsageError, VoxpopError
from voxpop.messages import Delta, Prompt

_NAMES = ("auto", "quote", "local", "openai", "echo")
_HUB_S = 3.0
_MAY_WRITE = 3  # rank in the catalogue from which `auto` lets a model write facts; below, quotes did better


class Talker:
    """A model that converses but does not write facts: too small to be better than the posts' own words."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def generate(self, prompt: Prompt, schema: Mapping[str, Any] | None = None) -> AsyncIterator[Delta]:
        return self._engine.generate(prompt, schema)

    def check(self, schema: Mapping[str, Any]) -> None:
        self._engine.check(schema)

    def count(self, text: str) -> int:
        return self._engine.count(text)

    def describe(self) -> EngineInfo:
        return replace(self._engine.describe(), writes=False)


class Engines:
    """Which engine answers now, and what is being done about a better one (`state`, healthy when `ready…`).

    `instructions` are the system messages to keep computed. Raises UsageError for an engine that is not known.
    """

    def __init__(self, config: Config, say: Callable[[str], None], instructions: list[str] | None = None) -> None:
        if config.engine.use not in _NAMES:
            raise UsageError(f"No engine '{config.engine.use}'.", f"Choose one of: {', '.join(_NAMES)}.")
        self._config = config
        self._say = say
        self._instructions = instructions or []
        self._engine = _without_model(config)
        self.state = "ready"

    def now(self) -> Engine:
        """The engine that answers the next request."""
        return self._engine

    async def prepare(self) -> None:
        """Bring a model up in the background; what goes wrong is said, and quotes go on."""
        try:
            await self.load_now(pull=self._config.engine.pull)
        except VoxpopError as error:
            self._report(f"quotes only. {error}")

    async def load_now(self, *, pull: bool = False) -> None:
        """Bring the configured model up. `auto` stays with quotes where no model is here and `pull` is off.

        Raises VoxpopError where the model that was asked for cannot be had.
        """
        use = self._config.engine.use
        if use not in ("auto", "local"):
            return
        if not find_spec("openvino"):
            if use == "local":
                cure = "Install it with: pip install 'voxpop[local]'"
                raise VoxpopError("The local engine is not installed.", cure, code="no_local_engine")
            return
        folder = models_folder(self._config)
        model = await asyncio.to_thread(self._wanted, folder, pull)
        if model is None:
            return
        path = own_path(self._config) or models.path_of(folder, model)
        if not path.is_file() and pull and not model.how:
            await self._pull(model, folder)
        if not path.is_file():
            raise models.missing(folder, model)
        await self._load(model, path)

    def _wanted(self, folder: Path, pull: bool) -> models.Model | None:
        if path := own_path(self._config):
            return models.Model(path.stem, "", path.stat().st_size, 0, 0, "", 0, "")
        if self._config.engine.model:
            return models.resolve(self._config.engine.model)
        here = {m.name for m in models.installed(folder)}
        may_pull = set(models.obtainable(hub=hub_answers())) if pull else set()
        best = models.best_for(available_memory(), here | may_pull)
        if best is None and self._config.engine.use == "local":
            raise VoxpopError("No model is on this machine.", "Run 'voxpop models pull'.", code="no_model")
        return best

    async def _pull(self, model: models.Model, folder: Path) -> None:
        self._report(f"downloading {model.name} ({model.size / 2**30:.1f} GiB), answering with quotes meanwhile")
        async with aclosing(models.pull(model, folder)) as steps:  # type: ignore[type-var]
            async for step in steps:
                self.state = f"downloading {model.name}: {told(step)}; quotes meanwhile"

    async def _load(self, model: models.Model, path: Path) -> None:
        self._report(f"loading {model.name}, answering with quotes meanwhile")
        wish = (available_memory(), lambda share: self._loaded(model, share), self._report)
        engine = await asyncio.to_thread(open_local, path, model.name, self._instructions, *wish)
        talks_only = self._config.engine.use == "auto" and model.rank < _MAY_WRITE
        self._engine = Talker(engine) if talks_only else engine
        doing = "talks, quotes answer from posts" if talks_only else "writes, every sentence is checked"
        self._report(f"ready: {model.name} {doing}")

    def _loaded(self, model: models.Model, share: float) -> None:
        self.state = f"loading {model.name}: {share:.0%}; quotes meanwhile"

    def _report(self, state: str) -> None:
        self.state = state
        self._say(f"engine: {state}")


def open_local(
    path: Path,
    name: str,
    instructions: list[str],
    room: int = 0,
    progress: Callable[[float], None] = lambda share: None,
    warn: Callable[[str], None] = lambda text: None,
) -> Engine:
    """Load a GGUF model and compute the fixed instructions; slow, so call it in a thread.

    `room` is the memory in bytes that it may take, 0 unknown; see `runtimes.Wish` for the two that are called.
    """
    from voxpop.engines.local import LocalEngine
    from voxpop.engines.runtimes import Wish

    engine = LocalEngine.open(path, Wish(room=room, progress=progress, warn=warn), name=name)
    engine.warm(instructions)
    return engine


def own_path(config: Config) -> Path | None:
    """The file where a model is named by its file, not by its place in the catalogue.

    Raises UsageError where there is no such file.
    """
    if not config.engine.model.endswith(".gguf"):
        return None
    path = Path(config.engine.model).expanduser()
    if not path.is_file():
        raise UsageError(f"There is no file {path}.", "Give the path of a GGUF file, or a name of 'voxpop models'.")
    return path


def told(step: models.Progress) -> str:
    """Progress of a download, for people."""
    share = 100 * step.received / max(step.total, 1)
    rate = f", {step.rate / 1e6:.1f} MB/s" if step.rate else ""
    left = f", {step.left_s:.0f} s left" if step.left_s is not None else ""
    return f"{share:.0f} %{rate}{left}"


def models_folder(config: Config) -> Path:
    """Where models are kept."""
    own = config.data / "models"
    above = config.data.parent / "models"
    return above if config.data.name == "simulated" and not own.exists() else own


def hub_answers() -> bool:
    """Whether the hub can be reached at all."""
    parts = urlsplit(os.environ.get("VOXPOP_HUB") or models.HUB)
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 443), timeout=_HUB_S):
            return True
    except OSError:
        return False


def available_memory() -> int:
    """Bytes that a new program could use without swapping."""
    try:
        rows = Path("/proc/meminfo").read_text("ascii").splitlines()
        return next(int(r.split()[1]) * 1024 for r in rows if r.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _without_model(config: Config) -> Engine:
    if config.engine.use == "openai":
        key = os.environ.get("VOXPOP_OPENAI_KEY", "")
        return OpenAIEngine(
            config.engine.url, config.engine.model or "default", key, grammar_field=config.engine.grammar_field
        )
    return EchoEngine() if config.engine.use == "echo" else QuoteEngine()
