"""What a checkpoint can be converted to: its place, its exact size before a byte is written, and its writer.

It refuses a type that a format has not. A rehearsal writes true headers and no weights.
"""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from shutil import disk_usage

import numpy as np

from voxpop.errors import UsageError, VoxpopError
from voxpop.weights.converting import Progress, convert, leftovers, written
from voxpop.weights.formats.gguf_grok import GgufSink, GgufSource
from voxpop.weights.formats.gguf_keys import numbers
from voxpop.weights.formats.hf import FolderSink
from voxpop.weights.formats.layouts import LAYOUTS
from voxpop.weights.formats.mapped import nbytes
from voxpop.weights.formats.safetensors_file import SafetensorsFile
from voxpop.weights.formats.tokenizer import beside, opened
from voxpop.weights.formats.xai import XaiSink, examine
from voxpop.weights.grok import EMBEDDING, Grok, Spec, scaled
from voxpop.weights.mixes import mix
from voxpop.weights.narrowing import Words, gguf_bytes, words_of
from voxpop.weights.tensors import Held, Hollow, Quantised, Sink, Source, Tensor, bfloat16

_A_FILE = 512  # of a pickle, or a tensor in a safetensors header
_BESIDE = {".json", ".jsonl", ".journal"}

TYPES = {
    "gguf": ("q8_0", "bf16", "f16", "f32"),
    "xai": ("int8",),
    **dict.fromkeys(LAYOUTS, ("bf16", "f16", "f32")),
}


@dataclass(frozen=True, slots=True)
class Target:
    """Where, in which format, in which type; `words` go into a GGUF file, `tokenizer` lies beside safetensors."""

    path: Path
    format: str
    type: str
    words: Words | None = None
    tokenizer: bytes | None = None

    def sink(self, shape: Grok, path: Path | None = None, *, hollow: bool = False) -> Sink:
        """Its writer, to another path if one is given."""
        path = path or self.path
        match self.format:
            case "gguf":
                pieces, template = (self.words.pieces, self.words.template) if self.words else (None, "")
                return GgufSink(path, shape, mix(self.type), vocabulary=pieces, template=template)
            case "xai":
                return XaiSink(path, shape, hollow=hollow)
            case _:
                layout, type_ = LAYOUTS[self.format], self.type.upper()
                return FolderSink(path, layout, shape, type_, tokenizer=self.tokenizer)

    def check(self, shape: Grok) -> None:
        """Raises VoxpopError or UsageError where the format cannot say such a model."""
        if self.format == "gguf":
            numbers(shape)
        elif self.format != "xai":
            LAYOUTS[self.format].config(shape, self.type.upper())


def target(path: Path, format_: str, type_: str | None = None) -> Target:
    """A target; the first type of its format where none is given. Raises UsageError for one that it has not."""
    if format_ not in TYPES:
        raise UsageError(f"There is no format '{format_}'.", f"Choose one of {', '.join(TYPES)}.")
    chosen = (type_ or TYPES[format_][0]).lower()
    if chosen not in TYPES[format_]:
        cure = "Lower types of GGUF are made by: voxpop weights quantize" if format_ == "gguf" else ""
        known = ", ".join(TYPES[format_])
        raise UsageError(
            f"The format {format_} has no type '{type_}', only {known}.", cure or "Choose one of them."
        )
    return Target(path, format_, chosen)


def speaking(to: Target, source: Source, path: Path, tokenizer: Path | None = None) -> Target:
    """The target with the words of the file `tokenizer`, else of the checkpoint at `path`, where it has any.

    Raises VoxpopError for a tokenizer that is damaged or of another model, UsageError where the format keeps none.
    """
    if to.format == "gguf":
        return replace(to, words=words_of(source, path, tokenizer))
    if to.format == "xai":
        if tokenizer:
            raise UsageError("xAI's checkpoint keeps no tokenizer.", "Leave it beside the folder.")
        return to
    file = tokenizer or beside(path)
    if file is None:
        return to
    found = opened(path, file)
    found.check(source.shape)
    return replace(to, tokenizer=found.model)


