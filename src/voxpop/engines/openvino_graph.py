"""Make an OpenVINO model of a GGUF file once, in eight-bit weights; it refuses what its few operations cannot say.

Why not the GGUF itself: the AVX-512 integer products of OpenVINO read a prompt about four times as fast, and eight
bits in groups of 128 keep what the file's four to six bits said. Keys and values live in the model's state, heads
of one group are folded into rows, and the state is a plain concatenation: that keeps a cached prefix cheap.
"""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from voxpop.engines.gguf_file import GgufFile, Shape
from voxpop.engines.openvino_quiet import Constant, Variable, VariableInfo, opset6, opset13, ov
from voxpop.engines.template import Template
from voxpop.engines.vocabulary import Vocabulary
from voxpop.errors import VoxpopError

op: Any = opset13
ARCHITECTURES = ("llama", "qwen2", "qwen3")
_FORMAT = 2
_GROUPS = (128, 64, 32)
_END = 2**62


def converted(source: Path) -> Path:
    """The folder of the OpenVINO model made of `source` (model.xml, card.json), made now if it is not there yet.

    Takes about a byte a weight of disk and tens of seconds, once. Raises VoxpopError where the disk is too small.
    """
    folder = source.with_name(f"{source.stem}.openvino")
    if not _is_made(folder, source):
        _make(source, folder)
    return folder


def is_converted(source: Path) -> bool:
    """Whether that was done, and of this file."""
    return _is_made(source.with_name(f"{source.stem}.openvino"), source)


def digest(source: Path) -> str:
    """SHA-256 of the file that a model was made of, read once, which takes seconds; empty where it cannot be."""
    noted = converted(source) / "sha256"
    try:
        if not noted.is_file():
            with source.open("rb") as file:
                noted.write_text(hashlib.file_digest(file, "sha256").hexdigest(), "ascii")
        return noted.read_text("ascii")
    except (OSError, ValueError):
        return ""


def group(shape: Shape) -> int:
    """Weights that share one scale: the largest group that divides every row."""
    rows = (shape.width, shape.heads * shape.head_width, shape.feed_forward)
    fits = [size for size in _GROUPS if all(row % size == 0 for row in rows)]
    if not fits:
        raise VoxpopError(f"Rows of {rows} weights do not fall into groups of 32.", "Choose another model.")
    return fits[0]


def _is_made(folder: Path, source: Path) -> bool:
    try:
        made = orjson.loads((folder / "made.json").read_bytes())
        return bool(made == _mark(source, (folder / "model.bin").stat().st_size))
    except (OSError, ValueError):
        return False


def _mark(source: Path, size: int) -> dict[str, int]:
    found = source.stat()
    return {"format": _FORMAT, "source_bytes": found.st_size, "source_time": found.st_mtime_ns, "bytes": size}


def _make(source: Path, folder: Path) -> None:
    file = GgufFile(source)
    card = file.card()
    if card.shape.architecture not in ARCHITECTURES:
        raise VoxpopError(
            f"'{source.name}' has the architecture '{card.shape.architecture}'.",
            f"Choose a model of {', '.join(ARCHITECTURES)}.",
        )
    Vocabulary(card), Template(card), group(file.shape)  # refuse now what would be refused after the long work
    need = _weights(file) * 9 // 8
    free = shutil.disk_usage(source.parent).free
    if free < 2 * need:
        raise VoxpopError(
            f"Preparing '{source.name}' needs {2 * need / 1e9:.1f} GB of disk; {free / 1e9:.1f} GB are free.",
            f"Free some space in {source.parent}.",
        )
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=source.parent) as scratch:
        with (Path(scratch) / "weights").open("w+b") as space:
            os.ftruncate(space.fileno(), need)
            graph = _Graph(file, np.memmap(space, np.uint8, "r+"))
            done = Path(scratch) / "model"
            done.mkdir()
            ov.save_model(graph.model(), done / "model.xml", compress_to_fp16=False)
            del graph
        card.write(done / "card.json")
        size = (done / "model.bin").stat().st_size
        (done / "made.json").write_bytes(orjson.dumps(_mark(source, size)))
        shutil.rmtree(folder, ignore_errors=True)
        done.replace(folder)


def _weights(file: GgufFile) -> int:
    return sum(int(np.prod(file.size(name))) for name in file.names if len(file.size(name)) > 1)


