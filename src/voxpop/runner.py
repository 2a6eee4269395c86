"""Keep one source running: what fails is said and tried again from its cursor; it takes no other source down."""

import asyncio
import logging
from typing import NamedTuple

from voxpop.errors import VoxpopError
from voxpop.ingest import Progress, ingest
from voxpop.sources import Source
from voxpop.store import Store

_log = logging.getLogger(__name__)


class Backoff(NamedTuple):
    """Seconds: the wait after a first failure, the longest one, and the run that forgives earlier ones."""

    first_s: float = 2.0
    longest_s: float = 60.0
    healthy_s: float = 60.0


class Runner:
    """One source and how it fares.

    `restarts` counts failures that were tried again, `crashes` those among them that were faults of ours. Waiting
    doubles from `first_s` to `longest_s`. A lasting error, such as a file that is not there, ends the source.
    """

    def __init__(self, source: Source, store: Store, backoff: Backoff = Backoff()) -> None:  # noqa: B008
        self.source = source
        self.progress = Progress(source.name, source.network, source.simulated)
        self.restarts = self.crashes = 0
        self._store, self._backoff = store, backoff
        self._failure = ""
        self._next: float | None = None

    @property
    def failing(self) -> bool:
        """Whether the last try failed and no other has begun, or none will."""
        return bool(self._failure)

    @property
    def retry_s(self) -> float | None:
        """Seconds until the next try; None while it runs, and when there will be none."""
        if self._next is None:
            return None
        return max(0.0, self._next - asyncio.get_running_loop().time())

    @property
    def state(self) -> str:
        """What the source is doing, or why it does not and when it is tried again."""
        if not self._failure:
            return self.source.state
        wait = self.retry_s
        return self._failure if wait is None else f"trying again in {wait:.0f} s: {self._failure}"

    async def run(self) -> None:
        """Ingest until the source ends, fails for good, or this is cancelled."""
        loop, wait, said = asyncio.get_running_loop(), self._backoff.first_s, ""
        while True:
            began = loop.time()
            error = await self._once()
            if error is None:
                _log.info("the source has ended after %d posts", self.progress.posts, extra=self._named())
                return
            self._failure = _words(error)
            if isinstance(error, VoxpopError) and error.lasting:
                _log.error("stopped. %s", self._failure, extra=self._named())
                return
            if loop.time() - began >= self._backoff.healthy_s:
                wait, said = self._backoff.first_s, ""
            if self._failure != said:
                _log.warning("trying again in %g s. %s", wait, self._failure, extra=self._named(retry_s=wait))
            said, self._next = self._failure, loop.time() + wait
            await asyncio.sleep(wait)
            self.restarts += 1
            self._failure, self._next = "", None
            wait = min(2 * wait, self._backoff.longest_s)

    async def _once(self) -> Exception | None:
        """One run from the stored cursor; what ended it."""
        try:
            await ingest(self.source, self._store, self.progress)
        except VoxpopError as error:
            return error
        except Exception as error:
            self.crashes += 1
            _log.exception("a fault of ours", extra=self._named())
            return error
        return None

    def _named(self, **more: float) -> dict[str, object]:
        return {"source": self.source.name, **more}


def _words(error: Exception) -> str:
    # A stranger's exception may hold the text of a post: only its kind is told.
    return str(error) if isinstance(error, VoxpopError) else f"a fault of ours ({type(error).__name__})"