def expected_bytes(shape: Grok, to: Target) -> int:
    """What the whole will weigh, to a few kilobytes a file."""
    if to.format == "gguf":
        return gguf_bytes(shape, mix(to.type))
    specs = shape.specs.values()
    if to.format == "xai":
        return sum(_A_FILE + s.parameters * (1 if s.int8 else 4) + 2 * prod(s.scales) * s.int8 for s in specs)
    wide = 4 if to.type == "f32" else 2
    head = shape.specs[EMBEDDING].parameters * wide if LAYOUTS[to.format].head else 0
    return head + sum(_A_FILE + s.parameters * (4 if s.small else wide) for s in specs)


def converted(source: Source, path: Path, to: Target, *, force: bool = False) -> Iterator[Progress]:
    """Convert what lies at `path`, or go on with it. Raises as `converting.written` does."""
    to.check(source.shape)
    what = {"format": to.format, "type": to.type}
    need = expected_bytes(source.shape, to)
    return written(source, path, to.path, lambda: to.sink(source.shape), need=need, what=what, force=force)


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What would be written: files and their bytes; source bytes a second of a short conversion on that disk."""

    files: int
    bytes: int
    free: int
    rate: float
    seconds: float

    def text(self) -> str:
        """As a person reads it."""
        fits = "enough" if self.free > self.bytes else "TOO LITTLE"
        return (
            f"{self.files} files, {self.bytes:,} bytes ({self.bytes / 1e9:.2f} GB); {self.free / 1e9:.2f} GB are"
            f" free: {fits}.\nAt the {self.rate / 1e6:.0f} MB/s of a short run on this disk:"
            f" {self.seconds / 60:.0f} min, if the source's disk keeps up."
        )


def rehearsed(source: Source, to: Target) -> Rehearsal:
    """Write every file with its true header and holes for the weights, read it back, and remove it again.

    Then convert a model of some 80 MB, in memory, to the same disk. Raises VoxpopError where a header is wrong.
    """
    folder = next(parent for parent in to.path.resolve().parents if parent.exists())
    total = sum(nbytes(source.read(name)) for name in source.shape.specs)
    free = disk_usage(folder).free
    with tempfile.TemporaryDirectory(prefix=".voxpop-", dir=folder) as scratch:
        files, size = headers(source.shape, to, Path(scratch) / "hollow" / to.path.name)
        rate = _rate(to, Path(scratch) / "short" / to.path.name)
    return Rehearsal(files, size, free, rate, total / rate)


def headers(shape: Grok, to: Target, path: Path) -> tuple[int, int]:
    """Write the whole to `path` with holes for the weights and read the headers: how many files, how many bytes.

    Raises VoxpopError where a header is not what the format's reader expects.
    """
    path.parent.mkdir(exist_ok=True)
    sink = to.sink(shape, path, hollow=True)
    if to.format == "xai":
        for name in shape.specs:
            sink.write(name, Hollow(shape).read(name))
    parts = leftovers(path)
    found = [file for part in parts for file in (part.rglob("*") if part.is_dir() else [part]) if file.is_file()]
    weights = [file for file in found if file.stat().st_size > 0 and file.suffix not in _BESIDE]
    wrong: list[str] = []
    match to.format:
        case "gguf":
            wrong = GgufSource(path.with_name(f"{path.name}.part")).faults(shape)
        case "xai":
            wrong = list(examine(parts[0]).wrong)
        case _:
            for file in weights:
                SafetensorsFile(file)
    if wrong:
        raise VoxpopError(f"The header would be wrong: {wrong[0]}", "Report this.")
    return len(weights), sum(file.stat().st_size for file in weights)


def _rate(to: Target, path: Path) -> float:
    path.parent.mkdir()
    shape = scaled(1, layers=1, vocabulary=4096)
    tensors = {name: _filled(spec) for name, spec in shape.specs.items()}
    sink = Target(path, to.format, to.type).sink(shape, path)
    began = time.monotonic()
    for _ in convert(Held(shape, tensors), sink):
        pass
    sink.close()
    return sum(map(nbytes, tensors.values())) / (time.monotonic() - began)


def _filled(spec: Spec) -> Tensor:
    """As xAI stores it, of any numbers."""
    if not spec.int8:
        return np.ones(spec.shape, np.float32)
    weight = np.resize(np.random.RandomState(0).randint(-127, 128, 1 << 20).astype(np.int8), spec.shape)
    return Quantised(weight, np.ones(spec.scales, bfloat16))
