"""How much each input of a linear layer matters, measured on text: llama.cpp's matrix, made, written and read.

A row's error counts by the mean square of what it is multiplied with. It refuses a file of another model, and
numbers that are not finite.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gguf
import numpy as np
from numpy.typing import NDArray

from voxpop.engines.gguf_bounded import Bounded
from voxpop.errors import UsageError, VoxpopError
from voxpop.weights.formats.gguf_keys import gguf_name
from voxpop.weights.grok import Grok, Spec
from voxpop.weights.tensors import Source

if TYPE_CHECKING:
    import torch

_ROOM = 1 << 12  # tokens in a layer at once: the attention of Grok-1 to 512 then fills half a gigabyte


@dataclass(frozen=True, slots=True)
class Importance:
    """Sums of squares by canonical name, float32 [experts or 1, in], the rows [experts or 1] that made them.

    `chunks` of `length` tokens were read from `texts`.
    """

    sums: Mapping[str, NDArray[np.float32]]
    rows: Mapping[str, NDArray[np.float32]]
    chunks: int
    length: int
    texts: tuple[str, ...] = ()

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """The mean square of each input, [in] or [experts, in]; 1 for an expert that was never chosen."""
        found = {}
        for name, sums in self.sums.items():
            rows = self.rows[name][:, None]
            mean = np.divide(sums, rows, out=np.ones_like(sums), where=rows > 0)
            found[name] = mean if len(mean) > 1 else mean[0]
        return found

    def sha256(self) -> str:
        """Of its numbers, hex."""
        digest = hashlib.sha256()
        for name in sorted(self.sums):
            digest.update(np.ascontiguousarray(self.sums[name]).data)
            digest.update(np.ascontiguousarray(self.rows[name]).data)
        return digest.hexdigest()

    def unmet(self) -> int:
        """How many experts of how many layers were never chosen: more text would measure them."""
        return sum(int((rows == 0).sum()) for name, rows in self.rows.items() if name.endswith(".down"))

    def write(self, path: Path) -> None:
        """Write llama.cpp's GGUF file of it (`llama-quantize --imatrix` reads it), whole or not at all."""
        part = path.with_name(path.name + ".part")
        writer = gguf.GGUFWriter(part, "")
        writer.kv_data[0].clear()  # llama.cpp's has a type and no architecture
        writer.add_type(gguf.GGUFType.IMATRIX)
        writer.add_array(gguf.Keys.IMatrix.DATASETS, list(self.texts) or ["text"])
        writer.add_uint32(gguf.Keys.IMatrix.CHUNK_COUNT, self.chunks)
        writer.add_uint32(gguf.Keys.IMatrix.CHUNK_SIZE, self.length)
        for name in sorted(self.sums, key=gguf_name):
            writer.add_tensor(f"{gguf_name(name)}.in_sum2", np.ascontiguousarray(self.sums[name], np.float32))
            writer.add_tensor(f"{gguf_name(name)}.counts", self.rows[name].astype(np.float32)[:, None])
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        os.replace(part, path)


class Squares:
    """Watches a forward: each input column's sum of squares, and the rows that made it.

    `sums[name]` is float64 [experts or 1, in], `rows[name]` int64 [experts or 1].
    """

    def __init__(self, shape: Grok) -> None:
        self.sums = {spec.name: np.zeros((_many(spec), spec.shape[-2])) for spec in _linear(shape)}
        self.rows = {spec.name: np.zeros(_many(spec), np.int64) for spec in _linear(shape)}

    def __call__(self, name: str, expert: int | None, x_TI: "torch.Tensor") -> None:
        self.sums[name][expert or 0] += x_TI.detach().double().square().sum(0).cpu().numpy()
        self.rows[name][expert or 0] += len(x_TI)


def read(path: Path, shape: Grok) -> Importance:
    """A matrix of importance for `shape`. Raises VoxpopError for what is none, damaged, or of another model."""
    try:
        reader = Bounded(path)
        fields = {key: field.contents() for key, field in reader.fields.items()}
        tensors = {tensor.name: tensor.data for tensor in reader.tensors}
        if fields.get("general.type") != gguf.GGUFType.IMATRIX:
            raise ValueError(f"its type is {fields.get('general.type')!r}")
        sums, rows = {}, {}
        for spec in _linear(shape):
            name = gguf_name(spec.name)
            sums[spec.name] = _checked(tensors[f"{name}.in_sum2"], (_many(spec), spec.shape[-2]))
            rows[spec.name] = _checked(tensors[f"{name}.counts"], (_many(spec), 1))[:, 0]
        chunks, length = (int(fields.get(f"imatrix.chunk_{what}", 0)) for what in ("count", "size"))
        return Importance(sums, rows, chunks, length, tuple(map(str, fields.get("imatrix.datasets", ()))))
    except Exception as error:  # a damaged file can break its reader in any way
        why = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
        raise VoxpopError(
            f"'{path.name}' is no matrix of importance of this model: {why}.",
            "Make one: voxpop weights importance.",
            lasting=True,
        ) from error


def gathered(
    source: Source,
    tokens: Sequence[int],
    *,
    length: int = 512,
    texts: Sequence[str] = (),
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Importance:
    """What goes into every linear layer of a model that reads `tokens`, in chunks of `length`.

    Layer by layer, each read once for all chunks: memory holds one matrix as float32, and the chunks' states.
    `tell` is given layers done and layers in all. Raises UsageError for less than a chunk of text.
    """
    import torch

    from voxpop.weights.grok_torch import Forward

    shape, length = source.shape, min(length, source.shape.context)
    chunks = len(tokens) // length
    if not chunks:
        raise UsageError(f"{len(tokens)} tokens are less than one chunk of {length}.", "Give more text.")
    squares = Squares(shape)
    forward = Forward(source, watch=squares)
    with torch.inference_mode():
        table = torch.tensor(tokens[: chunks * length]).view(chunks, length)
        states = [forward.embed(batch) for batch in torch.split(table, max(1, _ROOM // length))]
        for number in range(shape.layers):
            states = [forward.layer(number, state) for state in states]
            tell(number + 1, shape.layers)
    sums = {name: sums.astype(np.float32) for name, sums in squares.sums.items()}
    rows = {name: rows.astype(np.float32) for name, rows in squares.rows.items()}
    return Importance(sums, rows, chunks, length, tuple(texts))


def _linear(shape: Grok) -> Iterator[Spec]:
    return (spec for spec in shape.specs.values() if spec.linear)


def _many(spec: Spec) -> int:
    return spec.shape[0] if spec.kind == "expert" else 1


def _checked(values: NDArray[Any], size: tuple[int, int]) -> NDArray[np.float32]:
    found = np.array(values, np.float32)
    if found.shape != size or not np.isfinite(found).all() or (found < 0).any():
        raise ValueError(f"a tensor is {list(found.shape)} where {list(size)} is due, or not of sums of squares")
    return found
