"""Grok's forward in PyTorch, from a checkpoint's tensors to logits; it samples nothing and opens no file.

A name ends in a tensor's axes: B sequences, L new tokens, S tokens so far, D width, H query heads, G key heads,
R query heads to a key head, K head width, F feed-forward, E experts, C chosen experts, V vocabulary, T = B·L.

Weights are asked for by name when they are needed and let go: `Forward` over a mapped file or an int8 checkpoint
holds one matrix as floats at a time. `Floats` holds all of them, to be fast or to be trained. In float32 it is the
reference; in bfloat16 it rounds wherever xAI's code does.

Source: github.com/xai-org/grok-1, `model.py`. What a reader would not guess:
- `attention_scale` is xAI's `attn_output_multiplier`: it multiplies the attention logits, no output.
- The router's softmax is over all experts; the chosen ones' shares are not made to sum to 1; it has no cap.
- A layer's two parts are normed before and after; what is added to is not.
- The head is the embedding itself, and its logits have no cap.
- In bfloat16 the two outer scales are rounded as well: Grok-1 then multiplies by 78.5 and 0.578125.
"""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import gelu

from voxpop.errors import UsageError
from voxpop.weights.grok import EMBEDDING, FINAL_NORM, Grok
from voxpop.weights.tensors import Packed, Quantised, Tensor, bfloat16, float32, pieces

PAD = 0
_HIDDEN = -1e30  # not -inf: a row that may see nothing then sees all alike, as xAI's does
_ROWS = 16_384  # of the embedding, as floats at a time: 400 MB of Grok-1's 3.2 GB

Weight = Tensor | torch.Tensor
Watch = Callable[[str, int | None, torch.Tensor], None]
"""Told each linear layer's canonical name, the expert or None, and what goes into it, [rows, in]."""


class Weights(Protocol):
    """Any `Source`, or `Floats`."""

    @property
    def shape(self) -> Grok:
        """Its sizes."""
        ...

    def read(self, name: str) -> Weight:
        """A tensor by its canonical name, in the canonical shape."""
        ...


class Floats:
    """A whole checkpoint as floats in memory, in `tensors` by name; `trained`: each wants a gradient.

    Norms and the router are float32 in either precision.
    """

    def __init__(
        self,
        source: Weights,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        *,
        trained: bool = False,
    ) -> None:
        self.shape = source.shape
        self.tensors: dict[str, torch.Tensor] = {}
        for name, spec in source.shape.specs.items():
            kept = torch.float32 if spec.small else dtype
            floats = numbers(source.read(name), kept, device)
            # What is trained is changed in place, and the source may share its memory.
            self.tensors[name] = floats.clone().requires_grad_() if trained else floats

    def read(self, name: str) -> torch.Tensor:
        return self.tensors[name]


class Cache:
    """Keys and values so far, layer by layer, [B, S, G, K]; it has room for `room` tokens of each sequence."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._lengths: dict[int, int] = {}

    def length(self, layer: int) -> int:
        """How many tokens this layer has seen."""
        return self._lengths.get(layer, 0)

    def extended(
        self, layer: int, key_BLGK: torch.Tensor, value_BLGK: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Take the new ones in; returns all. Raises UsageError where there is no room."""
        start = self.length(layer)
        end = start + key_BLGK.shape[1]
        if end > self._room:
            raise UsageError(f"A cache for {self._room} tokens was given {end}: make it with room for them.")
        if layer not in self._layers:
            size = (key_BLGK.shape[0], self._room, *key_BLGK.shape[2:])
            self._layers[layer] = key_BLGK.new_empty(size), value_BLGK.new_empty(size)
        keys, values = self._layers[layer]
        keys[:, start:end], values[:, start:end] = key_BLGK, value_BLGK
        self._lengths[layer] = end
        return keys[:, :end], values[:, :end]


