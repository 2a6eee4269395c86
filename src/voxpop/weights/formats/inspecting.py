"""What a checkpoint is, of any format: its sizes, what it is stored as, and what it lacks; it reads no tensor."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any, Protocol, runtime_checkable

import numpy as np

from voxpop.errors import VoxpopError
from voxpop.weights.formats import xai
from voxpop.weights.formats.mapped import nbytes
from voxpop.weights.formats.opening import FORMATS, Tell, format_of, opened
from voxpop.weights.grok import GROK_1, Grok, Spec
from voxpop.weights.tensors import Packed, Quantised, Source, Tensor


@dataclass(frozen=True, slots=True)
class Row:
    """One tensor as it is stored; `bytes` are its own, without a file's head."""

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    bytes: int
    stored: str


@dataclass(frozen=True, slots=True)
class Inspection:
    """`wrong`: what keeps the checkpoint from being used; `doubts`: what does not, and should be known.

    `shape` is None where the sizes cannot be told; `rows` are the tensors, where all is there.
    """

    path: Path
    format: str
    shape: Grok | None = None
    rows: tuple[Row, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    wrong: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """Of all tensors."""
        return sum(row.bytes for row in self.rows)

    def kinds(self) -> list[dict[str, Any]]:
        """By kind of tensor: how many, parameters, bytes, and how many are stored in which way."""
        found = []
        for kind in dict.fromkeys(row.kind for row in self.rows):
            of = [row for row in self.rows if row.kind == kind]
            found.append(
                {
                    "kind": kind,
                    "tensors": len(of),
                    "parameters": sum(row.parameters for row in of),
                    "bytes": sum(row.bytes for row in of),
                    "stored": dict(Counter(row.stored for row in of)),
                }
            )
        return found

    def json(self, *, tensors: bool = False) -> dict[str, Any]:
        """Everything; each tensor by itself only where it is asked for."""
        return {
            "path": str(self.path),
            "format": self.format,
            "whole": not self.wrong,
            "wrong": list(self.wrong),
            "doubts": list(self.doubts),
            "sizes": asdict(self.shape) if self.shape else None,
            "parameters": self.shape.parameters if self.shape else None,
            "active": self.shape.active if self.shape else None,
            "bytes": self.bytes,
            "kinds": self.kinds(),
            "facts": self.facts,
            "next": self.next(),
        } | ({"tensors": [asdict(row) for row in self.rows]} if tensors else {})

    def next(self) -> str:
        """The command that comes after this one."""
        path = quote(str(self.path))
        if self.wrong:
            return f"voxpop weights inspect {path}"
        if self.format == "gguf" and not self.doubts:
            return f"voxpop up --engine local --model {path}"
        if self.format == "gguf":
            return "make it anew of its source, with --tokenizer"
        if self.shape == GROK_1:
            return "voxpop weights plan"
        return f"voxpop weights convert {path} {quote(f'{self.path.resolve().name}.gguf')} --to gguf"


@runtime_checkable
class Faulty(Protocol):
    """A source that can be opened where something is wrong with it."""

    def faults(self) -> list[str]:
        """What is wrong, a sentence each."""
        ...


def inspect(path: Path, tell: Tell = lambda done, total: None) -> Inspection:
    """Look at a checkpoint. Raises UsageError where the path holds none in any format that we read."""
    name = format_of(path)
    if name == "xai":
        return _xai(path, tell)
    try:
        source = opened(path, tell)
        rows = tuple(_rows(source))
    except VoxpopError as error:
        return Inspection(path, name, wrong=(f"{error.what} {error.cure}",))
    wrong = tuple(source.faults()) if isinstance(source, Faulty) else ()
    facts = _facts(path, source)
    mute = facts.get("tokenizer.ggml.model") == "no_vocab"
    doubts = ("it has no tokenizer, so that no program reads text with it",) if mute else ()
    return Inspection(path, name, source.shape, rows, facts, wrong, doubts)


def title(inspection: Inspection) -> str:
    """Its format, for people."""
    return FORMATS[inspection.format].title


def _xai(path: Path, tell: Tell) -> Inspection:
    try:
        found = xai.examine(path, tell)
    except VoxpopError as error:
        return Inspection(path, "xai", wrong=(f"{error.what} {error.cure}",))
    facts = {"files": found.files, "file_bytes": found.bytes, "hole_bytes": found.holes}
    doubts = []
    if found.holes > found.bytes // 100:
        part = f"{found.holes / 1e9:,.1f} GB of it are holes on the disk"
        doubts.append(f"{part}: a download that has not ended, or a dry run without numbers")
    if found.wrong:
        return Inspection(path, "xai", found.shape, (), facts, found.wrong, tuple(doubts))
    return Inspection(path, "xai", found.shape, tuple(_rows(xai.XaiSource(path))), facts, (), tuple(doubts))


def _rows(source: Source) -> Iterator[Row]:
    for spec in source.shape.specs.values():
        tensor = source.read(spec.name)
        yield Row(spec.name, spec.kind, spec.shape, spec.parameters, nbytes(tensor), _stored(tensor, spec))


def _stored(tensor: Tensor, spec: Spec) -> str:
    match tensor:
        case Quantised(_, scales):
            groups = scales.shape[-2]
            return f"int8, {scales.dtype} scales of {groups} group{'s' * (groups > 1)} of rows"
        case Packed(type=number):
            import gguf

            return str(gguf.GGMLQuantizationType(number).name)
        case np.ndarray():
            return str(tensor.dtype)
    raise TypeError(spec.name)


def _facts(path: Path, source: Source) -> dict[str, Any]:
    """What the format has beside the tensors."""
    facts: dict[str, Any] = {}
    if layout := getattr(source, "layout", None):
        facts["layout"] = layout.name
    fields: dict[str, Any] = getattr(source, "fields", {})
    facts |= {key: fields[key] for key in ("general.name", "tokenizer.ggml.model") if key in fields}
    files = [path] if path.is_file() else [p for p in path.iterdir() if p.is_file()]
    return facts | {"files": len(files), "file_bytes": sum(p.stat().st_size for p in files)}
