"""The three Hugging Face layouts of Grok-1: every tensor's name and every key of config.json; it opens no file.

Where the names are from: keyfan - llama.cpp's converter (class GrokModel) and gguf's tensor_mapping.py; hpcai -
vLLM's grok1.py, ColossalAI's grok1_policy.py; lmzheng - SGLang's grok.py and scripts/quark. No config that it makes
names code to run.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from voxpop.errors import UsageError, VoxpopError
from voxpop.weights.grok import EMBEDDING, FINAL_NORM, GROK_1, Grok

HEAD = "lm_head.weight"
# A number above this is no size of a model; it keeps what is counted from a config within reason.
_SIZE_MAX = 1 << 24
_CURE = "Fetch config.json again, or write the checkpoint again."
_SIZES = {
    "layers": ("num_hidden_layers",),
    "width": ("hidden_size",),
    "heads": ("num_attention_heads",),
    "kv_heads": ("num_key_value_heads",),
    "feed_forward": ("moe_intermediate_size", "intermediate_size"),
    "experts": ("num_local_experts", "num_experts"),
    "chosen": ("num_experts_per_tok",),
    "vocabulary": ("vocab_size",),
    "context": ("max_position_embeddings", "context_len"),
}
_OTHERWISE = ("experts", "context")  # written under a key that is not the last
_FACTORS = {
    "embedding_scale": "embedding_multiplier_scale",
    "output_scale": "output_multiplier_scale",
    "norm_epsilon": "rms_norm_eps",
}


@dataclass(frozen=True, slots=True)
class Layout:
    """How one layout names tensors. A linear is [out, in], each expert a tensor of its own.

    `parts`: the name of each part of a layer; an expert's has `{expert}`. `head`: the head is written too, a copy
    of the embedding, because the engine that reads the layout wants it. `named`: keys of config.json.
    """

    name: str
    read_by: str
    embedding: str
    final_norm: str
    layer: str
    parts: Mapping[str, str]
    named: Mapping[str, Any]
    experts_key: str
    head: bool = False

    def tensors(self, name: str, shape: Grok) -> list[str]:
        """The names in a file of the canonical tensor `name`: one for each expert, or just one."""
        if name in (EMBEDDING, FINAL_NORM):
            return [self.embedding if name == EMBEDDING else self.final_norm]
        _, number, part = name.split(".")
        whole = self.layer.format(layer=number) + self.parts[part]
        if "{expert}" not in whole:
            return [whole]
        return [whole.format(expert=expert) for expert in range(shape.experts)]

    def config(self, shape: Grok, dtype: str) -> dict[str, Any]:
        """The config.json of a model of this shape. Raises UsageError where the layout cannot say it."""
        if shape.heads * shape.head_width != shape.width:
            said = f"{shape.heads} heads of {shape.head_width} are not the width of {shape.width}"
            raise UsageError(f"{said}; the layout '{self.name}' needs that.", "Convert to GGUF instead.")
        sizes = {keys[-1]: getattr(shape, field) for field, keys in _SIZES.items() if field not in _OTHERWISE}
        return {
            **self.named,
            **sizes,
            **{key: getattr(shape, field) for field, key in _FACTORS.items()},
            self.experts_key: shape.experts,
            "max_position_embeddings": shape.context,
            "head_dim": shape.head_width,
            "attn_output_multiplier": shape.attention_scale,
            "attn_logit_softcapping": shape.attention_cap,
            "max_attn_value": shape.attention_cap,
            "rope_theta": shape.rope_base,
            "hidden_act": "gelu_pytorch_tanh",
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "torch_dtype": {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}[dtype],
            "scale_groups": shape.row_groups,
        }


def _norms(*names: str) -> dict[str, str]:
    parts = ("attention_norm", "attention_out_norm", "expert_norm", "expert_out_norm")
    return dict(zip(parts, names, strict=True))


_PROJECTIONS = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "out": "o_proj"}
_PRE_POST = ("pre_attn_norm", "post_attn_norm", "pre_moe_norm", "post_moe_norm")

KEYFAN = Layout(
    "keyfan",
    "llama.cpp's converter",
    "transformer.in_out_embed.weight",
    "transformer.rms_norm.weight",
    "transformer.decoder_layer.{layer}.",
    {
        "gate": "moe.{expert}.linear.weight",
        "down": "moe.{expert}.linear_1.weight",
        "up": "moe.{expert}.linear_v.weight",
        **{part: f"multi_head_attention.{part}.weight" for part in ("query", "key", "value")},
        "out": "multi_head_attention.linear.weight",
        **_norms(*(f"rms_norm{suffix}.weight" for suffix in ("", "_1", "_2", "_3"))),
        "router": "router.weight",
    },
    {"architectures": ["GrokForCausalLM"], "model_type": "grok", "tie_word_embeddings": True},
    "num_local_experts",
)
HPCAI = Layout(
    "hpcai",
    "vLLM",
    "model.embed_tokens.weight",
    "model.norm.scale",
    "model.layers.{layer}.",
    {
        "gate": "moe_block.experts.{expert}.linear.weight",
        "down": "moe_block.experts.{expert}.linear_1.weight",
        "up": "moe_block.experts.{expert}.linear_v.weight",
        **{part: f"attn.{name}.weight" for part, name in _PROJECTIONS.items()},
        **_norms(*(f"{name}.scale" for name in _PRE_POST)),
        "router": "moe_block.gate.weight",
    },
    {
        "architectures": ["Grok1ModelForCausalLM"],
        # vLLM and SGLang read the config with transformers, which knows no Grok; lmzheng's config says mixtral too.
        "model_type": "mixtral",
        "tie_word_embeddings": True,
        # Newer texts of vLLM read these two; without them it caps the router's logits at 30, which xAI does not.
        "router_logit_softcapping": 0.0,
        "moe_router_renormalize": False,
    },
    "num_experts",
)
LMZHENG = Layout(
    "lmzheng",
    "SGLang",
    "model.embed_tokens.weight",
    "model.norm.weight",
    "model.layers.{layer}.",
    {
        "gate": "block_sparse_moe.experts.{expert}.w1.weight",
        "down": "block_sparse_moe.experts.{expert}.w2.weight",
        "up": "block_sparse_moe.experts.{expert}.w3.weight",
        **{part: f"self_attn.{name}.weight" for part, name in _PROJECTIONS.items()},
        **_norms(*(f"{name}.weight" for name in _PRE_POST)),
        "router": "block_sparse_moe.gate.weight",
    },
    {
        "architectures": ["Grok1ForCausalLM"],
        "model_type": "mixtral",
        "tie_word_embeddings": False,
        # Without it SGLang looks for files that are cut for its devices, wherever it runs on more than one.
        "load_presharded_moe": False,
    },
    "num_local_experts",
    head=True,
)
LAYOUTS = {layout.name: layout for layout in (KEYFAN, HPCAI, LMZHENG)}


def recognised(names: Mapping[str, Any] | set[str]) -> Layout:
    """The layout that names its tensors like these. Raises VoxpopError where none does."""
    for layout in LAYOUTS.values():
        if layout.embedding in names and layout.final_norm in names:
            return layout
    known = ", ".join(f"{layout.name} (read by {layout.read_by})" for layout in LAYOUTS.values())
    few = ", ".join(repr(name[:100]) for name in sorted(names)[:3])
    said = f"None of the layouts of Grok-1 names its tensors like these: {few} ..."
    raise VoxpopError(said, f"voxpop reads {known}.", code="bad_weights")


def grok_of(config: Mapping[str, Any]) -> Grok:
    """The sizes and constants that a config.json gives. Raises VoxpopError: what it lacks is never guessed at.

    Three keys have a default, because published configs leave them out: `rope_theta` (10,000), the cap of the
    attention (30) and `attn_output_multiplier` (head_dim to the power of -1/2, as SGLang has it).
    """
    if config.get("residual_moe") or config.get("rope_scaling") or config.get("rope_type", "default") != "default":
        said = "This is no Grok-1 (config.json has residual_moe or scaled positions, as Grok-2 has)."
        raise VoxpopError(said, "voxpop knows the Grok-1 family only.", code="bad_weights")
    sizes = {field: _size(config, keys) for field, keys in _SIZES.items()}
    factors = {field: _factor(config, key) for field, key in _FACTORS.items()}
    width = _size({"head_dim": sizes["width"] // sizes["heads"], **config}, ("head_dim",))
    down = (sizes["heads"] * width, sizes["feed_forward"])
    groups = _size({"scale_groups": _groups(down), **config}, ("scale_groups",))
    found = Grok(
        **sizes,
        **factors,  # type: ignore[arg-type]
        head_width=width,
        row_groups=groups,
        attention_scale=_factor({"attn_output_multiplier": width**-0.5, **config}, "attn_output_multiplier"),
        attention_cap=_cap(config),
        rope_base=_factor({"rope_theta": GROK_1.rope_base, **config}, "rope_theta"),
    )
    if found.misfit:
        said = f"The numbers in config.json do not fit one another: {found.misfit}."
        raise VoxpopError(said, _CURE, code="bad_weights")
    return found


def _groups(rows: tuple[int, int]) -> int:
    return GROK_1.row_groups if all(number % GROK_1.row_groups == 0 for number in rows) else 1


def _cap(config: Mapping[str, Any]) -> float:
    key = "attn_logit_softcapping" if "attn_logit_softcapping" in config else "max_attn_value"
    return _factor({key: GROK_1.attention_cap, **config}, key)


def _size(config: Mapping[str, Any], keys: tuple[str, ...]) -> int:
    key = next((key for key in keys if config.get(key) is not None), keys[-1])
    value = config.get(key)
    if type(value) is not int or not 0 < value <= _SIZE_MAX:
        said = f"config.json says {str(value)[:40]!r} for {key}; it takes a whole number from 1 to {_SIZE_MAX}."
        raise VoxpopError(said, _CURE, code="bad_weights")
    return value


def _factor(config: Mapping[str, Any], key: str) -> float:
    value = config.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 1e12:
        said = f"config.json says {str(value)[:40]!r} for {key}; it takes a number above 0."
        raise VoxpopError(said, _CURE, code="bad_weights")
    return float(value)
