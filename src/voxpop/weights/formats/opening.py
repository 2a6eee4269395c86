"""Which format a path holds, told by looking at it, and its reader; what is in none of the formats is refused."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from voxpop.errors import UsageError
from voxpop.weights.formats import xai
from voxpop.weights.tensors import Source

Tell = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Format:
    """A way in which checkpoints lie on a disk. `opened` imports what it needs."""

    title: str
    looks_so: Callable[[Path], bool]
    opened: Callable[[Path, Tell], Source]


def _safetensors(path: Path) -> Source:
    from voxpop.weights.formats.hf import FolderSource

    return FolderSource(path)


def _gguf(path: Path) -> Source:
    from voxpop.weights.formats.gguf_grok import GgufSource

    return GgufSource(path)


def _begins_as_gguf(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"GGUF"


FORMATS = {
    "xai": Format("xAI's folder ckpt-0", lambda path: xai.folder_of(path) is not None, xai.XaiSource),
    "safetensors": Format(
        "a folder with config.json and safetensors",
        lambda path: (path / "config.json").is_file(),
        lambda path, _: _safetensors(path),
    ),
    "gguf": Format("a GGUF file of architecture grok", _begins_as_gguf, lambda path, _: _gguf(path)),
}


def format_of(path: Path) -> str:
    """The name of its format, of FORMATS. Raises UsageError where it has none."""
    if not path.exists():
        if path.with_name(f"{path.name}.part").exists():
            raise UsageError(f"{path} was not written to its end.", "Run what wrote it again: it goes on.")
        raise UsageError(f"There is nothing at {path}.", "Check the path.", code="not_found")
    for name, format_ in FORMATS.items():
        if format_.looks_so(path):
            return name
    known = "; ".join(format_.title for format_ in FORMATS.values())
    raise UsageError(f"{path} is in no format of Grok's weights.", f"Give one of these: {known}.")


def opened(path: Path, tell: Tell = lambda done, total: None) -> Source:
    """A checkpoint to read. `tell(files done, files in all)` is called where opening takes long.

    Raises UsageError where the path holds none, VoxpopError where it is not whole or not right.
    """
    return FORMATS[format_of(path)].opened(path, tell)
