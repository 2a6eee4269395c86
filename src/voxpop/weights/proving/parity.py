"""Do two checkpoints compute the same? Sampled layers of both on the same hidden states, then the head's logits.

One expert is in memory as float32 at a time. It proves nothing of the layers that it leaves out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from voxpop.errors import UsageError
from voxpop.weights.formats.mapped import release
from voxpop.weights.grok import Grok
from voxpop.weights.grok_torch import Forward
from voxpop.weights.tensors import Source

_TOKENS = 32
_FIRST = 3  # tokens below have a meaning of their own


@dataclass(frozen=True, slots=True)
class Agreement:
    """What one part does to the same input in both: `error` is |difference| / |output|, the median of the tokens'.

    `part`: a layer's number or "head". The median, because a token whose router was nearly undecided may choose
    another expert.
    """

    part: str
    error: float
    worst: float


def sampled(shape: Grok, count: int, seed: int = 0) -> list[int]:
    """Numbers of `count` layers: the first, the last, and others by chance. Raises UsageError below 1."""
    if count < 1:
        raise UsageError(f"{count} layers cannot be compared.", "Ask for one or more.")
    if count >= shape.layers:
        return list(range(shape.layers))
    ends = [0, shape.layers - 1][:count]
    others = np.random.RandomState(seed).permutation(np.arange(1, shape.layers - 1))
    return sorted([*ends, *(int(n) for n in others[: count - len(ends)])])


@torch.inference_mode()
def agreements(converted: Source, source: Source, layers: Sequence[int], seed: int = 0) -> Iterator[Agreement]:
    """How far each layer, then the head, agree; what goes into a layer is what the one before made of it.

    The sources read the layers in between not at all: the hidden states skip them.
    """
    luck = torch.Generator().manual_seed(seed)
    tokens = torch.randint(_FIRST, source.shape.vocabulary, (1, _TOKENS), generator=luck)
    ours, theirs = Forward(converted), Forward(source)
    hidden = theirs.embed(tokens)
    yield _agreement("embedding", ours.embed(tokens), hidden)
    for number in layers:
        due = theirs.layer(number, hidden)
        yield _agreement(str(number), ours.layer(number, hidden) - hidden, due - hidden)
        hidden = due
        for spec in source.shape.layer(number):
            release(converted.read(spec.name))
            release(source.read(spec.name))
    yield _agreement("head", ours.head(hidden), theirs.head(hidden))


def _agreement(part: str, is_: torch.Tensor, due: torch.Tensor) -> Agreement:
    away = (is_ - due).norm(dim=-1) / due.norm(dim=-1).clamp_min(1e-30)
    return Agreement(part, float(away.median()), float(away.max()))
