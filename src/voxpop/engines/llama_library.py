"""llama.cpp's C interface, from the library that the package xllamacpp holds; another layout of it is refused.

Two structs pass by value, so their layout must be this build's: each is compared with the defaults that the library
itself returns. Source: `include/llama.h` of ggml-org/llama.cpp, as of October 2026. No port is opened.
"""

import ctypes
import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ctypes import POINTER, Structure, c_bool, c_char_p, c_float, c_int8, c_int32, c_size_t, c_uint32, c_void_p
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from voxpop.errors import VoxpopError

PROGRESS = ctypes.CFUNCTYPE(c_bool, c_float, c_void_p)
_LOG = ctypes.CFUNCTYPE(None, ctypes.c_int, c_char_p, c_void_p)
_ERROR_LEVEL = 4
_SPARE = 32  # words behind a struct: what a later build may add at its end passes through unchanged
_NO_BACKTRACE = "GGML_NO_BACKTRACE"  # otherwise a debugger is started on this process where ggml ends it
_WAITING = "OMP_WAIT_POLICY"
_CURE = "Install the pinned range: pip install 'voxpop[local]'"


class ModelParams(Structure):
    """`llama_model_params`."""

    _fields_ = (
        ("devices", c_void_p),
        ("tensor_buft_overrides", c_void_p),
        ("n_gpu_layers", c_int32),
        ("split_mode", c_int32),
        ("load_mode", c_int32),
        ("lazy_mode", c_int32),
        ("main_gpu", c_int32),
        ("tensor_split", c_void_p),
        ("progress_callback", PROGRESS),
        ("progress_callback_user_data", c_void_p),
        ("kv_overrides", c_void_p),
        ("vocab_only", c_int8),
        ("check_tensors", c_int8),
        ("use_extra_bufts", c_int8),
        ("no_host", c_int8),
        ("no_alloc", c_int8),
        ("load_mtp", c_int8),
        ("later", c_size_t * _SPARE),
    )


class ContextParams(Structure):
    """`llama_context_params`."""

    _fields_ = (
        *((n, c_uint32) for n in ("n_ctx", "n_batch", "n_ubatch", "n_seq_max", "n_rs_seq", "n_outputs_max")),
        ("n_outputs_max_per_seq", c_uint32),
        *((n, c_int32) for n in ("n_threads", "n_threads_batch", "ctx_type", "rope_scaling_type", "pooling_type")),
        *((n, c_int32) for n in ("attention_type", "flash_attn_type")),
        *((n, c_float) for n in ("rope_freq_base", "rope_freq_scale", "yarn_ext_factor", "yarn_attn_factor")),
        *((n, c_float) for n in ("yarn_beta_fast", "yarn_beta_slow")),
        ("yarn_orig_ctx", c_uint32),
        ("defrag_thold", c_float),
        ("cb_eval", c_void_p),
        ("cb_eval_user_data", c_void_p),
        ("type_k", c_int32),
        ("type_v", c_int32),
        ("unnamed", c_void_p),  # this build has a pointer here that no header we found names
        ("abort_callback", c_void_p),
        ("abort_callback_data", c_void_p),
        *((n, c_int8) for n in ("embeddings", "offload_kqv", "no_perf", "op_offload", "swa_full", "kv_unified")),
        ("samplers", c_void_p),
        ("n_samplers", c_size_t),
        ("ctx_other", c_void_p),
        ("later", c_size_t * _SPARE),
    )


class Batch(Structure):
    """`llama_batch`: tokens with their places and sequences, and of which of them logits are wanted."""

    _fields_ = (
        ("n_tokens", c_int32),
        ("token", c_void_p),
        ("embd", c_void_p),
        ("pos", c_void_p),
        ("n_seq_id", c_void_p),
        ("seq_id", c_void_p),
        ("logits", c_void_p),
    )


