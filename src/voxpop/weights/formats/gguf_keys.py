"""How a Grok model is described in a GGUF file: keys, tensor names, and what a file lacks or says wrongly.

llama.cpp puts Grok-1's own constants in place of a missing scale and says nothing: so every one is written, and
`faults` names every one that is missing or different.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from voxpop.errors import VoxpopError
from voxpop.weights.grok import EMBEDDING, FINAL_NORM, GROK_1, Grok, Spec

ARCHITECTURE = "grok"
ROW_GROUPS = "voxpop.row_groups"  # what no other program reads: how xAI's scales are grouped
_PARTS = {
    "attention_norm": "attn_norm",
    "query": "attn_q",
    "key": "attn_k",
    "value": "attn_v",
    "out": "attn_output",
    "attention_out_norm": "attn_output_norm",
    "expert_norm": "ffn_norm",
    "router": "ffn_gate_inp",
    "gate": "ffn_gate_exps",
    "up": "ffn_up_exps",
    "down": "ffn_down_exps",
    "expert_out_norm": "layer_output_norm",
}
ALIASES = {"layer_output_norm": "post_ffw_norm"}  # llama.cpp reads either
_WHOLE = {
    "block_count": "layers",
    "context_length": "context",
    "embedding_length": "width",
    "feed_forward_length": "feed_forward",
    "expert_feed_forward_length": "feed_forward",
    "expert_count": "experts",
    "expert_used_count": "chosen",
    "vocab_size": "vocabulary",
    "attention.head_count": "heads",
    "attention.head_count_kv": "kv_heads",
    "attention.key_length": "head_width",
    "attention.value_length": "head_width",
    "rope.dimension_count": "head_width",
}
_REAL = {
    "attention.layer_norm_rms_epsilon": "norm_epsilon",
    "attention.output_scale": "attention_scale",
    "attn_logit_softcapping": "attention_cap",
    "embedding_scale": "embedding_scale",
    "logit_scale": "output_scale",
    "rope.freq_base": "rope_base",
}
# Grok-1 caps neither its router nor its answer; llama.cpp's own default for the router is 30, unused so far.
_NOUGHT = ("router_logit_softcapping", "final_logit_softcapping")
_OPTIONAL = ("expert_feed_forward_length", "vocab_size")
_REQUIRED = tuple(k for k in _WHOLE if k not in _OPTIONAL)
# Other keys, with what says nothing else than their absence.
_NEUTRAL: dict[str, tuple[Any, ...]] = {"rope.scaling.type": ("none",), "expert_gating_func": (1,)}


@dataclass(frozen=True)
class Pieces:
    """A SentencePiece vocabulary: a text, a score and a kind a token, and the tokens that have a task.

    `kinds` are ggml's: 1 normal, 2 unknown, 3 control, 4 defined by the user, 5 unused, 6 a byte.
    """

    texts: Sequence[str]
    scores: Sequence[float]
    kinds: Sequence[int]
    bos: int | None = None
    eos: int | None = None
    unknown: int | None = None
    padding: int | None = None
    add_bos: bool = False
    add_space_prefix: bool = False


def gguf_name(name: str) -> str:
    """The GGUF name of a canonical one."""
    if name == EMBEDDING:
        return "token_embd.weight"
    if name == FINAL_NORM:
        return "output_norm.weight"
    _, number, part = name.split(".")
    return f"blk.{number}.{_PARTS[part]}.weight"


def gguf_shape(spec: Spec) -> tuple[int, ...]:
    """The tensor's shape in a GGUF file, rows first: linear layers lie the other way round."""
    if spec.linear:
        return (*spec.shape[:-2], spec.shape[-1], spec.shape[-2])
    return spec.shape


def in_order(shape: Grok) -> Iterator[Spec]:
    """Every tensor in the order of a GGUF file: embedding, layers by number, final norm."""
    yield shape.specs[EMBEDDING]
    for number in range(shape.layers):
        for part in _PARTS:
            yield shape.specs[f"layers.{number}.{part}"]
    yield shape.specs[FINAL_NORM]


def numbers(shape: Grok) -> dict[str, int | float]:
    """Every key with a number that llama.cpp may ask for. Raises VoxpopError for a shape that it cannot run."""
    if shape.heads * shape.head_width != shape.width:
        raise VoxpopError(
            f"{shape.heads} heads of {shape.head_width} are {shape.heads * shape.head_width} wide, the model"
            f" {shape.width}: llama.cpp needs the same.",
            "Keep this model in another format.",
            lasting=True,
        )
    found: dict[str, int | float] = {key: getattr(shape, field) for key, field in _WHOLE.items()}
    found |= {key: float(getattr(shape, field)) for key, field in _REAL.items()}
    found |= dict.fromkeys(_NOUGHT, 0.0)
    return {f"{ARCHITECTURE}.{key}": value for key, value in found.items()}


