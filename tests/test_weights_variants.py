"""Each wrong reading of Grok-1 that is known, made of our forward on purpose: its logits leave those of xAI's code.

A variant that they do not leave is of no consequence to Grok-1, and is in CANCELLED with the reason.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from grok1_oracle import STORED, tokens, weights
from voxpop.weights import grok_torch
from voxpop.weights.grok import Grok
from voxpop.weights.tensors import Held, Quantised

pytestmark = pytest.mark.usefixtures("one_thread")
CLOSE = 2e-5
FAR = 10 * CLOSE
TEXT = Path(grok_torch.__file__).read_text("utf-8")
# A line of the forward, and what stands there in a program that reads Grok-1 wrongly.
VARIANTS = {
    "router capped at 30 (vLLM, SGLang)": (
        "logits_TE.softmax(-1)",
        "(30 * torch.tanh(logits_TE / 30)).softmax(-1)",
    ),
    "one expert instead of two": ("chosen)", "chosen - 1)"),
    "three experts instead of two": ("chosen)", "chosen + 1)"),
    "router without the norm before it": (
        'self._norm(f"layers.{number}.expert_norm", h_BLD)\n        x_BLD = self._experts(number, x_BLD',
        "h_BLD\n        x_BLD = self._experts(number, x_BLD",
    ),
    "erf GELU": ('approximate="tanh"', 'approximate="none"'),
    "SiLU": ('gelu(gate_NF, approximate="tanh")', "torch.nn.functional.silu(gate_NF)"),
    "gate and up swapped": ('("gate", "up", "down")', '("up", "gate", "down")'),
    "no attention cap": (
        "cap * torch.tanh(logits * self.shape.attention_scale / cap)",
        "logits * self.shape.attention_scale",
    ),
    "attention capped before it is scaled": (
        "cap * torch.tanh(logits * self.shape.attention_scale / cap)",
        "cap * torch.tanh(logits / cap) * self.shape.attention_scale",
    ),
    "no attention scale": ("logits * self.shape.attention_scale /", "logits /"),
    "Grok-1's attention scale (llama.cpp without its key)": (
        "self.shape.attention_scale /",
        "0.08838834764831845 /",
    ),
    "no output scale": ("torch.cat(parts, -1), self.shape.output_scale)", "torch.cat(parts, -1), 1.0)"),
    "logits capped at 50": (
        "return self._scaled(parts[0] if len(parts) == 1 else torch.cat(parts, -1), self.shape.output_scale)",
        "return 50 * torch.tanh(self._scaled(parts[0], self.shape.output_scale) / 50)",
    ),
    "no embedding scale": ("self.shape.embedding_scale)", "1.0)"),
    "no final norm": ("self._norm(FINAL_NORM, h_BLD)", "h_BLD"),
    "query heads interleaved over key heads": (
        "query_BLHK.view(many, new, shape.kv_heads, -1, shape.head_width)",
        "query_BLHK.view(many, new, -1, shape.kv_heads, shape.head_width).transpose(2, 3)",
    ),
    "interleaved RoPE": (
        "first, second = x_BLHK.chunk(2, -1)\n    turned = torch.cat((-second, first), -1)",
        "angle_LK = angle_LK[..., : width // 2].repeat_interleave(2, -1)\n"
        "    turned = torch.stack((-x_BLHK[..., 1::2], x_BLHK[..., 0::2]), -1).flatten(-2)",
    ),
    "RoPE turned backwards": ("torch.cat((-second, first), -1)", "torch.cat((second, -first), -1)"),
    "RoPE of base 1e6": ("1.0 / base", "1.0 / 1e6"),
    "no RoPE on keys": (
        'rotated(self._linear(prefix + "key", x_BLD).view(split), place_L, shape.rope_base)',
        'self._linear(prefix + "key", x_BLD).view(split)',
    ),
    "values rotated as well": (
        'value_BSGK = self._linear(prefix + "value", x_BLD).view(split)',
        'value_BSGK = rotated(self._linear(prefix + "value", x_BLD).view(split), place_L, shape.rope_base)',
    ),
    "the next token seen": ("<= place_L[:, None]", "<= place_L[:, None] + 1"),
    "a token does not see itself": ("<= place_L[:, None]", "< place_L[:, None]"),
    "norms after attention and before experts swapped": (
        'attention_out_norm", x_BLD)\n        x_BLD = self._norm(f"layers.{number}.expert_norm"',
        'expert_norm", x_BLD)\n        x_BLD = self._norm(f"layers.{number}.attention_out_norm"',
    ),
    "no norm after attention": (
        'h_BLD + self._norm(f"layers.{number}.attention_out_norm", x_BLD)',
        "h_BLD + x_BLD",
    ),
    "no norm after the experts": ('h_BLD + self._norm(f"layers.{number}.expert_out_norm", x_BLD)', "h_BLD + x_BLD"),
    "the sum normed, not what is added": (
        'h_BLD + self._norm(f"layers.{number}.expert_out_norm", x_BLD)',
        'self._norm(f"layers.{number}.expert_out_norm", h_BLD + x_BLD)',
    ),
    "norm scales of 1 + scale (Gemma)": ("scale_D *", "(1 + scale_D) *"),
    "LayerNorm (the mean taken off)": (
        "floats = x_BLD.float()",
        "floats = x_BLD.float() - x_BLD.float().mean(-1, keepdim=True)",
    ),
    "norms with epsilon 1e-3": ("self.shape.norm_epsilon", "1e-3"),
}
CANCELLED = {
    # The norm after the experts divides by any factor that a token's sum has; its epsilon does not.
    "shares of the chosen made to sum to 1 (llama.cpp, vLLM)": (
        "return torch.topk(logits_TE.softmax(-1), self.shape.chosen)",
        "share, chosen = torch.topk(logits_TE.softmax(-1), self.shape.chosen)\n"
        "        return share / share.sum(-1, keepdim=True), chosen",
        FAR,
    ),
    "softmax over the chosen alone": (
        "return torch.topk(logits_TE.softmax(-1), self.shape.chosen)",
        "best, chosen = torch.topk(logits_TE, self.shape.chosen)\n        return best.softmax(-1), chosen",
        FAR,
    ),
    # The norm after attention divides by it again; what is left comes from its epsilon.
    "attention scale once more on attention's output (vLLM)": (
        'return self._linear(prefix + "out", out_BLGRK.flatten(2))',
        'return self._linear(prefix + "out", out_BLGRK.flatten(2)) * self.shape.attention_scale',
        1e-2,
    ),
    # Rotary positions are relative: only differences of places are seen.
    "places counted from 1": ("place_L.float()", "(place_L + 1).float()", CLOSE),
}


def variant(old: str, new: str) -> ModuleType:
    """The forward with one line changed; that line must stand there once."""
    assert TEXT.count(old) == 1, (
        f"the forward changed: mend this variant, whose line stands there {TEXT.count(old)} times"
    )
    module = ModuleType("variant")
    exec(compile(TEXT.replace(old, new), "variant", "exec"), module.__dict__)
    return module


@cache
def stored(name: str) -> np.ndarray:
    with np.load(STORED) as file:
        return file[name]


def away(forward, name: str = "small") -> float:
    """How far its logits are from those of xAI's code."""
    with torch.inference_mode():
        return float(np.abs(forward.logits(torch.from_numpy(tokens())).numpy() - stored(name)).max())


