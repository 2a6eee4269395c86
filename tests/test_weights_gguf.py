"""GGUF files of Grok models: what is written is read back, bit for bit where that is said; cut runs go on."""

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("torch", reason="the extra voxpop[weights] is not installed")
pytest.importorskip("gguf", reason="the extra voxpop[weights] is not installed")
pytest.importorskip("xllamacpp", reason="the extra voxpop[weights] is not installed")

import gguf
import numpy as np

from voxpop.engines.gguf_bounded import Bounded
from voxpop.errors import UsageError, VoxpopError
from voxpop.weights.formats.gguf_grok import GgufSink, GgufSource
from voxpop.weights.formats.gguf_keys import Pieces, gguf_name, numbers
from voxpop.weights.grok import GROK_1, Grok, scaled
from voxpop.weights.mixes import ALIGNMENT, _table, fallen, mix, names, size_of
from voxpop.weights.quantise import Count, int8_rows, number, packed_rows
from voxpop.weights.random_weights import random_weights
from voxpop.weights.tensors import Held, Packed, Quantised, Source, bfloat16, float32

SHAPE = replace(
    GROK_1,
    layers=3,
    width=256,
    heads=4,
    kv_heads=2,
    head_width=64,
    feed_forward=512,
    experts=4,
    vocabulary=320,
    context=128,
    embedding_scale=16.0,
    attention_scale=0.125,
)
SLOW = {"IQ2_S", "IQ2_XS", "IQ1_S", "IQ1_M"}  # llama.cpp makes their tables for seconds
PIECES = Pieces([f"▁w{i}" for i in range(320)], [0.0] * 320, [3, 3, 3, 2, *[1] * 316], 1, 2, 3, 0)


@pytest.fixture(scope="module")
def source() -> Held:
    return random_weights(SHAPE, 1)


def written(source: Source, path: Path, type_: str, **more: Any) -> GgufSink:
    sink = GgufSink(path, source.shape, mix(type_), vocabulary=PIECES, **more)
    for name in source.shape.specs:
        sink.write(name, source.read(name))
    sink.close()
    return sink


class TestFile:
    @pytest.mark.parametrize("type_", ["F32", "EXACT"])
    def test_every_number_comes_back(self, source: Held, tmp_path: Path, type_: str) -> None:
        sink = written(source, tmp_path / "m.gguf", type_)
        found = GgufSource(tmp_path / "m.gguf")
        assert found.shape == SHAPE
        assert found.faults(SHAPE) == []
        for name in SHAPE.specs:
            assert np.array_equal(float32(found.read(name)), float32(source.read(name))), name
        assert sink.count.rounded == 0
        assert sink.bytes == (tmp_path / "m.gguf").stat().st_size

    def test_a_packed_file_is_copied_as_it_is(self, source: Held, tmp_path: Path) -> None:
        first = written(source, tmp_path / "a.gguf", "Q4_K_M")
        again = written(GgufSource(tmp_path / "a.gguf"), tmp_path / "b.gguf", "Q4_K_M")
        assert first.done() == again.done()
        assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()

    def test_any_order_and_any_number_of_threads_make_the_same_bytes(self, source: Held, tmp_path: Path) -> None:
        written(source, tmp_path / "a.gguf", "Q2_K", threads=1)
        sink = GgufSink(tmp_path / "b.gguf", SHAPE, mix("Q2_K"), vocabulary=PIECES, threads=3)
        for name in reversed(SHAPE.specs):
            sink.write(name, source.read(name))
        sink.close()
        assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()

    def test_parts_are_read_as_one(self, source: Held, tmp_path: Path) -> None:
        sink = written(source, tmp_path / "m.gguf", "Q8_0", split=1_000_000)
        assert sink.paths[0].name == f"m-00001-of-{len(sink.paths):05}.gguf"
        assert len(sink.paths) > 2
        whole = written(source, tmp_path / "whole.gguf", "Q8_0")
        assert whole.done() == sink.done()
        found = GgufSource(sink.paths[0])
        assert found.faults(SHAPE) == []
        for name in SHAPE.specs:
            assert np.array_equal(
                float32(found.read(name)), float32(GgufSource(tmp_path / "whole.gguf").read(name))
            )

    def test_the_tokenizer_is_in_it(self, source: Held, tmp_path: Path) -> None:
        written(source, tmp_path / "m.gguf", "F16", template="{{ messages }}")
        fields = GgufSource(tmp_path / "m.gguf").fields
        assert fields["tokenizer.ggml.model"] == "llama"
        assert fields["tokenizer.ggml.tokens"] == list(PIECES.texts)
        assert fields["tokenizer.ggml.eos_token_id"] == 2
        assert fields["tokenizer.chat_template"] == "{{ messages }}"
        with pytest.raises(VoxpopError, match="3 pieces"):
            GgufSink(tmp_path / "n.gguf", SHAPE, mix("F32"), vocabulary=Pieces(["a"] * 3, [0.0] * 3, [1] * 3))

    def test_a_shape_that_llama_cpp_cannot_run_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(VoxpopError, match="needs the same"):
            GgufSink(tmp_path / "m.gguf", replace(SHAPE, head_width=32), mix("F32"))