def shape_of(fields: Mapping[str, Any]) -> Grok:
    """The model that llama.cpp would see in these keys: Grok-1's constants stand in for missing scales.

    Raises VoxpopError where a size is missing or is none.
    """
    sizes: dict[str, Any] = {"vocabulary": _vocabulary(fields)}
    for key in _REQUIRED:
        sizes[_WHOLE[key]] = _size(fields, f"{ARCHITECTURE}.{key}")
    for key, field in _REAL.items():
        value = fields.get(f"{ARCHITECTURE}.{key}", getattr(GROK_1, field))
        if not isinstance(value, float) or not 0 < value < 1e12:
            raise VoxpopError(f"{ARCHITECTURE}.{key} is {value!r}.", "Convert the model again.", lasting=True)
        sizes[field] = _unrounded(value, field, sizes)
    found = Grok(**sizes, row_groups=1)
    whole = replace(found, row_groups=GROK_1.row_groups)
    if ROW_GROUPS in fields:
        found = replace(found, row_groups=_size(fields, ROW_GROUPS))
    elif not whole.misfit:
        found = whole
    if found.misfit:
        raise VoxpopError(f"The sizes do not fit: {found.misfit}.", "Convert the model again.", lasting=True)
    return found


def faults(fields: Mapping[str, Any], tensors: Mapping[str, Sequence[int]], shape: Grok) -> list[str]:
    """What is wrong with a GGUF file of `shape`, a sentence each; none for one that llama.cpp will run right.

    `tensors`: shapes by name, rows first.
    """
    said = fields.get("general.architecture")
    found = [] if said == ARCHITECTURE else [f"The architecture is {said!r} and not {ARCHITECTURE!r}."]
    for key, value in numbers(shape).items():
        there = fields.get(key)
        if there is None:
            found.append(f"{key} is missing: llama.cpp takes a constant of its own; it must be {value}.")
        elif not isinstance(there, int | float) or np.float32(there) != np.float32(value):
            found.append(f"{key} is {there!r} and must be {value}.")
    found += _strange(fields, shape)
    due = {gguf_name(spec.name): gguf_shape(spec) for spec in shape.specs.values()}
    for name, size in due.items():
        there = tensors.get(name, tensors.get(other_name(name), ()))
        if len({name, other_name(name)} & tensors.keys()) > 1:
            found.append(f"{name} is there twice, also as {other_name(name)}.")
        elif not there:
            found.append(f"{name} is missing.")
        elif tuple(there) != size:
            found.append(f"{name} is {list(there)} and must be {list(size)}.")
    known = {*due, *map(other_name, due)}
    return found + [f"{name} does not belong to the model." for name in tensors if name not in known]


def _strange(fields: Mapping[str, Any], shape: Grok) -> Iterator[str]:
    """Keys that change what llama.cpp computes and Grok-1 has not, such as positions that are scaled; and lists of
    tokens of another length.
    """
    known = numbers(shape)
    for key in fields:
        if key.startswith(f"{ARCHITECTURE}.") and key not in known:
            neutral = _NEUTRAL.get(key.removeprefix(f"{ARCHITECTURE}."), ())
            if fields[key] not in neutral:
                yield f"{key} is {fields[key]!r:.80}, and Grok-1 has no such key: llama.cpp may compute otherwise."
    for part in ("tokens", "scores", "token_type"):
        there = fields.get(f"tokenizer.ggml.{part}")
        if there is not None and (not isinstance(there, list) or len(there) != shape.vocabulary):
            yield f"tokenizer.ggml.{part} has not the {shape.vocabulary} entries of the vocabulary."


def other_name(name: str) -> str:
    """The other name under which llama.cpp looks for a tensor, or the same."""
    for ours, theirs in ALIASES.items():
        name = name.replace(f".{ours}.", f".{theirs}.")
    return name


def _size(fields: Mapping[str, Any], key: str) -> int:
    value = fields.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 1 << 31:
        raise VoxpopError(f"{key} is {value!r}.", "Convert the model again.", lasting=True)
    return value


def _vocabulary(fields: Mapping[str, Any]) -> int:
    tokens = fields.get("tokenizer.ggml.tokens")
    found = fields.get(f"{ARCHITECTURE}.vocab_size", len(tokens) if isinstance(tokens, list) else None)
    if not isinstance(found, int) or not 0 < found < 1 << 31:
        raise VoxpopError("The file does not say how many tokens it has.", "Convert the model again.", lasting=True)
    return found


def _unrounded(value: float, field: str, sizes: Mapping[str, Any]) -> float:
    """A file keeps float32: the number that was meant is one of the family's, or the shortest decimal."""
    meant = {
        "embedding_scale": (GROK_1.embedding_scale, sizes["width"] ** 0.5),
        "output_scale": (GROK_1.output_scale,),
        "attention_scale": (GROK_1.attention_scale, sizes["head_width"] ** -0.5),
    }
    for number in meant.get(field, ()):
        if np.float32(number) == np.float32(value):
            return float(number)
    return float(str(np.float32(value)))
