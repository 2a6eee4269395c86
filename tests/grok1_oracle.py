"""xAI's own model.py, unmodified, as the oracle; `--store` writes the logits that tests compare with.

    VOXPOP_GROK1_REFERENCE=/a/copy/of/xai-org/grok-1 python tests/grok1_oracle.py --store

It needs jax and dm-haiku. Nothing of xAI's is in this repository: the variable names a folder that holds model.py,
or the file. What model.py asks of an old jax is given to it here, from outside. `noise_free` makes its bfloat16
float32, so that only real differences are left: its own roundings are ten thousand times larger than those.
"""

import hashlib
import importlib.util
import os
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np

from voxpop.weights.grok import EMBEDDING, FINAL_NORM, Grok
from voxpop.weights.random_weights import random_weights
from voxpop.weights.tensors import Held, Quantised, Source

VARIABLE = "VOXPOP_GROK1_REFERENCE"
STORED = Path(__file__).parent / "grok1_logits.npz"
# Small, and yet all is there: more than one key head, several query heads to each, a feed-forward of an odd size.
SMALL = Grok(
    layers=2,
    width=64,
    heads=4,
    kv_heads=2,
    head_width=16,
    feed_forward=344,
    vocabulary=512,
    context=64,
    row_groups=1,
    embedding_scale=8.0,
    attention_scale=0.25,
)
TALL = replace(SMALL, layers=12)
GROUPED = replace(SMALL, row_groups=8)
SHAPES = {"small": SMALL, "tall": TALL, "grouped": GROUPED}
# xAI's names of the tensors of a layer.
LAYER = {
    "multi_head_attention/query": "query",
    "multi_head_attention/key": "key",
    "multi_head_attention/value": "value",
    "multi_head_attention/linear": "out",
    "moe/linear": "gate",
    "moe/linear_v": "up",
    "moe/linear_1": "down",
    "router": "router",
    "rms_norm": "attention_norm",
    "rms_norm_1": "attention_out_norm",
    "rms_norm_2": "expert_norm",
    "rms_norm_3": "expert_out_norm",
}


@cache
def weights(name: str) -> Held:
    """The stressed weights that belong to a shape of SHAPES, the same everywhere."""
    return random_weights(SHAPES[name], seed=list(SHAPES).index(name))


def tokens(length: int = 20, sequences: int = 2, vocabulary: int = 512) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Token numbers without a 0, which xAI's code hides."""
    return np.random.RandomState(7).randint(1, vocabulary, (sequences, length)).astype(np.int64)


def padded() -> np.ndarray[Any, np.dtype[np.int64]]:
    """The same with a 0 first and a 0 in the middle."""
    given = tokens()
    given[:, [0, 9]] = 0
    return given


def checksum(held: Source) -> str:
    """SHA-256 over every tensor: tells a generator that has drifted from a forward that is wrong."""
    digest = hashlib.sha256()
    for name in held.shape.specs:
        tensor = held.read(name)
        for array in (tensor.weight, tensor.scales) if isinstance(tensor, Quantised) else (tensor,):
            digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def reference() -> Path | None:
    """xAI's model.py, where the variable names it."""
    named = os.environ.get(VARIABLE)
    if not named:
        return None
    path = Path(named)
    return path / "model.py" if path.is_dir() else path


class Numbers:
    """jax.numpy as model.py sees it; it keeps what was asked of it."""

    def __init__(self, *, noise_free: bool) -> None:
        import jax.numpy

        self._real = jax.numpy
        self.products: list[str] = []
        self.hottest = 0.0
        if noise_free:
            self.bfloat16 = jax.numpy.float32

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def einsum(self, subscripts: str, *operands: Any, **options: Any) -> Any:
        self.products.append(subscripts)
        return self._real.einsum(subscripts, *operands, **options)

    def tanh(self, x: Any) -> Any:
        self.hottest = max(self.hottest, float(abs(x).max()))
        return self._real.tanh(x)


