"""`voxpop weights`: the open weights of the Grok family, from the released files to what a machine runs; it prints.

The other commands of the group stand in `cli_weights_*.py`; what they need is imported when they run.
"""

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

import click

from voxpop.errors import VoxpopError

_EXTRA = {"gguf", "matplotlib", "ml_dtypes", "numpy", "safetensors", "sentencepiece", "torch", "xllamacpp"}


def needs_extra(work: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., Coroutine[Any, Any, None]]:
    """Stands under `@runs`: what the extra `voxpop[weights]` would bring and is missing is a VoxpopError."""

    @wraps(work)
    async def command(*args: Any, **kwargs: Any) -> None:
        try:
            await work(*args, **kwargs)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in _EXTRA:
                raise
            cure = "Install it with: pip install 'voxpop[weights]'"
            raise VoxpopError(f"This command needs {error.name}.", cure, code="not_installed") from error

    return command


@click.group("weights")
def weights() -> None:
    """Grok's open weights: look at them, convert, verify and shrink them, and what they need to run.

    Example: voxpop weights inspect grok-1/ckpt-0
    """
