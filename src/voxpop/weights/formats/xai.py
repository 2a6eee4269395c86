"""xAI's checkpoint, the folder `ckpt-0` with a file for each tensor: examined, read and written, never unpickled.

File N holds the N-th leaf of JAX's flattened tree, which sorts the layers as texts: 0, 1, 10, 11, …, 19, 2, 20, ….
Sources: xAI's `checkpoint.py` (names of files) and `model.py` (what is int8, and over how many groups of rows).
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from voxpop.errors import UsageError, VoxpopError
from voxpop.weights.formats import pickles, pickling
from voxpop.weights.formats.journal import Journal, settle
from voxpop.weights.formats.sums import checksum
from voxpop.weights.grok import EMBEDDING, FINAL_NORM, GROK_1, Grok, Spec
from voxpop.weights.tensors import Hollow, Quantised, Tensor, bfloat16, float32, pieces, quantised

FOLDER, SIZES = "ckpt-0", "voxpop.json"
_FILE = re.compile(r"tensor(\d{5})_(\d{3})")
_MOST_SIZES, _MOST_LAYERS = 1 << 16, 1 << 12
_COLUMNS = 1024


def names(layers: int) -> list[str]:
    """The tensors by the number of their file."""
    ordered = sorted(range(layers), key=str)
    return [EMBEDDING, FINAL_NORM, *(spec.name for n in ordered for spec in GROK_1.layer(n))]


def file_name(number: int) -> str:
    """Of the one shard that there is."""
    return f"tensor{number:05d}_000"


def folder_of(path: Path) -> Path | None:
    """The folder of a checkpoint, given it or the one above it; None where neither looks like one."""
    for folder in (path, path / FOLDER):
        if folder.is_dir() and any(_FILE.fullmatch(name) for name in os.listdir(folder)):
            return folder
    return None


@dataclass(frozen=True, slots=True)
class Examined:
    """What a folder holds. `wrong`: what keeps it from being read, a sentence each; `holes`: bytes not on disk."""

    folder: Path
    shape: Grok
    files: int
    bytes: int
    holes: int
    wrong: tuple[str, ...]


def examine(path: Path, tell: Callable[[int, int], None] = lambda done, total: None) -> Examined:
    """Compare every file's head with what the model must have: presence, type, shape, groups and size.

    It reads some 300 bytes a file. `tell(done, total)` is called on the way. Raises VoxpopError where the folder
    is none of xAI's.
    """
    folder = folder_of(path)
    if folder is None:
        raise UsageError(f"{path} holds no {file_name(0)}.", f"Name the folder {FOLDER}, or the one above it.")
    present = sorted(name for name in os.listdir(folder) if _FILE.fullmatch(name))
    shape = _stated(folder) or _inferred(folder, present)
    expected = names(shape.layers)
    wanted = {file_name(number): shape.specs[name] for number, name in enumerate(expected)}
    wrong = [f"{name} is not a part of it" for name in present if name not in wanted]
    missing = sorted(wanted.keys() - set(present))
    if missing:
        few = ", ".join(missing[:3]) + (", …" if len(missing) > 3 else "")
        wrong.append(f"{len(missing)} of {len(wanted)} files are missing: {few}")
    size = held = 0
    for done, name in enumerate(present):
        try:
            about = (folder / name).stat()
        except OSError as error:
            wrong.append(f"{name} cannot be read: {error.strerror}")
            continue
        size, held = size + about.st_size, held + min(about.st_size, about.st_blocks * 512)
        if name in wanted:
            wrong += _faults(folder / name, wanted[name])
        tell(done + 1, len(present))
    return Examined(folder, shape, len(present), size, size - held, tuple(wrong))


def _faults(path: Path, spec: Spec) -> Iterator[str]:
    try:
        found = pickles.read(path)
    except VoxpopError as error:
        yield f"{error.what} {error.cure}".removeprefix(f"{path.parent}/").rstrip(".")
        return
    if not fits(found, spec):
        yield f"{path.name} is {_said(found)}, and {spec.name} must be {_wanted(spec)}"


def fits(tensor: Tensor, spec: Spec) -> bool:
    """Whether xAI's checkpoint would have it so."""
    if not spec.int8:
        return isinstance(tensor, np.ndarray) and tensor.dtype == np.float32 and tensor.shape == spec.shape
    return (
        isinstance(tensor, Quantised)
        and tensor.weight.shape == spec.shape
        and tensor.scales.shape == spec.scales
        and tensor.scales.dtype == bfloat16
    )


def _wanted(spec: Spec) -> str:
    if not spec.int8:
        return f"float32 {list(spec.shape)}"
    return f"int8 {list(spec.shape)} with scales {list(spec.scales)}"


