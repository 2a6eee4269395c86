"""Vectors of texts: the mean of its tokens' static vectors, from a package whose code is not run.

The table is WordLlama's `l2_supercat` (MIT): 32,000 tokens, 256 numbers each, trained so that the first 64 or 128
serve alone. A text costs microseconds, no model runs. It knows words and their kin, no order and hardly any other
language than English (measured: `benchmarks/embeddings.py`).
"""

import json
import struct
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from voxpop.errors import VoxpopError

NAME = "voxpop-embed-1"
# What programs ask for that were written for others. The vectors are ours: they find nothing in an index of theirs.
ALIASES = ("text-embedding-3-small", "text-embedding-3-large", "text-embedding-ada-002", "ada-002", "v1")
SIZES = (64, 128, 256)
_PACKAGE = "wordllama"
_TABLE = "weights/l2_supercat_256.safetensors"
_TOKENS = "tokenizers/l2_supercat_tokenizer_config.json"
_SHAPE = (32_000, 256)


@dataclass(frozen=True, slots=True)
class Vectors:
    """A loaded table and its tokenizer."""

    table: Any
    tokenizer: Any

    @classmethod
    def load(cls) -> Self:
        """Read both from the installed package. Raises VoxpopError `no_embeddings` where it is not there."""
        try:
            import numpy
            from tokenizers import Tokenizer

            found = find_spec(_PACKAGE)
            folder = Path(next(iter(found.submodule_search_locations or ()))) if found else None
        except (ImportError, StopIteration):
            folder = None
        if folder is None or not (folder / _TABLE).is_file():
            cure = "Install them on the server: pip install 'voxpop[embeddings]'"
            raise VoxpopError("This server has no vectors of words.", cure, code="no_embeddings")
        raw = (folder / _TABLE).read_bytes()
        (size,) = struct.unpack_from("<Q", raw)
        head = json.loads(raw[8 : 8 + size])["embedding.weight"]
        if tuple(head["shape"]) != _SHAPE or head["dtype"] != "F16":
            cure = "Install the version that voxpop[embeddings] names."
            raise VoxpopError("The vectors of words are not those that are known.", cure, code="no_embeddings")
        table = numpy.frombuffer(raw, "<f2", _SHAPE[0] * _SHAPE[1], 8 + size + head["data_offsets"][0])
        tokenizer = Tokenizer.from_file(str(folder / _TOKENS))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return cls(table.reshape(_SHAPE).astype("<f4"), tokenizer)

    def embed(self, texts: list[str], size: int = _SHAPE[1]) -> tuple[Any, list[int]]:
        """Unit vectors of `size` numbers, one a text, and how many tokens each text has."""
        import numpy

        coded = [e.ids for e in self.tokenizer.encode_batch(texts, add_special_tokens=False)]
        rows = numpy.stack([self.table[ids].mean(0) if ids else self.table[:1].mean(0) for ids in coded])[:, :size]
        return rows / numpy.maximum(numpy.linalg.norm(rows, axis=1, keepdims=True), 1e-9), [len(c) for c in coded]