@pytest.mark.parametrize("name", VARIANTS)
def test_a_wrong_forward_is_far_from_xais(name: str) -> None:
    far = away(variant(*VARIANTS[name]).Forward(weights("small")))
    print(f"| {name} | {far:.2g} |")
    assert far > FAR


@pytest.mark.parametrize("name", CANCELLED)
def test_what_cancels_out_does(name: str) -> None:
    *change, most = CANCELLED[name]
    far = away(variant(*change).Forward(weights("small")))
    print(f"| {name} | {far:.2g} |")
    assert far <= most


class Misread:
    """A checkpoint whose reader took one tensor for another, or one scale for another."""

    def __init__(self, held: Held, name: Callable[[str], str] = str, scales: Callable | None = None) -> None:
        self.shape: Grok = held.shape
        self._held, self._name, self._scales = held, name, scales

    def read(self, name: str):
        tensor = self._held.read(self._name(name))
        if self._scales and isinstance(tensor, Quantised):
            return Quantised(tensor.weight, self._scales(tensor.scales))
        return tensor


def numeric_for_lexicographic(name: str) -> str:
    """Layers read in the order of their numbers, where xAI's files have that of their names: 0, 1, 10, 11, 2."""
    if not name.startswith("layers."):
        return name
    _, number, part = name.split(".")
    return f"layers.{sorted(range(12), key=str)[int(number)]}.{part}"


def test_layers_in_the_order_of_their_numbers_are_far() -> None:
    far = away(grok_torch.Forward(Misread(weights("tall"), numeric_for_lexicographic)), "tall")
    print(f"| layers in numeric order | {far:.2g} |")
    assert far > FAR


@pytest.mark.parametrize(
    "scales",
    [
        pytest.param(lambda s: np.repeat(s[..., :1, :], s.shape[-2], -2), id="the first group's for all rows"),
        pytest.param(lambda s: np.roll(s, 1, -2), id="the next group's"),
    ],
)
def test_scales_of_the_wrong_rows_are_far(scales) -> None:
    assert away(grok_torch.Forward(Misread(weights("grouped"), scales=scales)), "grouped") > FAR


def test_epsilon_is_seen_if_faintly() -> None:
    held = weights("small")
    other = Held(replace(held.shape, norm_epsilon=1e-6), {name: held.read(name) for name in held.shape.specs})
    far = away(grok_torch.Forward(other))
    print(f"| norms with epsilon 1e-6 (Llama) | {far:.2g} |")
    assert far > 5 * CLOSE