def _said(found: Tensor) -> str:
    if isinstance(found, Quantised):
        return f"int8 {list(found.weight.shape)} with scales {list(found.scales.shape)}"
    return f"{found.dtype} {list(found.shape)}" if isinstance(found, np.ndarray) else "packed"


# Sizes


def _stated(folder: Path) -> Grok | None:
    """The sizes that our own writer left beside the files. Raises VoxpopError where they are none."""
    path = folder / SIZES
    if not path.is_file():
        return None
    cure = f"Write it as docs/weights.md has it, or remove {SIZES}: then the sizes are told from the files."
    try:
        with path.open("rb") as file:
            given = orjson.loads(file.read(_MOST_SIZES))
    except orjson.JSONDecodeError as error:
        raise VoxpopError(f"{path} is no JSON: {error}.", cure, code="bad_checkpoint") from error
    known = {name: type(value) for name, value in asdict(GROK_1).items()}
    if not isinstance(given, dict) or given.keys() != known.keys():
        raise VoxpopError(f"{path} has not exactly these keys: {', '.join(known)}.", cure, code="bad_checkpoint")
    for name, value in given.items():
        most = _MOST_LAYERS if name == "layers" else 1 << 31
        if not isinstance(value, int | known[name]) or not 0 < value < most:
            raise VoxpopError(f"{path}: {name} cannot be {value!r}.", cure, code="bad_checkpoint")
    found = Grok(**given)
    if found.misfit:
        raise VoxpopError(f"The numbers in {path} do not fit: {found.misfit}.", cure, code="bad_checkpoint")
    return found


