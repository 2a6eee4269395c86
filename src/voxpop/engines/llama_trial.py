"""Try a GGUF file in a process of its own: llama.cpp ends the whole process over some damage; that file is refused.

`python -m voxpop.engines.llama_trial FILE` reads the header and plans the computation; no weight is read.
"""

import subprocess
import sys
from pathlib import Path

from voxpop.engines.llamacpp import LlamaModel
from voxpop.errors import VoxpopError

_PATIENCE_S = 120.0
_LONGEST = 400


def tried(path: Path) -> None:
    """Returns where llama.cpp takes the file. Raises VoxpopError where it does not, whatever that did to it."""
    command = [sys.executable, "-m", __name__, str(path)]
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and module
            command, capture_output=True, timeout=_PATIENCE_S, check=False, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        raise _refused(path, f"llama.cpp did not come to an end with it in {_PATIENCE_S:.0f} s") from error
    if done.returncode:
        why = done.stdout[-_LONGEST:].decode("utf-8", "replace").strip()
        raise _refused(path, why or f"llama.cpp ended with {done.returncode} over it")


def _refused(path: Path, why: str) -> VoxpopError:
    cure = "Remove it and make or pull the model again."
    return VoxpopError(f"'{path.name}' cannot be loaded: {why.removesuffix('.')}.", cure, code="bad_model")


def _try(path: Path) -> int:
    try:
        LlamaModel(path, context=256, threads=1, planned=True).close()
    except VoxpopError as error:
        print(error.what)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_try(Path(sys.argv[1])))