class TestCut:
    def test_a_cut_run_goes_on_and_ends_the_same(self, source: Held, tmp_path: Path) -> None:
        whole, cut = tmp_path / "whole.gguf", tmp_path / "cut.gguf"
        written(source, whole, "Q4_K_M")
        first = list(SHAPE.specs)[:7]
        sink = GgufSink(cut, SHAPE, mix("Q4_K_M"), vocabulary=PIECES)
        told = {name: sink.write(name, source.read(name)) for name in first}
        assert not cut.exists()
        with pytest.raises(VoxpopError, match="were not written"):
            sink.close()
        with (tmp_path / "cut.gguf.journal").open("ab") as journal:
            journal.write(b'{"name": "layers.1.gate", "sha')  # the power failed here
        again = GgufSink(cut, SHAPE, mix("Q4_K_M"), vocabulary=PIECES)
        assert again.done() == told
        again.write("final_norm", source.read("final_norm"))
        again = GgufSink(cut, SHAPE, mix("Q4_K_M"), vocabulary=PIECES)
        assert again.done().keys() == {*told, "final_norm"}
        for name in SHAPE.specs.keys() - again.done().keys():
            again.write(name, source.read(name))
        again.close()
        assert cut.read_bytes() == whole.read_bytes()
        assert [path.name for path in tmp_path.iterdir() if "cut" in path.name] == ["cut.gguf"]

    def test_another_conversion_does_not_go_on_from_it(self, source: Held, tmp_path: Path) -> None:
        sink = GgufSink(tmp_path / "m.gguf", SHAPE, mix("Q8_0"))
        sink.write("embedding", source.read("embedding"))
        assert GgufSink(tmp_path / "m.gguf", SHAPE, mix("Q8_0")).done().keys() == {"embedding"}
        assert not GgufSink(tmp_path / "m.gguf", SHAPE, mix("Q6_K")).done()
        assert not GgufSink(tmp_path / "m.gguf", SHAPE, mix("Q8_0")).done()

    @pytest.mark.parametrize("name", ["embedding", "layers.0.gate", "layers.0.query", "final_norm"])
    def test_a_tensor_of_another_shape_is_refused(self, source: Held, tmp_path: Path, name: str) -> None:
        sink = GgufSink(tmp_path / "m.gguf", SHAPE, mix("F32"))
        with pytest.raises(VoxpopError, match=name):
            sink.write(name, float32(source.read(name))[..., :-1])
        assert not sink.done()


