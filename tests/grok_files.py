"""Tiny GGUF files of architecture `grok` with weights that mean nothing, for tests of what runs them."""

import io
import re
from dataclasses import replace
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
    context=8192,
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
    pieces = _pieces(sentencepiece)
    shape = replace(TINY, vocabulary=len(pieces))
    held = random_weights(shape, seed, int8=False, strong=strong)
    writer = gguf.GGUFWriter(path, "grok")
    _sizes(writer, shape)
    _vocabulary(writer, pieces)
    for name, spec in shape.specs.items():
        values = float32(held.read(name))
        turned = spec.kind in ("attention", "router", "expert")
        writer.add_tensor(_name(name), np.ascontiguousarray(np.swapaxes(values, -1, -2)) if turned else values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return held


def spoken(pieces: int = TINY.vocabulary) -> bytes:
    """A SentencePiece model of Grok-1's kind: BPE with bytes, digits and line ends of their own, and a mark."""
    import sentencepiece

    words = re.findall(
        r"\w+", "what people say of the tram at the bridge and of the school near the river is told again"
    )
    posts = [" ".join(words[n % 7 : n % 7 + 3 + n % 11]) + f", l'été n° {n} à Lyon." for n in range(400)]
    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(posts),
        model_writer=made,
        model_type="bpe",
        vocab_size=pieces,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        split_digits=True,
        character_coverage=0.999,
        pad_id=0,
        bos_id=1,
        eos_id=2,
        unk_id=3,
        pad_piece="[PAD]",
        bos_piece="[BOS]",
        eos_piece="[EOS]",
        unk_piece="[UNK]",
        user_defined_symbols=["\n", "\n\n", *"0123456789", "  ", "<|separator|>"],
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
    )
    return made.getvalue()


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


def _pieces(sentencepiece: bytes) -> list[tuple[str, int, float]]:
    """(text, type, score) of each; without a model bytes and words that mean nothing."""
    if sentencepiece:
        from sentencepiece import sentencepiece_model_pb2 as proto

        return [(p.piece, p.type, p.score) for p in proto.ModelProto.FromString(sentencepiece).pieces]
    names = ["[PAD]", "[BOS]", "[EOS]", "[UNK]", *(f"<0x{n:02X}>" for n in range(256))]
    kinds = [3, 3, 3, 2, *[6] * 256]
    words = [(f"t{n}", 1, -float(n)) for n in range(TINY.vocabulary - len(names))]
    return [*((name, kind, 0.0) for name, kind in zip(names, kinds, strict=True)), *words]


def _vocabulary(writer: gguf.GGUFWriter, pieces: list[tuple[str, int, float]]) -> None:
    writer.add_tokenizer_model("llama")
    writer.add_token_list([text for text, _, _ in pieces])
    writer.add_token_types([kind for _, kind, _ in pieces])
    writer.add_token_scores([score for _, _, score in pieces])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(3)
    writer.add_add_bos_token(False)
