"""Grok models in llama.cpp: what it computes from our GGUF files is what our forward computes from the source."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra voxpop[weights] is not installed")
pytest.importorskip("gguf", reason="the extra voxpop[weights] is not installed")
pytest.importorskip("xllamacpp", reason="the extra voxpop[weights] is not installed")

import gguf
import numpy as np
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from test_weights_gguf import SHAPE, written
from voxpop.engines.llamacpp import LlamaModel
from voxpop.errors import UsageError, VoxpopError
from voxpop.weights import importance
from voxpop.weights.formats.gguf_grok import GgufSource
from voxpop.weights.grok_torch import Cache, Floats, Forward
from voxpop.weights.importance import Importance, gathered
from voxpop.weights.quantise import packed_rows
from voxpop.weights.random_weights import random_weights
from voxpop.weights.tensors import Held, Packed, Source, float32, pieces

TOKENS = [5, 77, 201, 9, 300, 45, 45, 118, 7, 260, 31, 99]
Logits = NDArray[np.float32]


@pytest.fixture(scope="module")
def source() -> Held:
    return random_weights(SHAPE, 1)


@pytest.fixture(scope="module")
def truth(source: Held) -> Logits:
    """Log-probabilities [tokens, vocabulary] after each token, in float32."""
    return log_probabilities(forward(Floats(source), TOKENS))


def forward(source: Any, tokens: list[int]) -> Logits:
    with torch.inference_mode():
        return Forward(source).logits(torch.tensor([tokens]))[0].numpy()


def log_probabilities(logits: Logits) -> Logits:
    return torch.from_numpy(logits).log_softmax(-1).numpy()


@contextmanager
def opened(path: Path) -> Iterator[LlamaModel]:
    with LlamaModel(path, context=64, threads=2, kv="f32") as model:
        yield model


def through_llama(path: Path, tokens: list[int] = TOKENS) -> Logits:
    with opened(path) as model:
        return log_probabilities(model.session().feed(tokens, len(tokens)))


def divergence(truth: Logits, found: Logits) -> float:
    """Mean Kullback-Leibler divergence of what is found from the truth, in nats a token."""
    return float((np.exp(truth) * (truth - found)).sum(-1).mean())


def made(source: Source, folder: Path, type_: str, **more: Any) -> Path:
    written(source, folder / f"{type_}.gguf", type_, **more)
    return folder / f"{type_}.gguf"


class TestParity:
    @pytest.mark.parametrize(("type_", "most"), [("F32", 5e-3), ("F16", 2e-2)])
    def test_log_probabilities(self, source: Held, truth: Logits, tmp_path: Path, type_: str, most: float) -> None:
        found = through_llama(made(source, tmp_path, type_))
        assert np.abs(found - truth).max() <= most

    def test_int8_without_a_loss_is_near_all_the_same(self, source: Held, truth: Logits, tmp_path: Path) -> None:
        """What is left is llama.cpp's: it rounds what it multiplies Q8_0 with to 8 bits as well."""
        assert divergence(truth, through_llama(made(source, tmp_path, "EXACT"))) < 3e-3

    def test_the_same_24_tokens(self, source: Held, tmp_path: Path) -> None:
        grok, cache, tokens = Forward(Floats(source)), Cache(32), list(TOKENS[:4])
        with torch.inference_mode():
            logits = grok.logits(torch.tensor([tokens]), cache)
            for _ in range(24):
                tokens.append(int(logits[0, -1].argmax()))
                logits = grok.logits(torch.tensor([tokens[-1:]]), cache)
        with opened(made(source, tmp_path, "F32")) as model:
            session, found = model.session(), list(TOKENS[:4])
            after = session.feed(found)
            for _ in range(24):
                found.append(int(after[-1].argmax()))
                after = session.feed(found[-1:])
        assert found == tokens

    def test_narrower_types_are_further_away(self, source: Held, truth: Logits, tmp_path: Path) -> None:
        mixes = ("F32", "F16", "Q8_0", "Q6_K", "Q4_K_M", "Q3_K_M", "Q2_K")
        found = [divergence(truth, through_llama(made(source, tmp_path, type_))) for type_ in mixes]
        assert found == sorted(found)