class TestKeys:
    @pytest.mark.parametrize("key", list(numbers(SHAPE)))
    def test_a_missing_or_different_key_is_a_fault(self, source: Held, tmp_path: Path, key: str) -> None:
        found = Found(source, tmp_path)
        assert any(key in fault for fault in found.faults(found.fields | {key: 7}))
        assert any(key in fault for fault in found.faults({k: v for k, v in found.fields.items() if k != key}))

    def test_tensors_that_are_missing_turned_or_too_many_are_faults(self, source: Held, tmp_path: Path) -> None:
        found = Found(source, tmp_path)
        query, gate = gguf_name("layers.2.query"), gguf_name("layers.0.gate")
        assert found.faults(tensors={k: v for k, v in found.sizes.items() if k != query}) == [
            f"{query} is missing."
        ]
        (fault,) = found.faults(tensors=found.sizes | {gate: (4, 256, 512)})
        assert gate in fault
        (fault,) = found.faults(tensors=found.sizes | {"output.weight": (320, 256)})
        assert "output.weight" in fault

    def test_either_name_of_the_last_norm_will_do(self, source: Held, tmp_path: Path) -> None:
        found = Found(source, tmp_path)
        assert not found.faults(tensors={k.replace("layer_output", "post_ffw"): v for k, v in found.sizes.items()})

    def test_without_scales_the_shape_is_what_llama_cpp_would_run(self, source: Held, tmp_path: Path) -> None:
        from voxpop.weights.formats.gguf_keys import shape_of

        fields = {k: v for k, v in Found(source, tmp_path).fields.items() if "scale" not in k}
        assert shape_of(fields).attention_scale == GROK_1.attention_scale != SHAPE.attention_scale
        assert shape_of(fields).embedding_scale == GROK_1.embedding_scale

    @pytest.mark.parametrize("shape", [GROK_1, scaled(1), scaled(3, 5)])
    def test_a_familys_constants_come_back_unrounded(self, shape: Grok) -> None:
        from voxpop.weights.formats.gguf_keys import shape_of

        kept = {k: float(np.float32(v)) if isinstance(v, float) else v for k, v in numbers(shape).items()}
        assert shape_of(kept) == shape


class Found:
    """The keys and sizes of a written file, to be damaged."""

    def __init__(self, source: Held, folder: Path) -> None:
        from voxpop.weights.formats.gguf_keys import faults

        written(source, folder / "found.gguf", "F16")
        opened = GgufSource(folder / "found.gguf")
        self.fields, self.sizes, self._faults = opened.fields, opened.sizes, faults

    def faults(self, fields: Any = None, tensors: Any = None) -> list[str]:
        return self._faults(fields or self.fields, tensors or self.sizes, SHAPE)


def int8(groups: int, scales: Any, seed: int = 0) -> Quantised:
    luck = np.random.RandomState(seed)
    weight = luck.randint(-128, 128, (256, 96)).astype(np.int8)
    return Quantised(weight, np.broadcast_to(np.asarray(scales), (groups, 96)).astype(bfloat16))


class TestInt8:
    @pytest.mark.parametrize("groups", [1, 2, 8])
    def test_int8_becomes_q8_0_without_a_loss(self, groups: int) -> None:
        scales = np.random.RandomState(1).uniform(2**-14, 0.1, (groups, 96))
        part = int8(groups, scales)
        rows, count = int8_rows(part)
        assert count == Count(96 * 8, 0)
        assert np.array_equal(float32(Packed(rows, number("Q8_0"))), float32(part))
        assert np.array_equal(rows.reshape(96, 8, 34)[:, :, 2:].view(np.int8).reshape(96, 256), part.weight.T)

    def test_a_scale_that_is_no_float16_is_rounded_and_counted(self) -> None:
        scales = np.full((2, 96), 0.01)
        scales[1, 5], scales[0, 7] = 2**-20 * 1.1, 2**-19 * 1.3
        part = int8(2, scales)
        rows, count = int8_rows(part)
        assert count == Count(96 * 8 - 8, 8)
        found, truth = float32(Packed(rows, number("Q8_0"))), float32(part)
        assert np.array_equal(np.argwhere((found != truth).any(0))[:, 0], [5, 7])
        assert np.abs(found - truth)[128:, 5].max() <= 128 * 2**-25

    def test_groups_that_cut_a_block_are_rounded_and_counted(self) -> None:
        part = int8(16, 0.01)
        rows, count = int8_rows(part)
        assert count == Count(0, 96 * 8)
        assert np.abs(float32(Packed(rows, number("Q8_0"))) - float32(part)).max() < 0.011

    def test_a_scale_that_float16_cannot_reach_is_refused(self) -> None:
        for scale in (np.inf, np.nan, 1e6):
            with pytest.raises(VoxpopError, match="float16"):
                int8_rows(int8(1, scale))