class _Graph:
    """The model, operation by operation; quantised weights go to `space`, a mapped file, not to memory."""

    def __init__(self, file: GgufFile, space: NDArray[np.uint8]) -> None:
        self.file, self.shape = file, file.shape
        self._space, self._used = space, 0
        self._group = group(file.shape)
        self._sinks: list[Any] = []
        self._variables: list[Any] = []
        self._shared: list[Any] = []
        self._embedding: tuple[Any, Any] | None = None
        self._inverse_frequencies = self._frequencies()

    def model(self) -> Any:
        """Inputs: ids, pos [1,T], mask [1,1,T,S], keep [1]: rows of logits wanted. Output: logits [1,keep,V]."""
        ids, pos = self._input([1, -1], np.int64, "ids"), self._input([1, -1], np.int64, "pos")
        mask, keep = self._input([1, 1, -1, -1], np.float32, "mask"), self._input([1], np.int64, "keep")
        s = self.shape
        turn = self._turn(pos)
        wide_mask = op.concat([mask] * (s.heads // s.kv_heads), 2)
        length = op.gather(op.shape_of(ids), _ints(1), _int(0))
        unfold = op.concat([_ints(1, s.heads), length, _ints(s.head_width)], 0)
        x = self._embed(ids)
        for layer in range(s.layers):
            x = op.add(x, self._attention(layer, x, turn, wide_mask, unfold))
            x = op.add(x, self._feed_forward(layer, x))
        x = self._norm(op.slice(x, op.negative(keep), _ints(_END), _ints(1), _ints(1)), "output_norm")
        head = "output" if "output.weight" in self.file else "token_embd"
        logits = op.result(self._linear(x, head))
        logits.output(0).set_names({"logits"})
        return ov.Model([logits], self._sinks, [ids, pos, mask, keep], "voxpop")

    def _attention(self, layer: int, x: Any, turn: Any, mask: Any, unfold: Any) -> Any:
        s, at = self.shape, f"blk.{layer}."
        y = self._norm(x, at + "attn_norm")
        halves = s.architecture == "llama"
        q = self._heads(self._linear(y, at + "attn_q", s.heads if halves else 0), s.heads)
        k = self._heads(self._linear(y, at + "attn_k", s.kv_heads if halves else 0), s.kv_heads)
        v = self._heads(self._linear(y, at + "attn_v"), s.kv_heads)
        if at + "attn_q_norm.weight" in self.file:
            q, k = self._norm(q, at + "attn_q_norm"), self._norm(k, at + "attn_k_norm")
        folded = op.reshape(turn(q), _ints(0, s.kv_heads, -1, s.head_width), True)
        keys, values = self._keep(turn(k), f"key{layer}"), self._keep(v, f"value{layer}")
        seen = op.reshape(op.scaled_dot_product_attention(folded, keys, values, mask), unfold, False)
        seen = op.reshape(op.transpose(seen, _ints(0, 2, 1, 3)), _ints(0, 0, s.heads * s.head_width), True)
        return self._linear(seen, at + "attn_output")

    def _feed_forward(self, layer: int, x: Any) -> Any:
        y = self._norm(x, f"blk.{layer}.ffn_norm")
        gate = op.swish(self._linear(y, f"blk.{layer}.ffn_gate"))
        return self._linear(op.multiply(gate, self._linear(y, f"blk.{layer}.ffn_up")), f"blk.{layer}.ffn_down")

    def _heads(self, y: Any, count: int) -> Any:
        return op.transpose(op.reshape(y, _ints(0, 0, count, self.shape.head_width), True), _ints(0, 2, 1, 3))

    def _keep(self, new: Any, name: str) -> Any:
        """What the state holds, followed by `new`; the state takes it over."""
        info = VariableInfo()
        info.data_shape = ov.PartialShape([1, self.shape.kv_heads, -1, self.shape.head_width])
        info.data_type, info.variable_id = ov.Type.f32, name
        variable = Variable(info)
        empty = op.constant(np.zeros((1, self.shape.kv_heads, 0, self.shape.head_width), np.float32))
        both = op.concat([opset6.read_value(empty, variable), new], 2)
        self._sinks.append(opset6.assign(both, variable))
        self._variables.append(variable)
        return both

    def _frequencies(self) -> NDArray[np.float32]:
        width = self.shape.head_width
        inverse = 1.0 / self.shape.rope_base ** (np.arange(0, width, 2) / width)
        if "rope_freqs.weight" in self.file:
            inverse = inverse / self.file.vector("rope_freqs.weight")
        return inverse.astype(np.float32).reshape(1, -1, 1)

    def _turn(self, pos: Any) -> Any:
        """The rotary embedding at `pos`, as a function of queries or keys."""
        place = op.convert(op.unsqueeze(pos, _ints(1)), "f32")
        angle = op.transpose(op.matmul(op.constant(self._inverse_frequencies), place, False, False), _ints(0, 2, 1))
        angles = op.unsqueeze(op.concat([angle, angle], -1), _ints(1))
        cos, sin, half = op.cos(angles), op.sin(angles), self.shape.head_width // 2
        minus = op.constant(np.full((1, 1, 1, 1), -1, np.float32))

        def turned(x: Any) -> Any:
            left = op.slice(x, _ints(0), _ints(half), _ints(1), _ints(3))
            right = op.slice(x, _ints(half), _ints(_END), _ints(1), _ints(3))
            return op.add(op.multiply(x, cos), op.multiply(op.concat([op.multiply(right, minus), left], -1), sin))

        return turned

    def _norm(self, x: Any, name: str) -> Any:
        weight = self.file.vector(name + ".weight")
        square = op.reduce_mean(op.power(x, _float(2.0)), _ints(-1), True)
        scale = op.divide(_float(1.0), op.sqrt(op.add(square, _float(self.shape.norm_epsilon))))
        return op.multiply(op.constant(weight.reshape(1, 1, -1)), op.multiply(x, scale))

    def _embed(self, ids: Any) -> Any:
        values, scales = self._quantised("token_embd.weight", self.shape.width)
        self._embedding = values, scales
        rows = op.gather(self._constant(values), ids, _int(0))
        return op.multiply(op.convert(rows, "f32"), op.gather(op.constant(scales.astype(np.float32)), ids, _int(0)))

    def _linear(self, x: Any, name: str, interleaved: int = 0) -> Any:
        rows, columns = self.file.size(name + ".weight")
        size = columns if name in ("output", "token_embd") else self._group
        tied = self._embedding if name == "token_embd" else None
        values, scales = tied or self._quantised(name + ".weight", size, interleaved)
        if size != columns:
            values = values.reshape(rows, columns // size, size)
            scales = scales.reshape(rows, columns // size, 1)
        weight = op.multiply(op.convert(self._constant(values), "f16"), op.constant(scales))
        if size != columns:
            weight = op.reshape(weight, _ints(rows, columns), False)
        y = op.matmul(x, op.convert(weight, "f32"), False, True)
        if name + ".bias" in self.file:
            bias = self.file.vector(name + ".bias")[_rows(rows, interleaved)]
            y = op.add(y, op.constant(bias.reshape(1, 1, -1)))
        return y

    def _quantised(self, name: str, size: int, interleaved: int = 0) -> tuple[Any, Any]:
        """A matrix in signed bytes, and a scale for each `size` weights of a row."""
        rows, columns = self.file.size(name)
        values = self._space[self._used : self._used + rows * columns].view(np.int8).reshape(rows, columns)
        self._used += rows * columns
        scales = np.empty((rows, columns // size), np.float16)
        for first, block in self.file.blocks(name):
            parts = block.reshape(len(block), -1, size)
            scale = np.maximum(np.abs(parts).max(-1, keepdims=True) / 127, 6.2e-5).astype(np.float16)
            whole = np.rint(parts / scale.astype(np.float32)).clip(-127, 127)
            values[first : first + len(block)] = whole.reshape(block.shape)
            scales[first : first + len(block)] = scale[..., 0]
        if interleaved:
            order = _rows(rows, interleaved)
            values[:], scales = values[order], scales[order]
        return values, scales

    def _constant(self, values: NDArray[np.int8]) -> Any:
        """A constant that reads the mapped file; the tensor has to live as long as the model."""
        self._shared.append(ov.Tensor(np.asarray(values), shared_memory=True))
        return Constant(self._shared[-1])

    def _input(self, dimensions: list[int], kind: Any, name: str) -> Any:
        made = op.parameter(dimensions, kind, name=name)
        made.output(0).set_names({name})
        return made


def _rows(rows: int, interleaved: int) -> NDArray[np.int64]:
    """GGUF interleaves the two rotary halves of each llama head; we keep them one after the other."""
    order = np.arange(rows)
    return order if not interleaved else order.reshape(interleaved, -1, 2).swapaxes(1, 2).reshape(-1)


def _ints(*values: int) -> Any:
    return op.constant(np.array(values, np.int64))


def _int(value: int) -> Any:
    return op.constant(np.array(value, np.int64))


def _float(value: float) -> Any:
    return op.constant(np.array(value, np.float32))
