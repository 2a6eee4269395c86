"""Grok in safetensors, as Hugging Face's libraries and the engines read it: a source and a sink for three layouts.

It reads mapped views, writes in bounded memory, and refuses torch's pickles (.bin) and what does not fit the model.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxpop.errors import UsageError, VoxpopError
from voxpop.regular import regular
from voxpop.weights.casting import Type, ahead, stored
from voxpop.weights.formats.journal import Journal
from voxpop.weights.formats.layouts import HEAD, Layout, grok_of, recognised
from voxpop.weights.formats.mapped import release
from voxpop.weights.formats.safetensors_file import DTYPES, Entry, SafetensorsFile, header, parsed, placed
from voxpop.weights.grok import EMBEDDING, Grok, Spec
from voxpop.weights.tensors import Tensor, pieces

INDEX, SINGLE, CONFIG = "model.safetensors.index.json", "model.safetensors", "config.json"
TOKENIZER = "tokenizer.model"
SHARD_BYTES = 5_000_000_000
_CONFIG_MAX, _INDEX_MAX = 1 << 20, 64 << 20
_MOST_TENSORS, _MOST_FILES = 1 << 17, 1 << 12
_CUT = re.compile(r".*-TP-(\d{3}|common)\.safetensors")
_CURE = "Fetch the files again."
# One file of each device of a tensor-parallel checkpoint has its slice: rows of gate and up, columns of down.
_CUT_AXIS = {"gate": 0, "up": 0, "down": 1}
_ROWS = 4096
_TYPES: dict[str, Type] = {"BF16": "bf16", "F16": "f16", "F32": "f32"}
# A tensor in a file: its name, type and shape.
_Stored = tuple[str, str, tuple[int, ...]]


class FolderSource:
    """A folder with config.json and safetensors files, whole or cut for the devices of SGLang.

    Raises VoxpopError where config, index, headers and the model's tensors do not agree; that reads no payload.
    """

    def __init__(self, folder: Path) -> None:
        self.shape = grok_of(parsed(_text(folder / CONFIG, _CONFIG_MAX), folder / CONFIG, _CURE))
        self._files = _files(folder)
        self.layout = recognised(self._files)
        self._check(folder)

    def read(self, name: str) -> NDArray[Any]:
        """A tensor in the canonical shape; a view, unless its experts lie apart at odd distances."""
        spec = self.shape.specs[name]
        names = self.layout.tensors(name, self.shape)
        found = self._stack(spec, names) if len(names) > 1 or spec.kind == "expert" else self._one(spec, names[0])
        if name == EMBEDDING and HEAD in self._files:
            self._same(found, self._one(spec, HEAD), HEAD)
        return found.swapaxes(-1, -2) if spec.linear else found

    def _stack(self, spec: Spec, names: list[str]) -> NDArray[Any]:
        homes = {file.path: file for name in names for file in self._files[name]}
        if len(homes) == 1:
            view = next(iter(homes.values())).views(names)
            if view is not None:
                return view
        return np.stack([self._one(spec, name) for name in names])

    def _one(self, spec: Spec, name: str) -> NDArray[Any]:
        views = [file.view(name) for file in self._files[name]]
        if spec.kind == "expert":
            return views[0] if len(views) == 1 else np.concatenate(views, _axis(spec))
        for other in views[1:]:
            self._same(views[0], other, name)
        return views[0]

    def _same(self, one: NDArray[Any], other: NDArray[Any], name: str) -> None:
        for at in range(0, len(one), _ROWS):
            if not np.array_equal(one[at : at + _ROWS], other[at : at + _ROWS]):
                said = f"'{name}' differs from the tensor of which it should be a copy"
                raise VoxpopError(f"{said}; Grok-1 has one embedding, also as its head.", _CURE, code="bad_weights")

    def _check(self, folder: Path) -> None:
        allowed = {HEAD} | {name for name in self._files if name.endswith("rotary_emb.inv_freq")}
        # Counted before the names are made: a config of a million layers must not fill the memory.
        if self.shape.layers * self.shape.experts > len(self._files):
            said = f"{folder} has {len(self._files)} tensors, too few for the model of its config.json."
            raise VoxpopError(said, _CURE, code="bad_weights")
        for spec in self.shape.specs.values():
            for name in self.layout.tensors(spec.name, self.shape):
                self._fits(spec, name, folder)
                allowed.add(name)
        if HEAD in self._files:
            self._fits(self.shape.specs[EMBEDDING], HEAD, folder)
        if strange := sorted(self._files.keys() - allowed):
            said = f"{folder} has {len(strange)} tensors that Grok-1 has not, such as {strange[0][:100]!r}."
            raise VoxpopError(said, "voxpop knows the Grok-1 family only.", code="bad_weights")

    def _fits(self, spec: Spec, name: str, folder: Path) -> None:
        files = self._files.get(name)
        if files is None:
            raise VoxpopError(f"{folder} lacks the tensor '{name}'.", _CURE, code="bad_weights")
        found, wanted = [file.entries[name].shape for file in files], stored_shape(spec)
        fit = all(shape == wanted for shape in found)
        if spec.kind == "expert" and len(files) > 1 and wanted[_axis(spec)] % len(files) == 0:
            cut = list(wanted)
            cut[_axis(spec)] //= len(files)
            fit = all(shape == tuple(cut) for shape in found)
        if not fit or len({file.entries[name].dtype for file in files}) > 1:
            said = f"'{name}' in {folder} is {' + '.join(map(str, found))}; this model needs {wanted}"
            raise VoxpopError(f"{said}, [out, in].", _CURE, code="bad_weights")


class FolderSink:
    """Writes a checkpoint into `folder`, shard by shard; until `close` all lies in `folder`.part, without a config.

    `dtype` (BF16, F16 or F32) is that of the matrices; norms and routers are F32 always: they are small, xAI's code
    computes both in float32, and a rounded router may choose other experts. `tokenizer`: the file that lies beside.
    UsageError where the folder exists.
    """

    def __init__(
        self,
        folder: Path,
        layout: Layout,
        shape: Grok,
        dtype: str = "BF16",
        shard_bytes: int = SHARD_BYTES,
        *,
        tokenizer: bytes | None = None,
    ) -> None:
        if folder.exists():
            raise UsageError(f"{folder} exists.", "Name another folder, or delete it.")
        if dtype not in DTYPES:
            raise UsageError(f"There is no '{dtype}' in safetensors here.", f"Choose one of {', '.join(DTYPES)}.")
        self._folder, self._layout, self._shape, self._tokenizer = folder, layout, shape, tokenizer
        self._part = folder.with_name(f"{folder.name}.part")
        self._journal = Journal(self._part / "written.jsonl")
        self._config = layout.config(shape, dtype)
        self._shards = _shards(layout, shape, dtype, shard_bytes)
        self._headers = {shard: len(header(entries)) for shard, entries in self._shards.items()}
        self._home = {name: shard for shard, entries in self._shards.items() for name in entries}
        self._written = self._begun({"config": self._config, "layout": layout.name, "shards": len(self._shards)})

    def done(self) -> Mapping[str, str]:
        """What an earlier run wrote whole, each with its SHA-256."""
        return self._written

    def write(self, name: str, tensor: Tensor) -> str:
        spec = self._shape.specs[name]
        digest = hashlib.sha256()
        names = self._layout.tensors(name, self._shape)
        parts = pieces(tensor) if spec.kind == "expert" else iter([tensor])
        for place, part in zip(names, parts, strict=True):
            self._store(place, spec, part, digest)
            release(part)
        if name == EMBEDDING and self._layout.head:
            self._store(HEAD, spec, tensor, hashlib.sha256())
        sha256 = digest.hexdigest()
        self._journal.note(name, sha256)
        self._written[name] = sha256
        return sha256

    def close(self) -> None:
        if missing := len(self._shape.specs.keys() - self._written.keys()):
            raise VoxpopError(f"{missing} tensors of {self._part} are not written.", "Go on with the conversion.")
        if len(self._shards) > 1:
            size = sum(entry.stop - entry.start for shard in self._shards.values() for entry in shard.values())
            _save(self._part / INDEX, {"metadata": {"total_size": size}, "weight_map": self._home})
        if self._tokenizer is not None:
            (self._part / TOKENIZER).write_bytes(self._tokenizer)
        _save(self._part / CONFIG, self._config)
        self._journal.end()
        os.replace(self._part, self._folder)

    def _store(self, place: str, spec: Spec, tensor: Tensor, digest: Any) -> None:
        shard = self._home[place]
        entry = self._shards[shard][place]
        with (self._part / shard).open("r+b") as file:
            file.seek(self._headers[shard] + entry.start)
            count = 0
            for part in ahead(stored(tensor, _TYPES[entry.dtype], turned=spec.linear)):
                if entry.dtype == "F16" and np.isinf(part.view(np.float16)).any():
                    said = f"{spec.name} has a number that float16 cannot hold."
                    raise VoxpopError(said, "Choose BF16 or F32.", code="bad_weights")
                digest.update(part.data)
                count += file.write(part.data)
            if count != entry.stop - entry.start:
                said = f"{spec.name} came with {count} bytes for '{place}'; {spec.shape} takes another number."
                raise VoxpopError(said, "Check the source with: voxpop weights inspect", code="bad_weights")
            file.flush()
            os.fsync(file.fileno())

    def _begun(self, what: dict[str, Any]) -> dict[str, str]:
        """What the journal of an earlier run says is there; else the files, empty, and a new journal."""
        if found := self._journal.taken_up():
            if found[0] != what:
                said = f"{self._part} was begun for another model, layout or type."
                raise UsageError(said, "Delete it, or name another folder.")
            return found[1]
        self._part.mkdir(parents=True, exist_ok=True)
        for shard, entries in self._shards.items():
            head = header(entries)
            with (self._part / shard).open("wb") as file:
                file.write(head)
                file.truncate(len(head) + max(entry.stop for entry in entries.values()))
        self._journal.begin(what)
        return {}


def stored_shape(spec: Spec) -> tuple[int, ...]:
    """The shape of a tensor in a file: one expert, [out, in]; vectors and the embedding as they are."""
    inner = spec.shape[1:] if spec.kind == "expert" else spec.shape
    return inner[::-1] if spec.linear else inner


def _axis(spec: Spec) -> int:
    return _CUT_AXIS[spec.part]


def _shards(layout: Layout, shape: Grok, dtype: str, limit: int) -> dict[str, dict[str, Entry]]:
    """Every file of the checkpoint with its tensors; the experts of a tensor stay together where they fit."""
    groups: list[list[_Stored]] = [[]]
    room = limit
    for unit in _units(layout, shape, dtype, limit):
        size = sum(prod(stored) * DTYPES[kind].itemsize for _, kind, stored in unit)
        if size > room and groups[-1]:
            groups.append([])
            room = limit
        groups[-1] += unit
        room -= size
    count = len(groups)
    names = [f"model-{n:05}-of-{count:05}.safetensors" for n in range(1, count + 1)] if count > 1 else [SINGLE]
    return {name: placed(iter(group)) for name, group in zip(names, groups, strict=True)}


def _units(layout: Layout, shape: Grok, dtype: str, limit: int) -> Iterator[list[_Stored]]:
    """What must lie in one file together, in order."""
    for spec in shape.specs.values():
        kind = "F32" if spec.small else dtype
        unit = [(name, kind, stored_shape(spec)) for name in layout.tensors(spec.name, shape)]
        whole = spec.parameters * DTYPES[kind].itemsize <= limit
        yield from [unit] if whole else [[tensor] for tensor in unit]
    if layout.head:
        yield [(HEAD, dtype, stored_shape(shape.specs[EMBEDDING]))]


def _files(folder: Path) -> dict[str, list[SafetensorsFile]]:
    """For each tensor the file that has it, or one file of each device in the order of the devices."""
    if (folder / INDEX).is_file():
        return _indexed(folder)
    cut = sorted(path for path in folder.glob("*.safetensors") if _CUT.fullmatch(path.name))
    paths = cut or [path for path in (folder / SINGLE,) if path.is_file()]
    if not paths:
        has = "torch's pickles (.bin)" if any(folder.glob("*.bin")) else "no safetensors files"
        cure = "Give a checkpoint in safetensors, or the one that xAI released (ckpt-0)."
        raise VoxpopError(f"{folder} has {has}; voxpop reads safetensors and unpickles nothing.", cure)
    found: dict[str, list[SafetensorsFile]] = {}
    for file in map(SafetensorsFile, paths):
        for name in file.entries:
            found.setdefault(name, []).append(file)
    return found


def _indexed(folder: Path) -> dict[str, list[SafetensorsFile]]:
    index = parsed(_text(folder / INDEX, _INDEX_MAX), folder / INDEX, _CURE).get("weight_map")
    if not isinstance(index, dict) or not all(_plain(name) for name in index.values()):
        raise VoxpopError(f"{folder / INDEX} names no files of its folder.", _CURE, code="bad_weights")
    homes = sorted(set(index.values()))
    if len(index) > _MOST_TENSORS or len(homes) > _MOST_FILES:
        said = f"{folder / INDEX} names {len(index)} tensors in {len(homes)} files"
        raise VoxpopError(f"{said}; voxpop reads {_MOST_TENSORS} in {_MOST_FILES}.", _CURE, code="bad_weights")
    files: dict[str, SafetensorsFile] = {}
    found: dict[str, list[SafetensorsFile]] = {}
    for home in homes:
        files[home] = SafetensorsFile(folder / home)
        # Before the next is opened: files full of names that nobody asked for must not fill the memory.
        if strange := files[home].entries.keys() - index.keys():
            said = f"{folder / INDEX} and {home} differ on {min(strange)[:100]!r} and {len(strange) - 1} more."
            raise VoxpopError(said, _CURE, code="bad_weights")
        found |= {name: [files[home]] for name in files[home].entries}
    if wrong := [n for n, home in index.items() if n not in files[home].entries] or found.keys() ^ index.keys():
        said = f"{folder / INDEX} and the files differ on {sorted(wrong)[0][:100]!r}."
        raise VoxpopError(said, _CURE, code="bad_weights")
    return found


def _plain(name: object) -> bool:
    return isinstance(name, str) and re.fullmatch(r"[\w.-]{1,200}\.safetensors", name) is not None


def _text(path: Path, limit: int) -> bytes:
    try:
        with regular(path) as file:
            text = file.read(limit + 1)
    except OSError as error:
        raise VoxpopError(f"{path} cannot be read: {error.strerror}.", _CURE, code="bad_weights") from error
    if len(text) > limit:
        raise VoxpopError(f"{path} has more than {limit} bytes.", _CURE, code="bad_weights")
    return text


def _save(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