class TestTypes:
    def test_the_table_is_that_of_the_library(self) -> None:
        for name, size in _table()["types"].items():
            assert gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]] == tuple(size)

    @pytest.mark.parametrize("type_", [t for t in _table()["types"] if t not in SLOW | {"F32", "F16", "BF16"}])
    def test_every_type_reads_back_near(self, type_: str) -> None:
        luck = np.random.RandomState(3)
        values = luck.standard_normal((256, 48)).astype(np.float32)
        rows = np.concatenate(list(packed_rows(values, type_, turned=True, importance=np.ones(256, np.float32))))
        found = float32(Packed(rows, number(type_)))
        block, size = _table()["types"][type_]
        least = {1: 0.4, 2: 0.3, 3: 0.1, 4: 0.02, 5: 0.01, 6: 0.002, 8: 1e-4}[int(8 * size / block)]
        assert np.square(found - values).mean() < least

    def test_a_type_that_needs_importance_is_refused_without(self) -> None:
        with pytest.raises(VoxpopError, match="needs a matrix of importance"):
            list(packed_rows(np.ones((256, 4), np.float32), "IQ2_XXS", turned=True))
        assert mix("IQ2_XXS").needs_importance
        assert not mix("Q2_K").needs_importance

    @pytest.mark.parametrize("type_", ["F32", "F16", "Q8_0", "Q4_K", "IQ3_S"])
    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_numbers_that_are_not_finite_are_refused(self, type_: str, bad: float) -> None:
        values = np.ones((256, 4), np.float32)
        values[17, 3] = bad
        with pytest.raises(VoxpopError, match="finite"):
            list(packed_rows(values, type_, turned=True))

    def test_what_float16_cannot_hold_is_refused(self) -> None:
        with pytest.raises(VoxpopError, match="100000"):
            list(packed_rows(np.full((2, 32), 1e5, np.float32), "F16", turned=False))


class TestMixes:
    @pytest.mark.parametrize("type_", ["F32", "EXACT", "Q6_K", "Q4_K_M", "IQ3_S", "Q2_K"])
    def test_the_estimate_is_the_file(self, source: Held, tmp_path: Path, type_: str) -> None:
        sink = GgufSink(tmp_path / "m.gguf", SHAPE, mix(type_))
        assert 0 < sink.bytes - size_of(SHAPE, mix(type_)).bytes < 8192
        assert sum(share.parameters for share in size_of(SHAPE, mix(type_)).shares) == SHAPE.parameters

    def test_grok_1_weighs_what_published_files_do(self) -> None:
        same = {"Q8_0": 336, "Q4_K_M": 192.3, "IQ4_XS": 169.3}
        near = {"IQ2_XS": 93.6, "IQ2_XXS": 84.3, "IQ1_M": 72.6}
        for name, size in (same | near).items():
            found = size_of(GROK_1, mix(name)).bytes / 1e9
            assert found == pytest.approx(size, rel=0.003 if name in same else 0.05), name

    def test_narrower_mixes_are_smaller(self) -> None:
        sizes = [size_of(GROK_1, mix(name)).bytes for name in names()]
        assert sizes == sorted(sizes, reverse=True)

    def test_norms_and_router_are_never_touched(self) -> None:
        for name in names():
            shares = size_of(GROK_1, mix(name)).shares
            assert {share.type for share in shares if share.kind in ("norm", "router")} == {"F32"}

    def test_rows_that_no_block_divides_get_another_type(self, tmp_path: Path) -> None:
        shape = replace(SHAPE, feed_forward=352)
        assert fallen(shape, mix("Q4_K_M"))["down"][1] in ("Q5_0", "Q8_0")
        assert fallen(shape, mix("IQ3_S")) == {"down": ("IQ3_S", "IQ4_NL")}
        assert fallen(replace(SHAPE, feed_forward=344), mix("Q8_0")) == {"down": ("Q8_0", "F16")}
        assert not fallen(GROK_1, mix("Q4_K_M"))
        source = random_weights(shape, 2)
        written(source, tmp_path / "m.gguf", "IQ3_S")
        assert GgufSource(tmp_path / "m.gguf").types["layers.1.down"] == "IQ4_NL"

    def test_an_unknown_mix_is_refused(self) -> None:
        with pytest.raises(UsageError, match="Q9"):
            mix("Q9")


