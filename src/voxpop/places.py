"""Places for what is under way at once: one over the bound is refused, none is kept waiting."""

from collections.abc import Iterator
from contextlib import contextmanager

from voxpop.errors import VoxpopError


class Places:
    """So many at once, and no more: one over the bound is refused, none is kept waiting."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.taken = 0

    @contextmanager
    def held(self) -> Iterator[None]:
        """A place for as long as this lasts. Raises VoxpopError where none is free."""
        if self.taken >= self._most:
            what = f"{self._most} streams are open already."
            raise VoxpopError(what, "Ask again in a moment, or raise server.streams.", code="too_busy")
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1