def _inferred(folder: Path, present: list[str]) -> Grok:
    """Its sizes by the first layer's files and their number. Grok-1's, where the first layer is not whole."""
    try:
        found = [pickles.read(folder / file_name(number)) for number in range(len(names(1)))]
        one = _sizes(dict(zip(names(1), found, strict=True)))
    except UsageError:
        raise
    except (VoxpopError, ValueError, AttributeError):
        return GROK_1  # the comparison that follows says what is wrong
    if replace(one, layers=GROK_1.layers) == GROK_1:
        return GROK_1
    files, a_layer = int(present[-1][6:11]) + 1, len(names(1)) - len(names(0))
    return replace(one, layers=max(-((len(names(0)) - files) // a_layer), 1))


def _sizes(first: dict[str, Any]) -> Grok:
    """By the shapes of the tensors outside the layers and of layer 0; heads are taken to be 128 wide.

    Raises UsageError where they cannot be, ValueError or AttributeError where a tensor is not what it should be.
    """
    vocabulary, width = first[EMBEDDING].shape
    experts, _, feed_forward = first["layers.0.gate"].weight.shape
    queries, keys = (first[f"layers.0.{part}"].weight.shape[1] for part in ("query", "key"))
    head = GROK_1.head_width
    if queries % head or keys % head:
        what = f"Queries of {queries} and keys of {keys} are no heads of {head}."
        raise UsageError(
            what, f"Say the sizes in {SIZES} beside the files (docs/weights.md).", code="unknown_sizes"
        )
    return Grok(
        layers=1,
        width=width,
        heads=queries // head,
        kv_heads=keys // head,
        feed_forward=feed_forward,
        experts=experts,
        vocabulary=vocabulary,
        row_groups=first["layers.0.out"].scales.shape[0],
        embedding_scale=width**0.5,
    )


class XaiSource:
    """Reads such a folder, given it or the one above. Raises VoxpopError unless every file's head is right."""

    def __init__(self, path: Path, tell: Callable[[int, int], None] = lambda done, total: None) -> None:
        found = examine(path, tell)
        if found.wrong:
            more = f" ({len(found.wrong) - 1} more)" if len(found.wrong) > 1 else ""
            cure = f"See all with: voxpop weights inspect {path}"
            raise VoxpopError(f"{found.folder}: {found.wrong[0]}{more}.", cure, code="bad_checkpoint", lasting=True)
        self._folder, self._shape = found.folder, found.shape
        self._number = {name: number for number, name in enumerate(names(found.shape.layers))}

    @property
    def shape(self) -> Grok:
        return self._shape

    def read(self, name: str) -> Tensor:
        """Raises VoxpopError where the file is no longer what it was."""
        path = self._folder / file_name(self._number[name])
        if wrong := list(_faults(path, self._shape.specs[name])):
            raise VoxpopError(f"{path}: {wrong[0]}.", "Do not write to a checkpoint that is read.")
        return pickles.read(path)


class XaiSink:
    """Writes such a folder at `path`, or `path`/ckpt-0; until `close` all lies in `path`.part.

    What is not int8 of the right groups becomes it where xAI has it so. `hollow` leaves every tensor's own bytes
    out as holes of the file: a checkpoint of the true sizes that takes no room, and has no checksums. Raises
    UsageError where the path is there, or another model's part of it; VoxpopError where the disk fails.
    """

    def __init__(self, path: Path, shape: Grok, *, hollow: bool = False) -> None:
        if path.exists():
            raise UsageError(f"{path} exists.", "Name another folder, or delete it.")
        self._path, self._part = path, path.with_name(f"{path.name}.part")
        self._folder = self._part if path.name == FOLDER else self._part / FOLDER
        self._shape, self._hollow = shape, hollow
        self._number = {name: number for number, name in enumerate(names(shape.layers))}
        self._journal = Journal(self._folder / "written.jsonl")
        self._written = self._begun(asdict(shape))

    def done(self) -> Mapping[str, str]:
        """What an earlier run wrote whole, each with its SHA-256."""
        return self._written

    def write(self, name: str, tensor: Tensor) -> str:
        spec = self._shape.specs[name]
        leaf = _leaf(tensor, spec)
        if not fits(leaf, spec):
            what = f"{name} is {_said(leaf)}, and must be {_wanted(spec)}."
            raise VoxpopError(what, "Check the source with: voxpop weights inspect", code="bad_checkpoint")
        self._store(file_name(self._number[name]), lambda file: pickling.write(leaf, file, hollow=self._hollow))
        self._written[name] = "" if self._hollow else _checksum(leaf)
        if not self._hollow:
            self._journal.note(name, self._written[name])
        return self._written[name]

    def close(self) -> None:
        """Raises VoxpopError where a tensor was not written."""
        if missing := [name for name in self._number if name not in self._written]:
            raise VoxpopError(f"{missing[0]} and {len(missing) - 1} more were not written.", "Write them first.")
        self._journal.end()
        for folder in (self._folder, self._part):
            settle(folder)
        self._part.rename(self._path)
        settle(self._path.parent)

    def _begun(self, sizes: dict[str, Any]) -> dict[str, str]:
        """What an earlier run wrote; a file has its name only once it is whole. Else the folder, and a journal."""
        if found := self._journal.taken_up():
            if found[0] != sizes:
                what = f"{self._part} was begun for another model."
                raise UsageError(what, "Delete it, or name another folder.")
            there = set(os.listdir(self._folder))
            kept = [name for name, number in self._number.items() if file_name(number) in there]
            return {name: found[1][name] for name in kept if name in found[1]}
        self._folder.mkdir(parents=True, exist_ok=True)
        text = orjson.dumps(sizes, option=orjson.OPT_INDENT_2)
        self._store(SIZES, lambda file: file.write(text))
        self._journal.begin(sizes)
        return {}

    def _store(self, name: str, work: Callable[[Any], Any]) -> None:
        writing = self._folder / f"{name}.tmp"
        try:
            with writing.open("wb") as file:
                work(file)
                file.flush()
                if not self._hollow:
                    os.fsync(file.fileno())
            writing.rename(self._folder / name)
        except OSError as error:
            cure = "Mend that, and run the same command again: it goes on where it was."
            raise VoxpopError(f"{writing} cannot be written: {error.strerror}.", cure, code="unwritable") from error


def _checksum(leaf: NDArray[Any] | Quantised) -> str:
    """Of the bytes in the order of the file, which is rows first."""
    return checksum(leaf if isinstance(leaf, Quantised) else np.ascontiguousarray(leaf))


def _leaf(tensor: Tensor, spec: Spec) -> NDArray[Any] | Quantised:
    """As xAI has it: float32, or int8, made anew a few columns at a time unless it is that already."""
    if not spec.int8:
        return float32(tensor)
    if isinstance(tensor, Quantised) and tensor.scales.shape[-2] == spec.groups:
        return tensor
    made = Quantised(np.empty(spec.shape, np.int8), np.empty(spec.scales, bfloat16))
    for number, piece in enumerate(pieces(tensor)):
        part = number if len(spec.shape) > 2 else ...
        values, weight, scales = float32(piece), made.weight[part], made.scales[part]
        for start in range(0, values.shape[1], _COLUMNS):
            step = slice(start, start + _COLUMNS)
            some = quantised(values[:, step], spec.groups)
            weight[:, step], scales[:, step] = some.weight, some.scales
    return made


def hollow(path: Path, shape: Grok) -> None:
    """Write a checkpoint of these sizes as holes: true names, heads and file sizes, next to nothing on the disk."""
    sink, source = XaiSink(path, shape, hollow=True), Hollow(shape)
    for name in shape.specs:
        sink.write(name, source.read(name))
    sink.close()
