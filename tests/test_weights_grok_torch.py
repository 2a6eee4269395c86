"""Our forward against itself: cached, streamed, int8, trained, watched, and refusing."""

from pathlib import Path

import gguf
import numpy as np
import pytest
import torch

from grok1_oracle import GROUPED, SMALL, tokens
from voxpop.errors import UsageError
from voxpop.weights.grok import EMBEDDING, Grok
from voxpop.weights.grok_torch import Cache, Floats, Forward, numbers
from voxpop.weights.importance import Squares
from voxpop.weights.random_weights import random_weights
from voxpop.weights.tensors import Held, Packed, Quantised, Tensor, bfloat16, float32

pytestmark = pytest.mark.usefixtures("one_thread")
TOKENS = torch.from_numpy(tokens())


def test_one_token_at_a_time_or_in_chunks_is_the_whole_at_once() -> None:
    forward = Forward(random_weights(SMALL))
    with torch.inference_mode():
        whole = forward.logits(TOKENS)
        for cuts in ([1] * TOKENS.shape[1], [7, 1, 1, 11]):
            cache = Cache(TOKENS.shape[1])
            parts = [forward.logits(part, cache) for part in TOKENS.split(cuts, 1)]
            assert (torch.cat(parts, 1) - whole).abs().max() < 2e-5


@pytest.mark.parametrize("shape", [SMALL, GROUPED], ids=["one group", "eight"])
def test_int8_is_its_floats(shape: Grok) -> None:
    held = random_weights(shape, seed=3)
    floats = Held(shape, {name: float32(held.read(name)) for name in shape.specs})
    for precision in (torch.float32, torch.bfloat16):
        # In bfloat16 the product of a whole number and its scale is rounded either way.
        int8 = Forward(held, precision).logits(TOKENS)
        assert torch.equal(int8, Forward(floats, precision).logits(TOKENS))
        assert torch.equal(int8, Forward(Floats(held, precision), precision).logits(TOKENS))


@pytest.mark.parametrize("turn", [False, True], ids=["in order", "turned round"])
def test_what_is_mapped_or_lies_the_other_way_round_is_read(turn: bool) -> None:
    """A mapped file may not be written, and torch must not be given its memory; Hugging Face stores [out, in]."""

    def locked(array: np.ndarray) -> np.ndarray:
        if turn and array.ndim > 1:
            array = np.ascontiguousarray(np.swapaxes(array, -1, -2)).swapaxes(-1, -2)
        array.flags.writeable = False
        return array

    tensor = random_weights(SMALL).read("layers.0.down")
    whole, scales = tensor.weight, tensor.scales
    expected = torch.from_numpy(float32(tensor))
    assert torch.equal(numbers(Quantised(locked(whole), locked(scales)), torch.float32), expected)
    short = expected.to(torch.bfloat16)
    assert torch.equal(numbers(locked(float32(tensor).astype(bfloat16)), torch.bfloat16), short)


def test_a_packed_embedding_is_read_row_by_row() -> None:
    """Each row of it stands alone in ggml's types, so that a token costs one row."""
    held = random_weights(SMALL)
    kind = gguf.GGMLQuantizationType.Q8_0
    packed = Packed(gguf.quantize(held.read(EMBEDDING), kind), int(kind), turned=False)
    tensors = {name: held.read(name) for name in SMALL.specs}
    whole = Forward(Held(SMALL, {**tensors, EMBEDDING: float32(packed)})).logits(TOKENS)
    assert torch.equal(Forward(Held(SMALL, {**tensors, EMBEDDING: packed})).logits(TOKENS), whole)


