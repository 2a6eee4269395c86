"""The Grok-1 family: its sizes, and every tensor by name, shape and kind; it holds no weights and computes nothing.

Source: github.com/xai-org/grok-1, `run.py` and `model.py`. A linear layer is [in, out] here, as xAI stores it; the
other formats have it the other way round, and their adapters turn it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Literal

Kind = Literal["embedding", "norm", "attention", "router", "expert"]
EMBEDDING, FINAL_NORM = "embedding", "final_norm"
# The order within a layer is that of xAI's files.
_PARTS: tuple[tuple[str, Kind], ...] = (
    ("gate", "expert"),
    ("down", "expert"),
    ("up", "expert"),
    ("key", "attention"),
    ("out", "attention"),
    ("query", "attention"),
    ("value", "attention"),
    ("attention_norm", "norm"),
    ("attention_out_norm", "norm"),
    ("expert_norm", "norm"),
    ("expert_out_norm", "norm"),
    ("router", "router"),
)


@dataclass(frozen=True, slots=True)
class Spec:
    """One tensor: `shape` as xAI stores it, `groups` of rows that share a scale where it is stored in int8."""

    name: str
    kind: Kind
    shape: tuple[int, ...]
    groups: int = 1

    @property
    def parameters(self) -> int:
        """How many numbers it holds."""
        return prod(self.shape)

    @property
    def part(self) -> str:
        """Its name within its layer."""
        return self.name.rpartition(".")[2]

    @property
    def linear(self) -> bool:
        """Whether it multiplies from the left: [in, out] here, [out, in] in the other formats."""
        return self.kind in ("attention", "expert", "router")

    @property
    def int8(self) -> bool:
        """Whether xAI stores it in int8 with scales; else in float32."""
        return self.kind in ("attention", "expert")

    @property
    def scales(self) -> tuple[int, ...]:
        """The shape of its scales in int8: one for each column of a group of rows."""
        return (*self.shape[:-2], self.groups, self.shape[-1])

    @property
    def small(self) -> bool:
        """Whether it stays float32 in every format: norms, and the router, which chooses."""
        return self.kind in ("norm", "router")


@dataclass(frozen=True)
class Grok:
    """The sizes and constants of one member; the defaults are Grok-1's.

    `row_groups`: how many groups of rows of `out` and `down` have scales of their own (xAI split them over eight
    devices). `attention_scale` multiplies the attention logits, `attention_cap` bounds them by tanh. The head is
    the embedding; `embedding_scale` and `output_scale` stand before and after the layers.
    """

    layers: int = 64
    width: int = 6144
    heads: int = 48
    kv_heads: int = 8
    head_width: int = 128
    feed_forward: int = 32768
    experts: int = 8
    chosen: int = 2
    vocabulary: int = 131072
    context: int = 8192
    row_groups: int = 8
    embedding_scale: float = 78.38367176906169
    output_scale: float = 0.5773502691896257
    attention_scale: float = 0.08838834764831845
    attention_cap: float = 30.0
    norm_epsilon: float = 1e-5
    rope_base: float = 10_000.0

    @cached_property
    def specs(self) -> dict[str, Spec]:
        """Every tensor by name: `embedding`, `final_norm`, `layers.N.PART`; layers in the order of their number."""
        return {spec.name: spec for spec in self._all()}

    @property
    def parameters(self) -> int:
        """How many numbers the whole model holds."""
        return sum(spec.parameters for spec in self.specs.values())

    @property
    def active(self) -> int:
        """How many of them one token touches: of the experts only those that the router chose."""
        experts = sum(s.parameters for s in self.specs.values() if s.kind == "expert")
        return self.parameters - experts + experts * self.chosen // self.experts

    @property
    def misfit(self) -> str:
        """Why these sizes make no model, as half a sentence; empty where they do."""
        if self.chosen > self.experts:
            return f"{self.chosen} of {self.experts} experts are chosen"
        if self.heads % self.kv_heads:
            return f"{self.heads} heads share {self.kv_heads} keys"
        if self.head_width % 2:
            return f"a head of {self.head_width} has no two halves"
        rows = (self.heads * self.head_width, self.feed_forward)
        if any(number % self.row_groups for number in rows):
            return f"rows of {rows[0]} and {rows[1]} do not fall into {self.row_groups} groups"
        return ""

    def layer(self, number: int) -> Iterator[Spec]:
        """The twelve tensors of a layer."""
        for part, kind in _PARTS:
            groups = self.row_groups if part in ("out", "down") else 1
            yield Spec(f"layers.{number}.{part}", kind, self._shape(part), groups)

    def _all(self) -> Iterator[Spec]:
        yield Spec(EMBEDDING, "embedding", (self.vocabulary, self.width))
        yield Spec(FINAL_NORM, "norm", (self.width,))
        for number in range(self.layers):
            yield from self.layer(number)

    def _shape(self, part: str) -> tuple[int, ...]:
        queries, keys = self.heads * self.head_width, self.kv_heads * self.head_width
        shapes = {
            "gate": (self.experts, self.width, self.feed_forward),
            "up": (self.experts, self.width, self.feed_forward),
            "down": (self.experts, self.feed_forward, self.width),
            "query": (self.width, queries),
            "key": (self.width, keys),
            "value": (self.width, keys),
            "out": (queries, self.width),
            "router": (self.width, self.experts),
        }
        return shapes.get(part, (self.width,))


GROK_1 = Grok()


def scaled(size: int, layers: int = 12, vocabulary: int = 131072, context: int = 8192) -> Grok:
    """A smaller member that every engine reads right: width 768·size, 6·size heads of 128, feed-forward 4096·size.

    Grok-1 is `scaled(8, 64)`.
    """
    width = 768 * size
    return Grok(
        layers=layers,
        width=width,
        heads=6 * size,
        kv_heads=size,
        feed_forward=4096 * size,
        vocabulary=vocabulary,
        context=context,
        embedding_scale=width**0.5,
    )
