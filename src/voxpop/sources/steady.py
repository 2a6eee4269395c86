"""A clock that is never set back while the program runs; it does not say which of two clocks is right."""

import time
from collections.abc import Callable

_SLACK_S = 1.0


class Steady:
    """Seconds since 1970 by `clock`; where that is set back, the time goes on by what `steady` counts.

    A network's times that were well a moment ago would otherwise lie in our future, and be dropped. A clock that is
    set forward, or that went on while the machine slept, is followed.
    """

    def __init__(
        self, clock: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock, self._steady = clock, steady
        self._wall, self._counted = clock(), steady()

    def __call__(self) -> float:
        wall, counted = self._clock(), self._steady()
        expected = self._wall + counted - self._counted
        if wall < expected - _SLACK_S:
            return expected
        self._wall, self._counted = wall, counted
        return wall