def test_layer_by_layer_is_the_whole_and_asks_only_for_its_own_weights() -> None:
    asked: list[str] = []

    class Listed(Held):
        def read(self, name: str):
            asked.append(name)
            return super().read(name)

    held = random_weights(SMALL)
    forward = Forward(Listed(SMALL, {name: held.read(name) for name in SMALL.specs}))
    h = forward.embed(TOKENS)
    assert asked == [EMBEDDING]
    for number in range(SMALL.layers):
        asked.clear()
        h = forward.layer(number, h)
        assert sorted(asked) == sorted(spec.name for spec in SMALL.layer(number))
    assert torch.equal(forward.head(h), Forward(held).logits(TOKENS))


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells the most memory so far")
def test_memory_is_that_of_a_few_matrices() -> None:
    shape = Grok(layers=1, width=256, heads=2, kv_heads=1, feed_forward=16384, vocabulary=64, row_groups=8)
    tensors: dict[str, Tensor] = {}
    for spec in shape.specs.values():
        scales = np.full((*spec.shape[:-2], spec.groups, spec.shape[-1]), 1e-3, bfloat16)
        whole = spec.kind in ("attention", "expert")
        tensors[spec.name] = Quantised(np.ones(spec.shape, np.int8), scales) if whole else np.ones(spec.shape, "f4")
    forward = Forward(Held(shape, tensors))
    with torch.inference_mode():
        forward.layer(0, torch.randn(1, 2, 256))
        Path("/proc/self/clear_refs").write_text("5")
        before = highest()
        forward.layer(0, torch.randn(1, 16, 256))
    matrix = 256 * 16384 * 4  # bytes of one of an expert's three; there are 24
    print(f"{(highest() - before) / matrix:.1f} matrices")
    assert highest() - before < 6 * matrix


def highest() -> int:
    """The most bytes that this process held in memory."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def test_a_watch_sees_what_goes_into_each_linear() -> None:
    held = random_weights(SMALL)
    squares = Squares(SMALL)
    inputs: dict[str, torch.Tensor] = {}

    def watch(name: str, expert: int | None, x: torch.Tensor) -> None:
        squares(name, expert, x)
        if expert is None:
            inputs[name] = x

    Forward(held, watch=watch).logits(TOKENS)
    many = TOKENS.numel()
    for number in range(SMALL.layers):
        router = f"layers.{number}.router"
        chosen = (inputs[router] @ torch.from_numpy(held.read(router))).topk(SMALL.chosen).indices
        expected = torch.bincount(chosen.flatten(), minlength=SMALL.experts)
        assert squares.rows[f"layers.{number}.down"].tolist() == expected.tolist()
    for spec in SMALL.specs.values():
        if spec.kind in ("attention", "router"):
            assert squares.rows[spec.name] == many
            np.testing.assert_allclose(squares.sums[spec.name][0], inputs[spec.name].square().sum(0), rtol=1e-4)
        elif spec.kind == "expert":
            assert squares.rows[spec.name].sum() == many * SMALL.chosen
            assert squares.sums[spec.name].shape == (SMALL.experts, spec.shape[1])
            assert ((squares.sums[spec.name] > 0).any(1) == (squares.rows[spec.name] > 0)).all()


def test_every_weight_that_is_trained_gets_a_gradient_that_points_down() -> None:
    held = random_weights(SMALL, int8=False, strong=False)
    before = {name: held.read(name).copy() for name in SMALL.specs}
    floats = Floats(held, trained=True)
    forward = Forward(floats)

    def loss() -> torch.Tensor:
        logits = forward.logits(TOKENS[:, :-1])
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), TOKENS[:, 1:].flatten())

    first = loss()
    first.backward()
    assert all(t.grad is not None and t.grad.abs().sum() > 0 for t in floats.tensors.values())
    steps = torch.optim.AdamW(floats.tensors.values(), lr=1e-3)
    for _ in range(5):
        steps.step()
        steps.zero_grad()
        last = loss()
        last.backward()
    assert last < first - 0.1
    assert all(np.array_equal(held.read(name), values) for name, values in before.items()), "the source was changed"


def test_what_cannot_be_right_is_refused() -> None:
    forward = Forward(random_weights(SMALL))
    with pytest.raises(UsageError, match="cache for 8 tokens was given 20"):
        forward.logits(TOKENS, Cache(8))
    with pytest.raises(UsageError, match="Token 512 is not of the 512"):
        forward.logits(torch.tensor([[1, 512]]))
    with pytest.raises(UsageError, match="Token -1 is not"):
        forward.logits(torch.tensor([[1, -1]]))
    with pytest.raises(UsageError, match="does not remember which tokens are hidden"):
        forward.logits(TOKENS, Cache(20), hide_pad=True)
