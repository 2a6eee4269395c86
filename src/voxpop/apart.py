"""Heavy steps on a thread of their own, so that the loop goes on serving everybody else; only pure ones.

One thread: Python computes on one at a time anyway, and of several each would make the loop wait for its turn.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
_THREAD = ThreadPoolExecutor(1, "voxpop-weighing")


async def apart(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `work` gives; it must touch nothing that others change. Cancelled before its turn, it is not run."""
    return await asyncio.get_running_loop().run_in_executor(_THREAD, lambda: work(*args, **kwargs))
