"""Read what a GGUF file says of its model, its tokens and its chat template; weights are read in blocks of rows.

It refuses a file that is damaged or does not give the sizes of a transformer; it runs nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import orjson
from numpy.typing import NDArray

from voxpop.engines.gguf_bounded import Bounded
from voxpop.errors import VoxpopError

_CARD_KEYS = tuple(
    f"tokenizer.{key}"
    for key in (
        "chat_template",
        *(f"ggml.{k}" for k in ("model", "pre", "tokens", "token_type", "merges", "bos_token_id", "eos_token_id")),
        *(f"ggml.{k}" for k in ("scores", "add_space_prefix", "add_bos_token")),
    )
)
_BLOCK_ROWS = 4096


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a transformer, under the names that the literature gives them.

    Of the `experts` of a layer a token goes through `chosen`; both are 1 where a layer is one feed-forward.
    """

    architecture: str
    layers: int
    width: int
    heads: int
    kv_heads: int
    head_width: int
    feed_forward: int
    context: int
    rope_base: float
    norm_epsilon: float
    experts: int = 1
    chosen: int = 1


@dataclass(frozen=True, slots=True)
class Card:
    """What a file says, without its weights: a GGUF takes seconds to read, its card a few hundredths."""

    name: str
    shape: Shape
    values: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> "Card":
        """A card that `write` wrote."""
        row = orjson.loads(path.read_bytes())
        return cls(row["name"], Shape(**row["shape"]), row["values"])

    def write(self, path: Path) -> None:
        """Keep it at `path`."""
        path.write_bytes(orjson.dumps(asdict(self)))


class GgufFile:
    """An open GGUF file of a transformer. Raises VoxpopError where it is anything else."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with readable(str(path)):
            self._reader = Bounded(path)
            self._tensors = {tensor.name: tensor for tensor in self._reader.tensors}
            self.shape = self._read_shape()

    def value(self, key: str, default: Any = None) -> Any:
        """A metadata value, or `default`."""
        field = self._reader.fields.get(key)
        return default if field is None else field.contents()

    def card(self) -> Card:
        """Its card."""
        with readable(self.path.name):
            found = {key: self.value(key) for key in _CARD_KEYS}
        return Card(self.path.name, self.shape, {k: v for k, v in found.items() if v is not None})

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    @property
    def names(self) -> tuple[str, ...]:
        """Every tensor."""
        return tuple(self._tensors)

    def size(self, name: str) -> tuple[int, ...]:
        """A tensor's dimensions, rows first."""
        return tuple(int(n) for n in reversed(self._tensors[name].shape))

    def vector(self, name: str) -> NDArray[np.float32]:
        """A small tensor whole."""
        tensor = self._tensors[name]
        return gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32).reshape(self.size(name))

    def blocks(self, name: str, rows: int = _BLOCK_ROWS) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """A matrix in blocks of at most `rows` rows: (first row, values)."""
        tensor = self._tensors[name]
        for first in range(0, self.size(name)[0], rows):
            data = gguf.dequantize(tensor.data[first : first + rows], tensor.tensor_type)
            yield first, data.astype(np.float32, copy=False)

    def _read_shape(self) -> Shape:
        architecture = str(self.value("general.architecture", "?"))

        def number(key: str, default: Any = None) -> Any:
            found = self.value(f"{architecture}.{key}", default)
            if found is None:
                raise VoxpopError(f"'{self.path.name}' does not give {key}.", "Pull the model again.")
            return found

        width, heads = int(number("embedding_length")), int(number("attention.head_count"))
        return Shape(
            architecture,
            int(number("block_count")),
            width,
            heads,
            int(number("attention.head_count_kv", heads)),
            int(number("attention.key_length", width // heads)),
            int(number("feed_forward_length")),
            int(number("context_length")),
            float(number("rope.freq_base", 10_000.0)),
            float(number("attention.layer_norm_rms_epsilon")),
            max(1, int(number("expert_count", 1))),
            max(1, int(number("expert_used_count", 1))),
        )


@contextmanager
def readable(name: str) -> Iterator[None]:
    """A damaged file can break its readers in any way, and `tokenizers` raises bare Exceptions."""
    try:
        yield
    except VoxpopError:
        raise
    except Exception as error:
        what = f"'{name}' is not a readable GGUF file: {type(error).__name__}: {error}."
        raise VoxpopError(what, "Remove it and pull the model again.") from error
