"""Tiny GGUF files of architecture `grok` with weights that mean nothing, for tests of what runs them."""

from pathlib import Path

import gguf
import numpy as np

from voxpop.weights.grok import Grok
from voxpop.weights.random_weights import random_weights
from voxpop.weights.tensors import Source, float32

TINY = Grok(
    layers=2,
    width=64,
    heads=4,
    kv_heads=2,
    head_width=16,
    feed_forward=96,
    vocabulary=512,
    context=2048,
    row_groups=1,
    embedding_scale=8.0,
    attention_scale=0.25,
)
_NAMES = {
    "gate": "ffn_gate_exps",
    "down": "ffn_down_exps",
    "up": "ffn_up_exps",
    "key": "attn_k",
    "out": "attn_output",
    "query": "attn_q",
    "value": "attn_v",
    "attention_norm": "attn_norm",
    "attention_out_norm": "attn_output_norm",
    "expert_norm": "ffn_norm",
    "expert_out_norm": "layer_output_norm",
    "router": "ffn_gate_inp",
}


def tiny(path: Path, *, seed: int = 0, strong: bool = False, sentencepiece: bytes = b"") -> Source:
    """Write a tiny model to `path`, with the vocabulary of a SentencePiece model if one is given; its weights."""
    held = random_weights(TINY, seed, int8=False, strong=strong)
    writer = gguf.GGUFWriter(path, "grok")
    _sizes(writer, TINY)
    _vocabulary(writer, TINY, sentencepiece)
    for name, spec in TINY.specs.items():
        values = float32(held.read(name))
        turned = spec.kind in ("attention", "router", "expert")
        writer.add_tensor(_name(name), np.ascontiguousarray(np.swapaxes(values, -1, -2)) if turned else values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return held


def _name(name: str) -> str:
    if name.startswith("layers."):
        _, number, part = name.split(".")
        return f"blk.{number}.{_NAMES[part]}.weight"
    return {"embedding": "token_embd.weight", "final_norm": "output_norm.weight"}[name]


def _sizes(writer: gguf.GGUFWriter, shape: Grok) -> None:
    writer.add_name("tiny")
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head_width)
    writer.add_value_length(shape.head_width)
    writer.add_rope_dimension_count(shape.head_width)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)
    writer.add_expert_count(shape.experts)
    writer.add_expert_used_count(shape.chosen)
    writer.add_embedding_scale(shape.embedding_scale)
    writer.add_logit_scale(shape.output_scale)
    writer.add_attn_output_scale(shape.attention_scale)
    writer.add_attn_logit_softcapping(shape.attention_cap)


def _vocabulary(writer: gguf.GGUFWriter, shape: Grok, sentencepiece: bytes) -> None:
    writer.add_tokenizer_model("llama")
    if not sentencepiece:
        names = ["[PAD]", "[BOS]", "[EOS]", "[UNK]", *(f"<0x{n:02X}>" for n in range(256))]
        names += [f"t{n}" for n in range(shape.vocabulary - len(names))]
        kinds = [3, 3, 3, 2, *[6] * 256, *[1] * (len(names) - 260)]
        scores = [0.0] * 260 + [-float(n) for n in range(len(names) - 260)]
    else:
        from sentencepiece import sentencepiece_model_pb2 as proto

        model = proto.ModelProto.FromString(sentencepiece)
        names = [piece.piece for piece in model.pieces]
        kinds, scores = [piece.type for piece in model.pieces], [piece.score for piece in model.pieces]
    writer.add_token_list(names)
    writer.add_token_types(kinds)
    writer.add_token_scores(scores)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(3)
    writer.add_add_bos_token(False)
