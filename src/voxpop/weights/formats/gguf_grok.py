"""Grok models as GGUF files of architecture `grok`, read in place and written tensor by tensor, in any order.

It writes every scale that llama.cpp knows, no head of its own, Q and K as they are. It refuses what is not whole.
"""

import hashlib
import os
import re
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import gguf
import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from voxpop.engines.gguf_bounded import Bounded
from voxpop.errors import VoxpopError
from voxpop.weights.formats.gguf_keys import (
    ARCHITECTURE,
    ROW_GROUPS,
    Pieces,
    faults,
    gguf_name,
    gguf_shape,
    in_order,
    numbers,
    other_name,
    shape_of,
)
from voxpop.weights.formats.journal import Journal, settle
from voxpop.weights.formats.mapped import release
from voxpop.weights.grok import Grok, Spec
from voxpop.weights.mixes import ALIGNMENT, Mix, bytes_of, type_of
from voxpop.weights.quantise import Count, number, packed_rows, size_of_rows
from voxpop.weights.tensors import Packed, Tensor, pieces

_SHARD = re.compile(r"(.*)-([0-9]{5})-of-([0-9]{5})\.gguf")
# What gguf can turn into numbers; other types hold indices.
_READ = {"F32", "F16", *(kind.name for kind in gguf.GGMLQuantizationType if hasattr(gguf.quants, kind.name))}
_PLAIN = (gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.F16)