@pytest.fixture(scope="module")
def bytes_(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A whole file without its weights."""
    path = tmp_path_factory.mktemp("world") / "m.gguf"
    sink = GgufSink(path, SHAPE, mix("F16"), vocabulary=Pieces(["a"] * 320, [0.0] * 320, [1] * 320))
    part = path.with_name("m.gguf.part").read_bytes()
    assert len(part) == sink.bytes
    return part


class TestWorld:
    """Files of others: damaged, cut, or made to harm."""

    @settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.data())
    def test_a_damaged_file_is_refused_or_read(self, bytes_: bytes, tmp_path: Path, data: st.DataObject) -> None:
        head = 14_000
        damaged = bytearray(bytes_)
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(0, head))
            new = data.draw(st.one_of(st.binary(min_size=1, max_size=8), st.just(b"\xff" * 8)))
            damaged[at : at + len(new)] = new
        cut = data.draw(st.sampled_from([len(damaged), len(damaged), head // 2, 30, 0]))
        path = tmp_path / "damaged.gguf"
        path.write_bytes(bytes(damaged[:cut]))
        with suppress(VoxpopError):  # anything else fails the test
            found = GgufSource(path)
            found.faults(SHAPE)
            found.faults()
            for name in found.shape.specs:
                found.read(name)

    @pytest.mark.parametrize("at", [8, 16])
    def test_a_count_beyond_all_memory_is_refused(self, bytes_: bytes, tmp_path: Path, at: int) -> None:
        damaged = bytearray(bytes_)
        damaged[at : at + 8] = (1 << 40).to_bytes(8, "little")
        (tmp_path / "m.gguf").write_bytes(bytes(damaged))
        with pytest.raises(VoxpopError, match="more than"):
            GgufSource(tmp_path / "m.gguf")

    def test_more_layers_than_tensors_are_refused(self, source: Held, tmp_path: Path) -> None:
        written(source, tmp_path / "m.gguf", "F16")
        key = b"grok.block_count" + (4).to_bytes(4, "little")
        before = (tmp_path / "m.gguf").read_bytes()
        assert key + b"\3\0\0\0" in before
        (tmp_path / "m.gguf").write_bytes(before.replace(key + b"\3\0\0\0", key + b"\0\0\0\x7f"))
        with pytest.raises(VoxpopError, match="layers and holds"):
            GgufSource(tmp_path / "m.gguf")

    def test_an_array_as_long_as_the_file_is_refused(self, tmp_path: Path) -> None:
        key = b"x"
        head = b"GGUF" + (3).to_bytes(4, "little") + (0).to_bytes(8, "little") + (1).to_bytes(8, "little")
        head += len(key).to_bytes(8, "little") + key + (9).to_bytes(4, "little") + (0).to_bytes(4, "little")
        count = 5_000_000
        (tmp_path / "m.gguf").write_bytes(head + count.to_bytes(8, "little") + bytes(count))
        with pytest.raises(ValueError, match="more than"):
            Bounded(tmp_path / "m.gguf")
        with pytest.raises(VoxpopError, match="more than"):
            GgufSource(tmp_path / "m.gguf")

    def test_a_file_of_another_model_is_refused(self, tmp_path: Path) -> None:
        writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        with pytest.raises(VoxpopError, match="llama"):
            GgufSource(tmp_path / "m.gguf")

    def test_a_journal_of_another_kind_is_no_reason_to_fail(self, tmp_path: Path) -> None:
        (tmp_path / "m.gguf.journal").write_text(json.dumps([1]) + "\nnonsense\n")
        assert not GgufSink(tmp_path / "m.gguf", SHAPE, mix("F32")).done()

    def test_tensors_are_aligned(self, source: Held, tmp_path: Path) -> None:
        written(source, tmp_path / "m.gguf", "Q2_K")
        assert all(t.data_offset % ALIGNMENT == 0 for t in Bounded(tmp_path / "m.gguf").tensors)
