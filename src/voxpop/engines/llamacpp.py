"""A GGUF model in llama.cpp: sequences of tokens that are fed, cut and copied, and the logits of what was fed.

It chooses no token and reads no text. A file that llama.cpp cannot load, and a context that is too large for this
machine, are refused. Not for several threads at once.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

from voxpop.cores import cores_of
from voxpop.engines.llama_library import PROGRESS, SAID, Batch, library
from voxpop.errors import UsageError, VoxpopError

_KV = {"f32": 0, "f16": 1}
_BATCH = 512
_MOST_SEQUENCES = 256
_NONE, _MMAP = 0, 1


class LlamaModel:
    """A model and its sequences, each in places of its own, so that none changes what another computes.

    `context` is how many tokens a sequence holds, `sequences` how many there are; `threads` 0 takes every
    physical core; `kv` is the type of keys and values; `gpu_layers` go to a GPU where the library has one;
    `progress` is told the share (0 to 1) that is loaded; `planned` reads no weight and computes nothing.
    Raises VoxpopError where the file cannot be loaded.
    """

    def __init__(
        self,
        path: Path,
        *,
        context: int = 8192,
        sequences: int = 1,
        threads: int = 0,
        kv: Literal["f16", "f32"] = "f16",
        gpu_layers: int = 0,
        progress: Callable[[float], None] | None = None,
        planned: bool = False,
    ) -> None:
        if not 1 <= sequences <= _MOST_SEQUENCES or context < 1:
            raise UsageError(f"{sequences} sequences of {context} tokens.", "Ask for 1 to 256, of 1 token or more.")
        self._library = library()
        self._model = self._loaded(path, gpu_layers, progress, planned)
        self._free_model = finalize(self, self._library.llama_model_free, self._model)
        self._context = self._made(path, context, sequences, threads or cores_of()[0], kv)
        self._free_context = finalize(self, self._library.llama_free, self._context)
        self._memory = self._library.llama_get_memory(self._context)
        self.context, self._sequences = context, sequences
        self.vocabulary: int = self._library.llama_vocab_n_tokens(self._library.llama_model_get_vocab(self._model))
        self.parameters: int = self._library.llama_model_n_params(self._model)
        self._rooms = _Rooms(_BATCH)
        self._given = 0

    def session(self) -> "LlamaSequence":
        """The next sequence that nobody has. Raises UsageError where all are given."""
        if self._given == self._sequences:
            raise UsageError(f"All {self._sequences} sequences are in use.", "Open the model with more.")
        self._given += 1
        return LlamaSequence(self, self._given - 1)

    def feed(self, sequence: int, at: int, tokens: Sequence[int], rows: int) -> NDArray[np.float32]:
        """Put `tokens` into a sequence from place `at` on; the logits [rows, vocabulary] of the last `rows`.

        Raises VoxpopError where a token is not of the vocabulary, or there is no place left.
        """
        told: list[NDArray[np.float32]] = []
        wanted = len(tokens) - rows
        for first in range(0, len(tokens), _BATCH):
            part = tokens[first : first + _BATCH]
            batch = self._rooms.batch(sequence, at + first, part, max(0, wanted - first))
            status = self._library.llama_decode(self._context, batch)
            if status:
                self.cut(sequence, at)
                raise _failed(status, at + len(tokens), self.context)
            if (count := min(len(part), first + len(part) - wanted)) > 0:
                told.append(self._logits(count))
        return told[0] if len(told) == 1 else np.concatenate(told or [np.empty((0, self.vocabulary), np.float32)])

    def cut(self, sequence: int, length: int) -> None:
        """Keep only the first `length` tokens of a sequence."""
        self._library.llama_memory_seq_rm(self._memory, sequence, length, -1)

    def copy(self, sequence: int) -> NDArray[np.uint8]:
        """The keys and values of a sequence."""
        size = self._library.llama_state_seq_get_size(self._context, sequence)
        data = np.empty(size, np.uint8)
        self._library.llama_state_seq_get_data(self._context, data.ctypes.data, size, sequence)
        return data

    def load(self, sequence: int, data: NDArray[np.uint8]) -> None:
        """Put what `copy` gave into an empty sequence. Raises VoxpopError where it is of another model."""
        if not self._library.llama_state_seq_set_data(self._context, data.ctypes.data, data.size, sequence):
            raise VoxpopError(f"A copy of {data.size} bytes cannot be loaded: {SAID.why()}.", code="engine_failed")

    def close(self) -> None:
        """Give the memory back; nothing of this model may be used after it."""
        self._free_context()
        self._free_model()

    def __enter__(self) -> "LlamaModel":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _logits(self, rows: int) -> NDArray[np.float32]:
        found = self._library.llama_get_logits(self._context)
        return np.ctypeslib.as_array(found, (rows, self.vocabulary)).copy()

    def _loaded(self, path: Path, gpu_layers: int, progress: Callable[[float], None] | None, planned: bool) -> int:
        if not path.is_file():
            raise VoxpopError(f"There is no file {path}.", "Give the path of a GGUF file.", code="no_model")

        def tell(share: float, _data: Any) -> bool:
            if progress:
                progress(share)
            return True

        params = self._library.llama_model_default_params()
        params.n_gpu_layers, params.load_mode = gpu_layers, _NONE if planned else _MMAP
        params.no_alloc = planned
        params.progress_callback = keep = PROGRESS(tell)
        SAID.why()
        model = self._library.llama_model_load_from_file(os.fsencode(path), params)
        del keep
        if not model:
            raise VoxpopError(
                f"'{path.name}' cannot be loaded: {SAID.why() or 'llama.cpp gives no reason'}.",
                "Remove it and make or pull the model again.",
                code="bad_model",
            )
        return int(model)

    def _made(self, path: Path, context: int, sequences: int, threads: int, kv: str) -> int:
        params = self._library.llama_context_default_params()
        params.n_ctx, params.n_seq_max = context * sequences, sequences
        params.n_batch = params.n_ubatch = _BATCH
        params.n_outputs_max_per_seq = 0
        params.n_threads = params.n_threads_batch = threads
        params.type_k = params.type_v = _KV[kv]
        SAID.why()
        made = self._library.llama_init_from_model(self._model, params)
        if not made:
            self._free_model()
            raise VoxpopError(
                f"'{path.name}' got no context of {context} tokens: {SAID.why() or 'no reason given'}.",
                "Ask for a smaller context, or free some memory.",
                code="no_memory",
            )
        return int(made)


class Copy(NamedTuple):
    """What a sequence held: how many tokens, and their keys and values as llama.cpp writes them."""

    length: int
    data: NDArray[np.uint8]


class LlamaSequence:
    """One sequence of a model: what it holds, and what comes next."""

    def __init__(self, model: LlamaModel, number: int) -> None:
        self.model, self.number = model, number
        self._length = 0

    def __len__(self) -> int:
        """How many tokens it holds."""
        return self._length

    def feed(self, tokens: Sequence[int], rows: int = 1) -> NDArray[np.float32]:
        """Append `tokens`; the logits [rows, vocabulary] after the last `rows` of them. Raises VoxpopError."""
        logits = self.model.feed(self.number, self._length, tokens, rows)
        self._length += len(tokens)
        return logits

    def cut(self, length: int) -> None:
        """Keep only the first `length` tokens."""
        if length < self._length:
            self.model.cut(self.number, length)
            self._length = length

    def copy(self) -> Copy:
        """What it holds now."""
        return Copy(self._length, self.model.copy(self.number))

    def begin(self, copy: Copy) -> None:
        """Hold what `copy` holds, and nothing else. Raises VoxpopError where it is of another model."""
        self.cut(0)
        self.model.load(self.number, copy.data)
        self._length = copy.length


class _Rooms:
    """The arrays that a batch points to; they live as long as the model."""

    def __init__(self, most: int) -> None:
        self._tokens = np.zeros(most, np.int32)
        self._places = np.zeros(most, np.int32)
        self._counts = np.ones(most, np.int32)
        self._sequence = np.zeros(1, np.int32)
        self._sequences = np.full(most, self._sequence.ctypes.data, np.uintp)
        self._wanted = np.zeros(most, np.int8)

    def batch(self, sequence: int, at: int, tokens: Sequence[int], silent: int) -> Batch:
        """A batch of `tokens` from place `at` on, with logits of all but the first `silent`."""
        count = len(tokens)
        self._tokens[:count] = tokens
        self._places[:count] = np.arange(at, at + count)
        self._sequence[0] = sequence
        self._wanted[:count] = np.arange(count) >= silent
        arrays = (self._places, self._counts, self._sequences, self._wanted)
        return Batch(count, self._tokens.ctypes.data, None, *(a.ctypes.data for a in arrays))


def _failed(status: int, length: int, context: int) -> VoxpopError:
    if status == 1:
        what = f"A sequence of {length} tokens found no place among {context}."
        return VoxpopError(what, "Ask for less at once, or open the model with a larger context.", code="too_long")
    why = SAID.why() or "no reason given"
    return VoxpopError(f"llama.cpp failed with {status}: {why}.", "Ask again.", code="engine_failed")