# The defaults by which a layout is known; what is not named is 0.
_MODEL_DEFAULTS = {"n_gpu_layers": -1, "split_mode": 1, "load_mode": -1, "lazy_mode": 1, "use_extra_bufts": 1}
_CONTEXT_DEFAULTS = {
    **{"n_ctx": 512, "n_batch": 2048, "n_ubatch": 512, "n_seq_max": 1, "n_outputs_max_per_seq": 1},
    **{"n_threads": 4, "n_threads_batch": 4, "rope_scaling_type": -1, "pooling_type": -1, "attention_type": -1},
    **{"flash_attn_type": -1, "yarn_ext_factor": -1.0, "yarn_attn_factor": -1.0, "yarn_beta_fast": -1.0},
    **{"yarn_beta_slow": -1.0, "defrag_thold": -1.0, "type_k": 1, "type_v": 1, "offload_kqv": 1, "no_perf": 1},
    **{"op_offload": 1, "swa_full": 1},
}
_SIGNATURES: dict[str, tuple[Any, Sequence[Any]]] = {
    "llama_backend_init": (None, ()),
    "llama_log_set": (None, (_LOG, c_void_p)),
    "llama_model_default_params": (ModelParams, ()),
    "llama_context_default_params": (ContextParams, ()),
    "llama_batch_get_one": (Batch, (c_void_p, c_int32)),
    "llama_model_load_from_file": (c_void_p, (c_char_p, ModelParams)),
    "llama_model_free": (None, (c_void_p,)),
    "llama_model_get_vocab": (c_void_p, (c_void_p,)),
    "llama_model_n_params": (ctypes.c_uint64, (c_void_p,)),
    "llama_vocab_n_tokens": (c_int32, (c_void_p,)),
    "llama_init_from_model": (c_void_p, (c_void_p, ContextParams)),
    "llama_free": (None, (c_void_p,)),
    "llama_n_ctx": (c_uint32, (c_void_p,)),
    "llama_n_batch": (c_uint32, (c_void_p,)),
    "llama_n_ubatch": (c_uint32, (c_void_p,)),
    "llama_n_seq_max": (c_uint32, (c_void_p,)),
    "llama_n_threads": (c_int32, (c_void_p,)),
    "llama_n_threads_batch": (c_int32, (c_void_p,)),
    "llama_decode": (c_int32, (c_void_p, Batch)),
    "llama_get_logits": (POINTER(c_float), (c_void_p,)),
    "llama_get_memory": (c_void_p, (c_void_p,)),
    "llama_memory_seq_rm": (c_bool, (c_void_p, c_int32, c_int32, c_int32)),
    "llama_state_seq_get_size": (c_size_t, (c_void_p, c_int32)),
    "llama_state_seq_get_data": (c_size_t, (c_void_p, c_void_p, c_size_t, c_int32)),
    "llama_state_seq_set_data": (c_size_t, (c_void_p, c_void_p, c_size_t, c_int32)),
}


class _Said:
    """The last errors that the library told; everything else that it tells is dropped."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=4)
        self._lock = threading.Lock()
        self.callback = _LOG(self._take)

    def _take(self, level: int, text: bytes | None, _data: Any) -> None:
        if level == _ERROR_LEVEL and text:
            with self._lock:
                self._lines.append(text[:400].decode("utf-8", "replace").strip())

    def why(self) -> str:
        """What it told last, and forget it."""
        with self._lock:
            told = "; ".join(line for line in self._lines if line)
            self._lines.clear()
        return told


SAID = _Said()


@cache
def library() -> Any:
    """The loaded library, once in a process. Raises VoxpopError where it is missing or has another layout."""
    path = _path()
    os.environ.setdefault(_NO_BACKTRACE, "1")
    try:
        with _patient():
            found = ctypes.CDLL(str(path))
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(found, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        raise _unfit(f"it cannot be used: {error}") from error
    _check(found)
    found.llama_log_set(SAID.callback, None)
    found.llama_backend_init()
    return found


@contextmanager
def _patient() -> Iterator[None]:
    """Threads of the library sleep where they wait for each other, unless the operator says otherwise.

    libgomp reads this as it is loaded. By default they spin: beside other work on the same cores, two threads then
    made 2 tokens a second where these make 37.
    """
    mine = os.environ.setdefault(_WAITING, "") == ""
    try:
        if mine:
            os.environ[_WAITING] = "passive"
        yield
    finally:
        if mine:
            del os.environ[_WAITING]


def _path() -> Path:
    spec = find_spec("xllamacpp")
    folders = spec.submodule_search_locations if spec else None
    found = [p for f in folders or () for p in sorted(Path(f).glob("xllamacpp*")) if p.suffix in (".so", ".pyd")]
    if not found:
        raise VoxpopError("llama.cpp is not on this machine.", _CURE, code="no_local_engine")
    return found[0]


def _check(found: Any) -> None:
    """Raises VoxpopError where a struct of the library is not laid out as it is here."""
    for name, defaults in (("model", _MODEL_DEFAULTS), ("context", _CONTEXT_DEFAULTS)):
        params = getattr(found, f"llama_{name}_default_params")()
        for field, *_ in params._fields_[:-1]:
            value, known = getattr(params, field), defaults.get(field, 0)
            if (value or 0) != known:
                raise _unfit(f"llama_{name}_params.{field} is {value}, not {known}")
    token = (c_int32 * 1)(7)
    batch = found.llama_batch_get_one(ctypes.addressof(token), 1)
    rest = (batch.embd, batch.pos, batch.n_seq_id, batch.seq_id, batch.logits)
    if (batch.n_tokens, batch.token) != (1, ctypes.addressof(token)) or any(rest):
        raise _unfit("llama_batch is laid out in another way")


def _unfit(why: str) -> VoxpopError:
    try:
        named = version("xllamacpp")
    except PackageNotFoundError:
        named = "of no known version"
    return VoxpopError(f"The llama.cpp of xllamacpp {named} is not the one that voxpop knows: {why}.", _CURE)
