"""Weights without a meaning, the same for a seed everywhere, strong enough that an error in a forward shows.

Mild random weights hide bugs: no cap is reached and the tied head answers with the token that it was given.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxpop.weights.grok import Grok, Spec
from voxpop.weights.tensors import Held, Tensor, quantised

_STRONG = {"query": 2.5, "key": 2.5, "router": 7.0}


def random_weights(shape: Grok, seed: int = 0, *, int8: bool = True, strong: bool = True) -> Held:
    """A checkpoint in memory; `int8` as xAI stores it, else float32 throughout.

    `strong`: scaled so that attention and router logits pass 20, and so that all layers together add as much as
    the embedding gave: with more, the last bits of a sum grow into differences; else as a model is before training.
    """
    luck = np.random.RandomState(seed)  # its stream never changes between versions of numpy
    return Held(shape, {name: _made(spec, luck, int8, strong, shape.layers) for name, spec in shape.specs.items()})


def _made(spec: Spec, luck: np.random.RandomState, int8: bool, strong: bool, layers: int) -> Tensor:
    part = spec.part
    if spec.kind == "norm":
        low, high = (
            ((1.2 / layers, 3.6 / layers) if part.endswith("out_norm") else (0.5, 1.5)) if strong else (1.0, 1.0)
        )
        return luck.uniform(low, high, spec.shape).astype(np.float32)
    fan_in = spec.shape[-2] if spec.kind != "embedding" else spec.shape[-1]
    values: NDArray[Any] = luck.standard_normal(spec.shape).astype(np.float32) * np.float32(fan_in**-0.5)
    if strong:
        values *= np.float32(_STRONG.get(part, 1.0))
    return quantised(values, spec.groups) if int8 and spec.int8 else values
