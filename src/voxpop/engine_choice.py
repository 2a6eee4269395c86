"""Choose the engine: `quote` from the start, and a model when one is ready, without a restart."""

import os
from collections.abc import Callable

from voxpop.config import Config
from voxpop.engines import Engine
from voxpop.engines.echo import EchoEngine
from voxpop.engines.openai import OpenAIEngine
from voxpop.engines.quote import QuoteEngine
from voxpop.errors import UsageError

_NAMES = ("auto", "quote", "local", "openai", "echo")


class Engines:
    """Which engine answers now, and what is being done about a better one (`state`)."""

    def __init__(self, config: Config, say: Callable[[str], None]) -> None:
        if config.engine.use not in _NAMES:
            raise UsageError(f"No engine '{config.engine.use}'.", f"Choose one of: {', '.join(_NAMES)}.")
        self._config = config
        self._say = say
        self._engine = _without_model(config)
        self.state = "ready"

    def now(self) -> Engine:
        """The engine that answers the next request."""
        return self._engine

    async def prepare(self) -> None:
        """Bring a model up in the background; what goes wrong is said, and the engine of now goes on."""

    async def load_now(self) -> None:
        """Bring the configured model up before the first question; raises VoxpopError where that fails."""


def _without_model(config: Config) -> Engine:
    if config.engine.use == "openai":
        key = os.environ.get("VOXPOP_OPENAI_KEY", "")
        return OpenAIEngine(
            config.engine.url, config.engine.model or "default", key, grammar_field=config.engine.grammar_field
        )
    return EchoEngine() if config.engine.use == "echo" else QuoteEngine()