class Oracle:
    """model.py for one checkpoint, on `devices` of the machine (8: as xAI ran it, scales of rows in groups)."""

    def __init__(self, source: Source, *, noise_free: bool = True, devices: int = 1) -> None:
        path = reference()
        if path is None:
            raise SystemExit(f"Set {VARIABLE} to a copy of github.com/xai-org/grok-1.")
        os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=8")
        os.environ.setdefault("JAX_PLATFORMS", "cpu")
        import jax
        import jax.numpy as jnp

        self.module = _loaded(path)
        self.numbers = Numbers(noise_free=noise_free)
        self.module.jnp = self.numbers
        self.precision = jnp.float32 if noise_free else jnp.bfloat16
        self.mesh = jax.sharding.Mesh(np.array(jax.devices()[:devices]).reshape(1, devices), ("data", "model"))
        self.shape = source.shape
        self.parameters = self._parameters(source)

    def logits(self, tokens_BL: Any) -> Any:
        """Logits of a whole forward, float32 [B, L, V]."""
        import haiku as hk
        import jax

        def forward(given: Any) -> Any:
            return self._model()(given).logits

        applied = hk.without_apply_rng(hk.transform(forward)).apply
        with jax.default_matmul_precision("highest"):
            # One at a time: with int8 weights its attention loses the axis of sequences.
            done = [applied(self.parameters, np.asarray(one, np.int32)[None]) for one in tokens_BL]
        return np.concatenate(done).astype(np.float32)

    def decoded(self, tokens_BL: Any, prompt: int) -> Any:
        """Of one sequence, logits after each token from `prompt` on, given one at a time, as runners.py does."""
        import haiku as hk
        import jax
        import jax.numpy as jnp

        sequences, length = tokens_BL.shape

        def prefill(given: Any) -> Any:
            model = self._model()
            memory = model.init_memory(sequences, length, dtype=self.precision)
            return model(given, memory).model_state

        def step(given: Any, memory: Any) -> Any:
            return self._model()(given, memory)

        # The prompt is as long as the memory: padded, and then the memory is told how much of it was meant.
        padded = np.where(np.arange(length) < prompt, tokens_BL, 0).astype(np.int32)
        out = []
        with jax.default_matmul_precision("highest"):
            memory = hk.without_apply_rng(hk.transform(prefill)).apply(self.parameters, padded)
            meant = jnp.full(sequences, prompt, jnp.int32)
            memory = memory._replace(layers=[layer._replace(step=meant) for layer in memory.layers])
            applied = hk.without_apply_rng(hk.transform(step)).apply
            for place in range(prompt, length):
                given = np.asarray(tokens_BL[:, place : place + 1], np.int32)
                done = applied(self.parameters, given, memory)
                memory = done.model_state
                out.append(np.asarray(done.logits).astype(np.float32))
        return np.concatenate(out, 1)

    def _model(self) -> Any:
        shape = self.shape
        config = self.module.LanguageModelConfig(
            vocab_size=shape.vocabulary,
            pad_token=0,
            eos_token=2,
            sequence_len=shape.context,
            embedding_multiplier_scale=shape.embedding_scale,
            output_multiplier_scale=shape.output_scale,
            fprop_dtype=self.precision,
            model=self.module.TransformerConfig(
                emb_size=shape.width,
                widening_factor=8,
                key_size=shape.head_width,
                num_q_heads=shape.heads,
                num_kv_heads=shape.kv_heads,
                num_layers=shape.layers,
                vocab_size=shape.vocabulary,
                attn_output_multiplier=shape.attention_scale,
                num_experts=shape.experts,
                num_selected_experts=shape.chosen,
            ),
        )
        return config.initialize().make(mesh=self.mesh)

    def _parameters(self, source: Source) -> dict[str, dict[str, Any]]:
        top = {
            "language_model/in_out_embed": {"embeddings": source.read(EMBEDDING)},
            "language_model/rms_norm": {"scale": source.read(FINAL_NORM)},
        }
        for number in range(source.shape.layers):
            for theirs, ours in LAYER.items():
                tensor: Any = source.read(f"layers.{number}.{ours}")
                if isinstance(tensor, Quantised):
                    scales = tensor.scales.astype(np.dtype(self.precision))
                    tensor = self.module.QuantizedWeight8bit(tensor.weight, scales)
                leaf = "scale" if theirs.startswith("rms_norm") else "w"
                top[f"transformer/decoder_layer_{number}/{theirs}"] = {leaf: tensor}
        return top


def _loaded(path: Path) -> ModuleType:
    """model.py as a module: what it asks of an old jax is put where it looks."""
    import jax
    import jax.experimental

    maps: Any = ModuleType("jax.experimental.maps")
    maps.thread_resources = SimpleNamespace(env=SimpleNamespace(physical_mesh=SimpleNamespace(empty=True)))
    sys.modules[maps.__name__] = jax.experimental.maps = maps
    mapping: Any = ModuleType("jax.experimental.shard_map")
    mapping.shard_map = _shard_map
    sys.modules[mapping.__name__] = mapping
    spec = importlib.util.spec_from_file_location("grok1_model", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{VARIABLE} names {path}, which is no Python file.")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    with mock.patch.object(type(jax.config), "update"):  # of a setting that is no more
        spec.loader.exec_module(module)
    return module


def _shard_map(f: Any, *, mesh: Any, in_specs: Any, out_specs: Any, check_rep: bool) -> Any:
    import jax

    return jax.shard_map(f, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=check_rep)


def store() -> None:
    """Write the logits and, for each shape, the checksum of the weights that they belong to."""
    kept = {}
    for name, shape in SHAPES.items():
        held = weights(name)
        kept[name] = Oracle(held, devices=shape.row_groups).logits(tokens())
        kept[f"{name} sha256"] = np.array(checksum(held))
    kept["small bfloat16"] = Oracle(weights("small"), noise_free=False).logits(tokens())
    kept["small padded"] = Oracle(weights("small")).logits(padded())
    np.savez_compressed(STORED, **kept)  # type: ignore[arg-type]
    for name, values in kept.items():
        print(name, values.shape, values.std() if values.shape else values)


if __name__ == "__main__":
    if sys.argv[1:] != ["--store"]:
        raise SystemExit(__doc__)
    store()