class Changed:
    """A checkpoint with some tensors taken from elsewhere."""

    def __init__(self, source: Held, tensors: dict[str, Any]) -> None:
        self.shape, self._source, self._tensors = source.shape, source, tensors

    def read(self, name: str) -> Any:
        return self._tensors[name] if name in self._tensors else self._source.read(name)


def turned_heads(weight: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """What converters for interleaved rotary positions do to Q and K."""
    return weight.reshape(len(weight), heads, 2, -1).swapaxes(2, 3).reshape(weight.shape)


class TestWrong:
    """What llama.cpp runs without a word is far from right, and a look at the file finds it."""

    @pytest.mark.parametrize("key", ["attention.output_scale", "embedding_scale"])
    def test_a_missing_scale(self, source: Held, truth: Logits, tmp_path: Path, key: str) -> None:
        path = made(source, tmp_path, "F32")
        name = f"grok.{key}".encode()
        path.write_bytes(path.read_bytes().replace(name, name[:-1] + b"_", 1))
        assert np.abs(through_llama(path) - truth).max() > 0.05
        assert [fault for fault in GgufSource(path).faults(SHAPE) if f"grok.{key} is missing" in fault]

    def test_turned_queries_and_keys(self, source: Held, truth: Logits, tmp_path: Path) -> None:
        turned = {}
        for number in range(SHAPE.layers):
            for part, heads in (("query", SHAPE.heads), ("key", SHAPE.kv_heads)):
                name = f"layers.{number}.{part}"
                turned[name] = turned_heads(float32(source.read(name)), heads)
        path = made(Changed(source, turned), tmp_path, "F32")
        assert np.abs(through_llama(path) - truth).max() > 0.05
        assert not GgufSource(path).faults(SHAPE)  # only a comparison of the tensors tells
        assert not np.array_equal(GgufSource(path).read("layers.0.query"), float32(source.read("layers.0.query")))

    def test_layers_in_another_order(self, source: Held, truth: Logits, tmp_path: Path) -> None:
        swapped = {
            name: source.read(name.replace(f"layers.{here}.", f"layers.{there}."))
            for here, there in ((1, 2), (2, 1))
            for name in SHAPE.specs
            if name.startswith(f"layers.{here}.")
        }
        path = made(Changed(source, swapped), tmp_path, "F32")
        assert np.abs(through_llama(path) - truth).max() > 0.05
        assert not np.array_equal(GgufSource(path).read("layers.1.router"), source.read("layers.1.router"))


@pytest.fixture(scope="module")
def matrix(source: Held) -> Importance:
    tokens = np.random.RandomState(5).randint(4, SHAPE.vocabulary, 1030)
    return gathered(source, [int(t) for t in tokens], length=128, texts=["luck"])


class TestImportance:
    def test_narrow_types_come_nearer(self, source: Held, matrix: Importance, tmp_path: Path) -> None:
        tokens = [int(t) for t in np.random.RandomState(14).randint(4, SHAPE.vocabulary, 60)]
        truth = log_probabilities(forward(Floats(source), tokens))
        for type_, share in (("Q3_K_M", 1.0), ("Q2_K", 0.95)):
            blind, led = (
                divergence(truth, through_llama(made(source, tmp_path, type_, importance=weights), tokens))
                for weights in (None, matrix.weights())
            )
            assert led < share * blind, type_

    def test_it_is_the_mean_square_of_what_goes_in(self, source: Held, matrix: Importance) -> None:
        tokens = np.random.RandomState(5).randint(4, SHAPE.vocabulary, 1030)[:1024].reshape(8, 128)
        scale, width = float32(source.read("layers.0.attention_norm")), SHAPE.width
        rows = float32(source.read("embedding"))[tokens].reshape(-1, width) * SHAPE.embedding_scale
        normed = rows * scale / np.sqrt(np.square(rows).mean(-1, keepdims=True) + SHAPE.norm_epsilon)
        assert matrix.chunks == 8
        for part in ("query", "key", "value"):
            found = matrix.weights()[f"layers.0.{part}"]
            np.testing.assert_allclose(found, np.square(normed).mean(0), rtol=1e-4)

    def test_experts_are_measured_apart(self, matrix: Importance) -> None:
        rows = matrix.rows["layers.1.down"]
        assert rows.shape == (SHAPE.experts,)
        assert rows.sum() == 1024 * SHAPE.chosen
        assert len({tuple(row) for row in matrix.weights()["layers.1.down"]}) == SHAPE.experts
        assert matrix.unmet() == 0

    def test_each_expert_is_weighed_by_its_own(self, source: Held, matrix: Importance, tmp_path: Path) -> None:
        weights = matrix.weights()
        found = GgufSource(made(source, tmp_path, "Q2_K", importance=weights)).read("layers.1.gate")
        whole = source.read("layers.1.gate")
        assert isinstance(found, Packed)
        for expert, piece in enumerate(pieces(whole)):
            due = packed_rows(piece, "Q2_K", turned=True, importance=weights["layers.1.gate"][expert])
            assert np.array_equal(found.data[expert], np.concatenate(list(due)))

    def test_an_expert_that_was_never_chosen_weighs_all_alike(self, matrix: Importance) -> None:
        rows = dict(matrix.rows)
        rows["layers.1.down"] = rows["layers.1.down"] * [1, 0, 1, 1]
        lacking = replace(matrix, rows=rows)
        assert lacking.unmet() == 1
        assert (lacking.weights()["layers.1.down"][1] == 1).all()

    def test_its_file_is_that_of_llama_cpp(self, matrix: Importance, tmp_path: Path) -> None:
        path = tmp_path / "importance.gguf"
        matrix.write(path)
        reader = gguf.GGUFReader(path)
        assert reader.fields["general.type"].contents() == "imatrix"
        assert reader.fields["imatrix.datasets"].contents() == ["luck"]
        assert reader.fields["imatrix.chunk_count"].contents() == 8
        assert reader.fields["imatrix.chunk_size"].contents() == 128
        assert "general.architecture" not in reader.fields
        sizes = {tensor.name: tuple(tensor.shape) for tensor in reader.tensors}
        assert sizes["blk.2.ffn_down_exps.weight.in_sum2"] == (SHAPE.feed_forward, SHAPE.experts)
        assert sizes["blk.2.ffn_down_exps.weight.counts"] == (1, SHAPE.experts)
        assert sizes["blk.0.attn_q.weight.in_sum2"] == (SHAPE.width, 1)
        found = importance.read(path, SHAPE)
        for name, sums in matrix.sums.items():
            assert np.array_equal(found.sums[name], sums)
            assert np.array_equal(found.rows[name], matrix.rows[name])

    def test_one_of_another_model_is_refused(self, matrix: Importance, source: Held, tmp_path: Path) -> None:
        matrix.write(tmp_path / "i.gguf")
        with pytest.raises(VoxpopError, match=r"blk\.3"):
            importance.read(tmp_path / "i.gguf", replace(SHAPE, layers=4))
        with pytest.raises(VoxpopError, match="is due"):
            importance.read(tmp_path / "i.gguf", replace(SHAPE, feed_forward=256))
        with pytest.raises(VoxpopError, match="no matrix of importance"):
            importance.read(made(source, tmp_path, "Q8_0"), SHAPE)

    def test_too_little_text_is_refused(self, source: Held) -> None:
        with pytest.raises(UsageError, match="less than one chunk"):
            gathered(source, [5] * 100, length=128)

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.data())
    def test_a_damaged_file_is_refused_or_read(
        self, matrix: Importance, tmp_path: Path, data: st.DataObject
    ) -> None:
        path = tmp_path / "i.gguf"
        if not path.exists():
            matrix.write(path)
        damaged = bytearray(path.read_bytes())
        at = data.draw(st.integers(0, 5000))
        damaged[at : at + 8] = data.draw(st.binary(min_size=8, max_size=8))
        (tmp_path / "damaged.gguf").write_bytes(bytes(damaged[: data.draw(st.sampled_from([None, 3000, 9]))]))
        with suppress(VoxpopError):  # anything else fails the test
            assert importance.read(tmp_path / "damaged.gguf", SHAPE).sums.keys() == matrix.sums.keys()
