"""Our forward against xAI's own code: logits that it made, which we keep, and the code itself where it is."""

from functools import cache
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from grok1_oracle import SHAPES, STORED, VARIABLE, Oracle, checksum, padded, reference, tokens, weights
from voxpop.weights.grok_torch import Cache, Forward

pytestmark = pytest.mark.usefixtures("one_thread")
CLOSE = 2e-5
TOKENS = torch.from_numpy(tokens())
live = pytest.mark.skipif(
    reference() is None or find_spec("haiku") is None,
    reason=f"{VARIABLE} names no copy of github.com/xai-org/grok-1, or dm-haiku is not installed",
)


class Measured(Forward):
    """Ours, and how strong the attention's logits (before their cap) and the router's become."""

    attention = router = 0.0

    def _capped(self, logits: torch.Tensor) -> torch.Tensor:
        self.attention = max(self.attention, float(logits.abs().max()) * self.shape.attention_scale)
        return super()._capped(logits)

    def _routed(self, name: str, x_TD: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        router = torch.from_numpy(self._weights.read(name))
        self.router = max(self.router, float((x_TD @ router).abs().max()))
        return super()._routed(name, x_TD)


@cache
def stored() -> dict[str, np.ndarray]:
    with np.load(STORED) as file:
        return dict(file)


@cache
def oracle(name: str) -> Oracle:
    return Oracle(weights(name), devices=SHAPES[name].row_groups)


def away(ours: torch.Tensor, theirs: np.ndarray) -> np.ndarray:
    return np.abs(ours.float().numpy() - theirs)


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.inference_mode():
        yield


@pytest.mark.parametrize("name", SHAPES)
def test_logits_are_those_of_xais_code(name: str) -> None:
    assert checksum(weights(name)) == stored()[f"{name} sha256"], "the weights drifted: grok1_oracle.py --store"
    assert away(Forward(weights(name)).logits(TOKENS), stored()[name]).max() <= CLOSE


@pytest.mark.parametrize("name", SHAPES)
def test_the_weights_are_strong_enough_to_show_an_error(name: str) -> None:
    forward = Measured(weights(name))
    forward.logits(TOKENS)
    print(f"{name}: attention {forward.attention:.1f}, router {forward.router:.1f}")
    assert forward.attention > 20
    assert forward.router > 20


def test_a_hidden_token_0_is_as_in_xais_code_and_matters() -> None:
    forward, given = Forward(weights("small")), torch.from_numpy(padded())
    assert away(forward.logits(given, hide_pad=True), stored()["small padded"]).max() <= CLOSE
    assert away(forward.logits(given), stored()["small padded"]).max() > 0.1


def test_bfloat16_rounds_where_xais_code_does() -> None:
    theirs, exact = stored()["small bfloat16"], stored()["small"]
    ours = Forward(weights("small"), torch.bfloat16)
    apart = away(ours.logits(TOKENS), theirs)
    cached = Cache(TOKENS.shape[1])
    in_parts = torch.cat([ours.logits(part, cached) for part in TOKENS.split([8, 1, 11], 1)], 1)
    rounding = np.abs(theirs - exact)
    print(f"ours to xAI's: max {apart.max():.2g}, mean {apart.mean():.2g}")
    print(f"xAI's bfloat16 to its float32: max {rounding.max():.2g}, mean {rounding.mean():.2g}")
    assert apart.mean() < 1e-4
    assert away(in_parts, theirs).mean() < 1e-4
    assert rounding.mean() > 1e-2


@live
@pytest.mark.parametrize("name", SHAPES)
def test_the_code_itself_gives_those_logits(name: str) -> None:
    theirs = oracle(name).logits(tokens())
    assert np.abs(theirs - stored()[name]).max() <= CLOSE
    assert away(Forward(weights(name)).logits(TOKENS), theirs).max() <= CLOSE
    # With weights that are not int8 its experts return what they were given; these ran, three products a layer.
    products = oracle(name).numbers.products.count("mk,bkn->bmn")
    assert products >= 3 * SHAPES[name].layers * len(TOKENS)
    assert oracle(name).numbers.hottest * SHAPES[name].attention_cap > 20


@live
def test_the_code_itself_decodes_as_we_do() -> None:
    prompt = 16  # each step takes the code itself ten seconds
    forward, cached = Forward(weights("small")), Cache(TOKENS.shape[1])
    forward.logits(TOKENS[:1, :prompt], cached)
    ours = torch.cat([forward.logits(token, cached) for token in TOKENS[:1, prompt:].split(1, 1)], 1)
    theirs = oracle("small").decoded(tokens()[:1], prompt)
    assert away(ours, theirs).max() <= CLOSE
    assert np.abs(theirs - stored()["small"][:1, prompt:]).max() <= CLOSE
