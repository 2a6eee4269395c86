"""Our forward against xAI's own code: logits that it made, which we keep, and the code itself where it is."""

import numpy as np
import pytest
import torch

from grok1_oracle import SHAPES, STORED, checksum, tokens, weights
from voxpop.weights.grok_torch import Forward

CLOSE = 2e-5
TOKENS = torch.from_numpy(tokens())


@pytest.fixture(scope="module")
def stored():
    with np.load(STORED) as file:
        return dict(file)


@pytest.mark.parametrize("name", SHAPES)
def test_logits_are_those_of_xais_code(name: str, stored) -> None:
    held = weights(name)
    assert checksum(held) == stored[f"{name} sha256"], "the weights drifted: grok1_oracle.py --store"
    with torch.inference_mode():
        ours = Forward(held).logits(TOKENS).numpy()
    assert np.abs(ours - stored[name]).max() <= CLOSE
