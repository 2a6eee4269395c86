"""Our forward against itself: cached, int8, and refusing."""

import pytest
import torch

from grok1_oracle import GROUPED, SMALL, tokens
from voxpop.errors import UsageError
from voxpop.weights.grok_torch import Cache, Floats, Forward
from voxpop.weights.random_weights import random_weights
from voxpop.weights.tensors import Held, float32

TOKENS = torch.from_numpy(tokens())


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.inference_mode():
        yield


def test_one_token_at_a_time_or_in_chunks_is_the_whole_at_once() -> None:
    forward = Forward(random_weights(SMALL))
    whole = forward.logits(TOKENS)
    for cuts in ([1] * TOKENS.shape[1], [7, 1, 1, 11]):
        cache = Cache(TOKENS.shape[1])
        parts = [forward.logits(part, cache) for part in TOKENS.split(cuts, 1)]
        assert (torch.cat(parts, 1) - whole).abs().max() < 1e-5


def test_a_cache_that_is_full_refuses() -> None:
    forward = Forward(random_weights(SMALL))
    with pytest.raises(UsageError, match="cache for 8 tokens was given 20"):
        forward.logits(TOKENS, Cache(8))


@pytest.mark.parametrize("shape", [SMALL, GROUPED])
def test_int8_is_its_floats(shape) -> None:
    held = random_weights(shape, seed=3)
    floats = Held(shape, {name: float32(held.read(name)) for name in shape.specs})
    assert torch.equal(Forward(held).logits(TOKENS), Forward(floats).logits(TOKENS))
    assert torch.equal(Forward(held).logits(TOKENS), Forward(Floats(held)).logits(TOKENS))