class GgufSource:
    """A GGUF file of architecture `grok`, or the first of its parts. Raises VoxpopError where it is none."""

    def __init__(self, path: Path) -> None:
        self.path, parts = path, _parts(path)
        try:
            readers = [Bounded(part) for part in parts]
            self.fields = {key: field.contents() for key, field in readers[0].fields.items()}
            tensors = [tensor for reader in readers for tensor in reader.tensors]
            self._tensors = {tensor.name: tensor for tensor in tensors}
        except Exception as error:  # a damaged file can break its reader in any way
            raise _broken(path, f"{type(error).__name__}: {error}") from error
        if self.fields.get("general.architecture") != ARCHITECTURE:
            raise _broken(path, f"its architecture is {self.fields.get('general.architecture')!r}")
        if len(self._tensors) < len(tensors):
            raise _broken(path, "its parts have a tensor twice")
        self._shape = shape_of(self.fields)
        if self._shape.layers > len(self._tensors):
            raise _broken(path, f"it says {self._shape.layers} layers and holds {len(self._tensors)} tensors")
        if "output.weight" in self._tensors:
            raise _broken(path, "it has a head of its own, and Grok-1's is the embedding")

    @property
    def shape(self) -> Grok:
        return self._shape

    @property
    def sizes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every tensor by its name in the file, rows first."""
        return {name: tuple(int(n) for n in reversed(t.shape)) for name, t in self._tensors.items()}

    @property
    def types(self) -> dict[str, str]:
        """The ggml type of every tensor by its canonical name."""
        return {name: self._found(name).tensor_type.name for name in self._shape.specs}

    def faults(self, shape: Grok | None = None) -> list[str]:
        """What is wrong with the file as one of `shape`, or of what its own keys say."""
        return faults(self.fields, self.sizes, shape or self._shape)

    def words(self) -> tuple[Pieces, str] | None:
        """Its SentencePiece vocabulary and its template for chats; None where it has no such vocabulary."""
        said = {key.removeprefix("tokenizer.ggml."): value for key, value in self.fields.items()}
        if said.get("model") != "llama":
            return None
        marks = (said.get(f"{mark}_token_id") for mark in ("bos", "eos", "unknown", "padding"))
        adds = (bool(said.get(f"add_{what}")) for what in ("bos_token", "space_prefix"))
        try:
            lists = (said[key] for key in ("tokens", "scores", "token_type"))
            return Pieces(*lists, *marks, *adds), str(said.get("tokenizer.chat_template", ""))
        except KeyError as error:
            raise _broken(self.path, f"{error.args[0]} of its tokenizer is missing") from error

    def read(self, name: str) -> Tensor:
        """A tensor, in the canonical shape or packed; a view of the file."""
        spec, found = self._shape.specs[name], self._found(name)
        size = tuple(int(n) for n in reversed(found.shape))
        if size != gguf_shape(spec):
            raise _broken(self.path, f"{found.name} is {list(size)} and must be {list(gguf_shape(spec))}")
        turned = spec.linear
        if found.tensor_type == gguf.GGMLQuantizationType.BF16:
            data: NDArray[Any] = found.data.view(ml_dtypes.bfloat16).reshape(size)
        elif found.tensor_type in _PLAIN:
            data = found.data.reshape(size)
        else:
            return Packed(found.data, int(found.tensor_type), turned)
        return np.swapaxes(data, -1, -2) if turned else data

    def _found(self, name: str) -> Any:
        there = gguf_name(name)
        found = self._tensors.get(there) or self._tensors.get(other_name(there))
        if found is None:
            raise _broken(self.path, f"{there} is missing")
        if found.tensor_type.name not in _READ:
            raise _broken(self.path, f"{there} is of the type {found.tensor_type.name}, which holds no weights")
        return found


@dataclass(frozen=True, slots=True)
class _Entry:
    """Where a tensor lies: which file, from which byte, in which type."""

    file: int
    start: int
    type: str
    size: int


class GgufSink:
    """A GGUF file that is being written; what an earlier run wrote whole is kept where nothing else changed.

    `importance`: [width of a row] or [experts, width of a row] by canonical name. `split`: bytes of a file.
    """

    def __init__(
        self,
        path: Path,
        shape: Grok,
        mix: Mix,
        *,
        vocabulary: Pieces | None = None,
        template: str = "",
        importance: Mapping[str, NDArray[np.float32]] | None = None,
        split: int = 0,
        threads: int = 0,
    ) -> None:
        self._shape, self._importance = shape, importance or {}
        self._threads = threads or os.cpu_count() or 1
        self._layout = _Layout(path, shape, mix, _Header(shape, vocabulary, template), split)
        self._journal = Journal(path.with_name(path.name + ".journal"))
        self.count = Count()
        self._sums = self._taken_up()

    @property
    def paths(self) -> list[Path]:
        """The file, or its parts in order."""
        return self._layout.paths

    @property
    def bytes(self) -> int:
        """What the whole will weigh."""
        return sum(self._layout.lengths)

    def done(self) -> Mapping[str, str]:
        """The tensors that are whole, also from an earlier run, each with the SHA-256 of its bytes."""
        return self._sums

    def write(self, name: str, tensor: Tensor) -> str:
        """Store a tensor; the SHA-256 of its bytes in the file. Raises VoxpopError where its shape is another."""
        spec, entry = self._shape.specs[name], self._layout.entries[name]
        turned = spec.linear
        many = list(pieces(tensor)) if spec.kind == "expert" else [tensor]
        size = gguf_shape(spec)
        rows, width = (1, *size)[-2:]
        if len(many) != (size[0] if len(size) == 3 else 1) or any(
            size_of_rows(piece, turned) != (width, rows) for piece in many
        ):
            raise VoxpopError(
                f"{name} is not of the shape {list(spec.shape)}.", "Inspect the source.", lasting=True
            )
        found = self._written(many, self._importance.get(name), entry, turned)
        self._sums[name] = found
        self._journal.note(name, found)
        return found

    def close(self) -> None:
        """Give the file its name. Raises VoxpopError where tensors are missing."""
        missing = self._shape.specs.keys() - self._sums.keys()
        if missing:
            raise VoxpopError(
                f"{len(missing)} of {len(self._shape.specs)} tensors were not written, {min(missing)} among them.",
                "Run the same command again: it goes on where it stopped.",
            )
        for path in reversed(self.paths):  # the first part last: it is the one that is opened
            os.replace(_unfinished(path), path)
        settle(self.paths[0].parent)
        self._journal.end()

    def _written(self, many: list[Tensor], importance: Any, entry: _Entry, turned: bool) -> str:
        digest, at = hashlib.sha256(), entry.start
        with _unfinished(self.paths[entry.file]).open("r+b") as file:
            file.seek(at)
            for expert, piece in enumerate(many):
                weights = importance[expert] if importance is not None and importance.ndim == 2 else importance
                for rows in packed_rows(
                    piece,
                    entry.type,
                    turned=turned,
                    importance=weights,
                    count=self.count,
                    threads=self._threads,
                ):
                    digest.update(rows.data)
                    at += file.write(rows.data)
                release(piece)
            if at != entry.start + entry.size:
                raise VoxpopError(f"{at - entry.start} bytes were made where {entry.size} are due.", "Report this.")
            file.flush()
            os.fdatasync(file.fileno())
        return digest.hexdigest()

    def _taken_up(self) -> dict[str, str]:
        """What an earlier run of the very same conversion left; else the files are begun."""
        begun, found = {"layout": self._layout.sha256}, self._journal.taken_up()
        with suppress(OSError):
            lengths = [_unfinished(path).stat().st_size for path in self.paths]
            if found and found[0] == begun and lengths == self._layout.lengths:
                return found[1]
        for path, header, length in zip(self.paths, self._layout.headers, self._layout.lengths, strict=True):
            with _unfinished(path).open("wb") as file:
                file.write(header)
                file.truncate(length)
                os.fsync(file.fileno())
        self._journal.begin(begun)
        return {}


@dataclass(frozen=True, slots=True)
class _Header:
    """What a file says of its model before the tensors."""

    shape: Grok
    vocabulary: Pieces | None
    template: str

    def fill(self, writer: gguf.GGUFWriter) -> None:
        """Put the keys into `writer`."""
        writer.add_name("grok")
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        for key, value in numbers(self.shape).items():
            if isinstance(value, float):
                writer.add_float32(key, value)
            else:
                writer.add_uint32(key, value)
        writer.add_uint32(ROW_GROUPS, self.shape.row_groups)
        if self.vocabulary is None:
            writer.add_tokenizer_model("no_vocab")
        else:
            self._speak(writer, self.vocabulary)
        if self.template:
            writer.add_chat_template(self.template)

    def _speak(self, writer: gguf.GGUFWriter, pieces_: Pieces) -> None:
        if len(pieces_.texts) != self.shape.vocabulary:
            raise VoxpopError(
                f"The tokenizer has {len(pieces_.texts)} pieces, the model {self.shape.vocabulary}.",
                "Give the tokenizer that the model was made with.",
                lasting=True,
            )
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
        writer.add_token_list(list(pieces_.texts))
        writer.add_token_scores(list(pieces_.scores))
        writer.add_token_types(list(pieces_.kinds))
        writer.add_add_bos_token(pieces_.add_bos)
        writer.add_add_eos_token(False)
        writer.add_add_space_prefix(pieces_.add_space_prefix)
        marks = (
            (pieces_.bos, writer.add_bos_token_id),
            (pieces_.eos, writer.add_eos_token_id),
            (pieces_.unknown, writer.add_unk_token_id),
            (pieces_.padding, writer.add_pad_token_id),
        )
        for token, add in marks:
            if token is not None:
                add(token)


class _Layout:
    """Every byte's place, known before the first tensor is read."""

    def __init__(self, path: Path, shape: Grok, mix: Mix, header: _Header, split: int) -> None:
        self._specs = list(in_order(shape))
        self._types = {spec.name: type_of(spec, mix, shape.layers) for spec in self._specs}
        files = self._filled(split)
        self.paths = [path]
        if len(files) > 1:
            stem = path.name.removesuffix(".gguf")
            self.paths = [path.with_name(f"{stem}-{i + 1:05}-of-{len(files):05}.gguf") for i in range(len(files))]
        self.headers: list[bytes] = []
        self.lengths: list[int] = []
        self.entries: dict[str, _Entry] = {}
        for index, specs in enumerate(files):
            head = self._head(index, len(files), specs, header)
            self.headers.append(head)
            self.lengths.append(self._place(index, specs, len(head)))

    @cached_property
    def sha256(self) -> str:
        """One digest for all headers: they name every key, tensor, type and place."""
        return hashlib.sha256(b"".join(self.headers)).hexdigest()

    def _filled(self, split: int) -> list[list[Spec]]:
        files: list[list[Spec]] = [[]]
        length = 0
        for spec in self._specs:
            size = _padded(bytes_of(spec, self._types[spec.name]))
            if split and files[-1] and length + size > split:
                files.append([])
                length = 0
            files[-1].append(spec)
            length += size
        return files

    def _place(self, index: int, specs: list[Spec], start: int) -> int:
        for spec in specs:
            type_ = self._types[spec.name]
            size = bytes_of(spec, type_)
            self.entries[spec.name] = _Entry(index, start, type_, size)
            start += _padded(size)
        return start

    def _head(self, index: int, files: int, specs: list[Spec], header: _Header) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "head"
            writer = gguf.GGUFWriter(path, ARCHITECTURE)
            if index == 0:
                header.fill(writer)
            if files > 1:
                writer.add_uint16(gguf.Keys.Split.LLM_KV_SPLIT_NO, index)
                writer.add_uint16(gguf.Keys.Split.LLM_KV_SPLIT_COUNT, files)
                writer.add_int32(gguf.Keys.Split.LLM_KV_SPLIT_TENSORS_COUNT, len(self._specs))
            for spec in specs:
                type_ = self._types[spec.name]
                kind = gguf.GGMLQuantizationType(number(type_))
                size = bytes_of(spec, type_)
                writer.add_tensor_info(gguf_name(spec.name), gguf_shape(spec), np.dtype(np.float32), size, kind)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_ti_data_to_file()
            writer.close()
            head = path.read_bytes()
        return head.ljust(_padded(len(head)), b"\0")


def _padded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _parts(path: Path) -> list[Path]:
    """The file, or all its parts where it is the first of many."""
    shard = _SHARD.fullmatch(path.name)
    if shard is None:
        return [path]
    stem, _, files = shard.groups()
    if not 0 < int(files) < 1000:
        raise _broken(path, f"it is one of {int(files)} parts")
    return [path.with_name(f"{stem}-{i + 1:05}-of-{files}.gguf") for i in range(int(files))]


def _broken(path: Path, why: str) -> VoxpopError:
    return VoxpopError(
        f"'{path.name}' is no GGUF file of a Grok model: {why}.", "Convert or download it again.", lasting=True
    )


def _unfinished(path: Path) -> Path:
    return path.with_name(path.name + ".part")