class Forward:
    """The model by its parts: `embed`, then each `layer` by its number, then `head`; or `logits` at once."""

    def __init__(self, weights: Weights, dtype: torch.dtype = torch.float32, watch: Watch | None = None) -> None:
        self.shape = weights.shape
        self._weights, self._dtype, self._watch = weights, dtype, watch

    def logits(
        self, tokens_BL: torch.Tensor, cache: Cache | None = None, *, hide_pad: bool = False
    ) -> torch.Tensor:
        """Logits [B, L, V] of the token after each; with a cache, of new tokens after those that it holds.

        `hide_pad`: no token sees a token 0, as in xAI's code, whose cached steps see it all the same; llama.cpp
        hides none. So never use token 0. Attention takes a few times 4·B·H·L·S bytes: give a long prompt in parts.
        Raises UsageError for a token that the model does not know, `hide_pad` with a cache, or a full cache.
        """
        if hide_pad and cache is not None:
            raise UsageError("A cache does not remember which tokens are hidden: leave one of the two out.")
        h_BLD = self.embed(tokens_BL)
        for number in range(self.shape.layers):
            h_BLD = self.layer(number, h_BLD, cache, tokens_BL == PAD if hide_pad else None)
        return self.head(h_BLD)

    def embed(self, tokens_BL: torch.Tensor) -> torch.Tensor:
        """Token numbers to what the first layer is given, [B, L, D]."""
        unknown = tokens_BL[(tokens_BL < 0) | (tokens_BL >= self.shape.vocabulary)]
        if len(unknown):
            raise UsageError(
                f"Token {int(unknown[0])} is not of the {self.shape.vocabulary} that this model knows: "
                "use the tokenizer that came with it."
            )
        table = self._weights.read(EMBEDDING)
        rows = table[tokens_BL] if isinstance(table, torch.Tensor) else _rows(table, tokens_BL.cpu().numpy())
        return self._scaled(numbers(rows, self._dtype, tokens_BL.device), self.shape.embedding_scale)

    def layer(
        self,
        number: int,
        h_BLD: torch.Tensor,
        cache: Cache | None = None,
        hidden_BL: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """One layer, [B, L, D] to [B, L, D]; no token sees one that is True in `hidden_BL`."""
        x_BLD = self._norm(f"layers.{number}.attention_norm", h_BLD)
        x_BLD = self._attention(number, x_BLD, cache, hidden_BL)
        h_BLD = h_BLD + self._norm(f"layers.{number}.attention_out_norm", x_BLD)
        x_BLD = self._norm(f"layers.{number}.expert_norm", h_BLD)
        x_BLD = self._experts(number, x_BLD.flatten(0, 1)).view_as(h_BLD)
        return h_BLD + self._norm(f"layers.{number}.expert_out_norm", x_BLD)

    def head(self, h_BLD: torch.Tensor) -> torch.Tensor:
        """What the last layer gave to logits, [B, L, V]; one position alone (`h[:, -1:]`) costs as much less."""
        x_BLD = self._norm(FINAL_NORM, h_BLD)
        parts = [x_BLD @ numbers(rows_VD, self._dtype, x_BLD.device).mT for rows_VD in self._embedding()]
        return self._scaled(parts[0] if len(parts) == 1 else torch.cat(parts, -1), self.shape.output_scale)

    def _attention(
        self, number: int, x_BLD: torch.Tensor, cache: Cache | None, hidden_BL: torch.Tensor | None
    ) -> torch.Tensor:
        shape, prefix = self.shape, f"layers.{number}."
        start, (many, new) = cache.length(number) if cache else 0, x_BLD.shape[:2]
        place_L = torch.arange(start, start + new, device=x_BLD.device)
        split = (many, new, -1, shape.head_width)
        query_BLHK = rotated(self._linear(prefix + "query", x_BLD).view(split), place_L, shape.rope_base)
        key_BSGK = rotated(self._linear(prefix + "key", x_BLD).view(split), place_L, shape.rope_base)
        value_BSGK = self._linear(prefix + "value", x_BLD).view(split)
        if cache is not None:
            key_BSGK, value_BSGK = cache.extended(number, key_BSGK, value_BSGK)
        # Neighbouring query heads share a key head: head h reads key head h // R.
        query_BLGRK = query_BLHK.view(many, new, shape.kv_heads, -1, shape.head_width)
        logits_BGRLS = self._capped(torch.einsum("blgrk,bsgk->bgrls", query_BLGRK, key_BSGK).float())
        seen_BLS = (torch.arange(key_BSGK.shape[1], device=x_BLD.device) <= place_L[:, None])[None]
        if hidden_BL is not None:
            seen_BLS = seen_BLS & ~hidden_BL[:, None, :]
        logits_BGRLS = logits_BGRLS.masked_fill(~seen_BLS[:, None, None], _HIDDEN)
        share_BGRLS = logits_BGRLS.softmax(-1).to(self._dtype)
        out_BLGRK = torch.einsum("bgrls,bsgk->blgrk", share_BGRLS, value_BSGK)
        return self._linear(prefix + "out", out_BLGRK.flatten(2))

    def _capped(self, logits: torch.Tensor) -> torch.Tensor:
        """Attention logits, scaled, then bent to stay within the cap."""
        cap = self.shape.attention_cap
        return cap * torch.tanh(logits * self.shape.attention_scale / cap)

    def _experts(self, number: int, x_TD: torch.Tensor) -> torch.Tensor:
        """Each token through its experts, all tokens of an expert at once, summed by the router's shares.

        After the two first products all is float32, whatever the precision, as in xAI's code.
        """
        prefix = f"layers.{number}."
        share_TC, chosen_TC = self._routed(prefix + "router", x_TD.float())
        gate, up, down = (self._by_expert(prefix + part) for part in ("gate", "up", "down"))
        out_TD = torch.zeros_like(x_TD, dtype=torch.float32)
        for expert in range(self.shape.experts):
            token_N, rank_N = (chosen_TC == expert).nonzero(as_tuple=True)
            if not len(token_N):
                continue
            x_ND = x_TD[token_N]
            gate_NF = self._product(prefix + "gate", x_ND, gate[expert], expert).float()
            up_NF = self._product(prefix + "up", x_ND, up[expert], expert).float()
            inner_NF = gelu(gate_NF, approximate="tanh") * up_NF
            y_ND = self._product(prefix + "down", inner_NF, down[expert], expert)
            out_TD = out_TD.index_add(0, token_N, y_ND * share_TC[token_N, rank_N, None].to(self._dtype))
        return out_TD.to(self._dtype)

    def _routed(self, name: str, x_TD: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The chosen experts' shares and numbers, both [T, C]."""
        self._seen(name, None, x_TD)
        logits_TE = x_TD @ numbers(self._weights.read(name), torch.float32, x_TD.device)
        return torch.topk(logits_TE.softmax(-1), self.shape.chosen)

    def _linear(self, name: str, x_BLI: torch.Tensor) -> torch.Tensor:
        out_TO = self._product(name, x_BLI.flatten(0, 1), self._weights.read(name))
        return out_TO.view(*x_BLI.shape[:2], -1)

    def _product(self, name: str, x_TI: torch.Tensor, weight: Weight, expert: int | None = None) -> torch.Tensor:
        """[T, in] by a weight in the model's precision, to [T, out] in that of `x_TI`."""
        self._seen(name, expert, x_TI)
        return x_TI @ numbers(weight, self._dtype, x_TI.device).to(x_TI.dtype)

    def _seen(self, name: str, expert: int | None, x_TI: torch.Tensor) -> None:
        if self._watch is not None:
            self._watch(name, expert, x_TI)

    def _by_expert(self, name: str) -> list[Any]:
        weight = self._weights.read(name)
        return list(weight if isinstance(weight, torch.Tensor) else pieces(weight))

    def _embedding(self) -> Iterator[Weight]:
        """The embedding's rows: at once where they are floats in memory, else some at a time."""
        table = self._weights.read(EMBEDDING)
        if isinstance(table, torch.Tensor):
            yield table
            return
        for start in range(0, self.shape.vocabulary, _ROWS):
            yield _rows(table, np.arange(start, min(start + _ROWS, self.shape.vocabulary)))

    def _norm(self, name: str, x_BLD: torch.Tensor) -> torch.Tensor:
        scale_D = numbers(self._weights.read(name), torch.float32, x_BLD.device)
        floats = x_BLD.float()
        mean = floats.square().mean(-1, keepdim=True)
        return (scale_D * (floats * torch.rsqrt(mean + self.shape.norm_epsilon))).to(x_BLD.dtype)

    def _scaled(self, x_BLD: torch.Tensor, scale: float) -> torch.Tensor:
        return x_BLD * torch.tensor(scale, dtype=x_BLD.dtype, device=x_BLD.device)


def rotated(x_BLHK: torch.Tensor, place_L: torch.Tensor, base: float) -> torch.Tensor:
    """Rotary positions: number i of a head turns with number i + K/2; angles in float32 (arXiv 2104.09864)."""
    width = x_BLHK.shape[-1]
    frequency = 1.0 / base ** (torch.arange(0, width, 2, dtype=torch.float32, device=x_BLHK.device) / width)
    angle_LK = (place_L.float()[:, None] * frequency).repeat(1, 2)[:, None]
    first, second = x_BLHK.chunk(2, -1)
    turned = torch.cat((-second, first), -1)
    return (x_BLHK * angle_LK.cos() + turned * angle_LK.sin()).to(x_BLHK.dtype)


def numbers(weight: Weight, dtype: torch.dtype, device: str | torch.device = "cpu") -> torch.Tensor:
    """A stored tensor as floats; int8 is multiplied by its scales in `dtype`, as xAI does."""
    match weight:
        case torch.Tensor():
            return weight.to(device, dtype)
        case Quantised(whole, scales):
            *many, rows, columns = whole.shape
            groups = scales.shape[-2]
            grouped = _tensor(whole).to(device).to(dtype).reshape(*many, groups, rows // groups, columns)
            return grouped.mul_(_tensor(scales).to(device, dtype)[..., None, :]).reshape(whole.shape)
        case Packed():
            return _tensor(float32(weight)).to(device, dtype)
        case _:
            return _tensor(weight).to(device, dtype)


def _tensor(array: NDArray[Any]) -> torch.Tensor:
    """An array as a tensor; torch shares only memory that may be written, so what is mapped is copied."""
    if array.dtype == bfloat16:
        return _tensor(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array if array.flags.writeable else array.copy(order="K"))


def _rows(table: Tensor, which: NDArray[np.int64]) -> Tensor:
    """Some rows of the embedding, without a look at the others."""
    match table:
        case Packed(data, type_, turned):
            return Packed(data[which], type_, turned)
        case Quantised():
            return float32(table)[which]
        case _:
            return table[which]
