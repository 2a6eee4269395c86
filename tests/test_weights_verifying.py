"""A wrong tensor is found, named, and said what it looks like (invariant 57)."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from click.testing import CliRunner, Result

from test_weights_converting import TINY
from voxpop.cli import program
from voxpop.weights import converting, targets
from voxpop.weights.formats import tokenizer
from voxpop.weights.formats.gguf_grok import GgufSource
from voxpop.weights.formats.opening import opened
from voxpop.weights.formats.sums import manifest_of
from voxpop.weights.grok import GROK_1, Grok, scaled
from voxpop.weights.proving import parity, verifying
from voxpop.weights.proving.judging import Report, judged
from voxpop.weights.quantise import number, packed_rows
from voxpop.weights.random_weights import random_weights
from voxpop.weights.tensors import Held, Packed, Tensor, bfloat16, float32, pieces

SOURCE = random_weights(TINY, 3)
WIDTH = TINY.head_width


def cast(dtype: Any) -> dict[str, Any]:
    return {name: float32(SOURCE.read(name)).astype(dtype) for name in TINY.specs}


def wrong(tensors: dict[str, Any], source: Held = SOURCE) -> dict[str, str]:
    findings = verifying.verify(Held(source.shape, tensors), source)
    return {finding.tensor: finding.wrong for finding in findings if finding.wrong}


@pytest.mark.parametrize(("dtype", "error"), [(np.float32, 0.0), (np.float16, 3e-4), (bfloat16, 2.1e-3)])
def test_a_right_one_is_right(dtype: Any, error: float) -> None:
    findings = list(verifying.verify(Held(TINY, cast(dtype)), SOURCE))
    assert [finding.tensor for finding in findings] == list(TINY.specs)
    assert not [finding.wrong for finding in findings if finding.wrong]
    assert error / 2 <= max(finding.error for finding in findings) <= error


def test_float32_must_be_equal_and_bfloat16_within_its_error() -> None:
    tensors = cast(np.float32)
    tensors["layers.4.value"][3, 5] = np.nextafter(tensors["layers.4.value"][3, 5], np.float32(9))
    assert wrong(tensors).keys() == {"layers.4.value"}
    tensors = cast(bfloat16)
    tensors["layers.4.value"][3, 5] *= bfloat16.type(1.01)
    assert wrong(tensors).keys() == {"layers.4.value"}


def permuted(heads: int) -> Callable[[Any], Any]:
    """What converters for other models do to queries and keys."""
    return lambda w: w.reshape(len(w), heads, 2, WIDTH // 2).swapaxes(2, 3).reshape(w.shape)


def test_permuted_queries_and_keys() -> None:
    tensors = cast(bfloat16)
    for name, heads in (("layers.2.query", TINY.heads), ("layers.7.key", TINY.kv_heads)):
        tensors[name] = permuted(heads)(tensors[name])
    found = wrong(tensors)
    assert found.keys() == {"layers.2.query", "layers.7.key"}
    assert all("looks like a Q/K permutation" in said for said in found.values())


def test_gate_and_up_swapped() -> None:
    tensors = cast(bfloat16)
    tensors["layers.3.gate"], tensors["layers.3.up"] = tensors["layers.3.up"], tensors["layers.3.gate"]
    found = wrong(tensors)
    assert "looks like up of the source" in found["layers.3.gate"]
    assert "looks like gate of the source" in found["layers.3.up"]
    assert len(found) == 2


def test_layers_in_the_order_of_numbers() -> None:
    """What a converter gets that takes xAI's files for numbered by layer."""
    tensors, right = cast(bfloat16), cast(bfloat16)
    for number_, given in enumerate(sorted(range(TINY.layers), key=str)):
        for spec in TINY.layer(0):
            part = spec.name.rpartition(".")[2]
            tensors[f"layers.{number_}.{part}"] = right[f"layers.{given}.{part}"]
    found = wrong(tensors)
    assert len(found) == 10 * 12  # layers 0 and 1 are where they belong
    for part in ("gate", "key", "router", "attention_norm"):
        assert "looks like layer 10 of the source" in found[f"layers.2.{part}"]


def test_a_matrix_that_was_not_turned_over() -> None:
    tensors = cast(bfloat16)
    for name in ("layers.2.query", "layers.2.key"):  # square, and not
        stored = np.ascontiguousarray(tensors[name])
        tensors[name] = stored.reshape(stored.shape[::-1]).T
    found = wrong(tensors)
    assert found.keys() == {"layers.2.query", "layers.2.key"}
    assert all("looks like itself, not turned over" in said for said in found.values())


def test_one_expert_of_another() -> None:
    tensors = cast(bfloat16)
    tensors["layers.5.down"][3] = tensors["layers.5.down"][6]
    found = wrong(tensors)
    assert found.keys() == {"layers.5.down"}
    assert "1 of its 8 experts differ, such as 3" in found["layers.5.down"]
    assert "looks like expert 6 of the source" in found["layers.5.down"]


@pytest.mark.parametrize(
    ("change", "looks"),
    [
        (lambda w: w * bfloat16.type(0.5), "itself times 0.5"),
        (lambda w: w * bfloat16.type(0), "zeros"),
        (lambda w: w * bfloat16.type(np.nan), "numbers that are not finite"),
        (lambda w: w[::-1], None),
    ],
)
def test_other_changes(change: Callable[[Any], Any], looks: str | None) -> None:
    tensors = cast(bfloat16)
    tensors["layers.9.value"] = change(tensors["layers.9.value"])
    found = wrong(tensors)
    assert found.keys() == {"layers.9.value"}
    assert (f"looks like {looks}" in found["layers.9.value"]) if looks else "looks" not in found["layers.9.value"]


def test_a_norm_of_another_place() -> None:
    tensors = cast(bfloat16)
    tensors["layers.5.attention_norm"] = tensors["layers.5.expert_norm"]
    assert "looks like expert_norm of the source" in wrong(tensors)["layers.5.attention_norm"]


SMALL = replace(scaled(1, layers=1, vocabulary=64), width=256, heads=2, kv_heads=1, feed_forward=32, experts=2)


def packed(tensor: Tensor, type_: str) -> Tensor:
    luck = np.random.RandomState(0)
    rows = []
    for piece in pieces(tensor):
        importance = luck.uniform(0.1, 3.0, float32(piece).shape[0]).astype(np.float32)
        rows.append(np.concatenate(list(packed_rows(piece, type_, turned=True, importance=importance))))
    return Packed(np.stack(rows) if len(float32(tensor).shape) == 3 else rows[0], number(type_))


# ggml takes seconds to make its tables for the types below three bits.
@pytest.mark.parametrize("type_", sorted(t for t in verifying._MATRIX if not t.startswith(("IQ1", "IQ2", "int8"))))
def test_every_type_of_ggml_is_within_its_bound_and_another_expert_is_not(type_: str) -> None:
    source = random_weights(SMALL, 5, int8=False)
    name = "layers.0.gate"
    tensors = {name: source.read(name) for name in SMALL.specs}
    tensors[name] = packed(source.read(name), type_)
    finding = next(f for f in verifying.verify(Held(SMALL, tensors), source) if f.tensor == name)
    assert (finding.type, finding.wrong) == (type_, "")
    assert finding.allowed / 4 < finding.error < finding.allowed
    tensors[name] = packed(source.read(name)[::-1], type_)  # type: ignore[index]
    assert "2 of its 2 experts differ" in wrong(tensors, source)[name]
    assert "looks like expert" in wrong(tensors, source)[name]


def test_q8_0_of_int8_must_be_the_same_int8() -> None:
    source = random_weights(SMALL, 5)
    name = "layers.0.gate"
    tensors = {name: source.read(name) for name in SMALL.specs}
    tensors[name] = packed(source.read(name), "Q8_0")
    assert not wrong(tensors, source)
    data = tensors[name].data.copy()  # type: ignore[union-attr]
    data[1, 7, 5] ^= 1  # one unit of one weight: far within the error of the type
    tensors[name] = Packed(data, number("Q8_0"))
    assert "1 of its 2 experts differ, such as 1" in wrong(tensors, source)[name]


@pytest.fixture(scope="module")
def source(memory: Path) -> Path:
    return written(SOURCE, targets.target(memory / "source", "xai"))


def written(held: Held, to: targets.Target) -> Path:
    sink = to.sink(held.shape)
    list(converting.convert(held, sink))
    sink.close()
    return to.path


def report_of(*arguments: Any, **options: Any) -> Report:
    return list(judged(*arguments, **options))[-1]


class TestFiles:
    def test_one_byte_that_no_error_bound_sees(self, source: Path, memory: Path) -> None:
        out = memory / "out"
        list(targets.converted(opened(source), source, targets.target(out, "keyfan", "bf16")))
        assert report_of(out, source).right
        file = out / "model.safetensors"
        view, due = (float32(opened(path).read("layers.6.up"))[4].T for path in (out, source))
        stored = np.ascontiguousarray(view).astype(bfloat16)
        flipped = (stored.view(np.uint16) ^ 1).view(bfloat16).astype(np.float32)
        one = int(np.argmax((abs(flipped - due) <= 2.0**-8 * abs(due)).reshape(-1)))
        place = file.read_bytes().index(stored.tobytes()) + 2 * one
        with file.open("r+b") as opened_:
            os.pwrite(opened_.fileno(), bytes([file.read_bytes()[place] ^ 1]), place)
        report = report_of(out, source)
        assert [f.tensor for f in report.findings if f.wrong] == ["layers.6.up"]
        assert "the manifest has another checksum" in report.text()
        assert not report.right
        manifest_of(out).unlink()
        assert report_of(out, source).right  # the value is within the error of bfloat16
        assert "there is no manifest" in report_of(out, source).text()

    @pytest.mark.parametrize("key", ["attention.output_scale", "embedding_scale", "logit_scale"])
    def test_a_scale_that_is_missing_or_another(self, key: str, source: Path, memory: Path) -> None:
        right = written(SOURCE, targets.target(memory / f"{key}-right.gguf", "gguf"))
        assert report_of(right, source, layers=0).right
        content = right.read_bytes()
        name = f"grok.{key}".encode()
        missing = memory / f"{key}-missing.gguf"
        missing.write_bytes(content.replace(name, name[:-1] + b"X", 1))
        faults = report_of(missing, source, layers=0).faults
        assert any(f"grok.{key} is missing" in fault for fault in faults), faults
        at = content.index(name) + len(name) + 4
        other = memory / f"{key}-other.gguf"
        other.write_bytes(content[:at] + np.float32(0.125).tobytes() + content[at + 4 :])
        report = report_of(other, source, layers=2)
        assert any(f"grok.{key} is 0.125" in fault for fault in report.faults)
        assert not report.right

    def test_another_model(self, source: Path, memory: Path) -> None:
        shorter = replace(TINY, layers=11, attention_cap=50.0)
        other = written(random_weights(shorter, 1), targets.target(memory / "other", "keyfan"))
        report = report_of(other, source)
        assert report.faults == ["layers is 11 and must be 12.", "attention_cap is 50.0 and must be 30.0."]
        assert not report.right

    def test_the_commands_end_to_end(self, source: Path, memory: Path) -> None:
        out = memory / "out.gguf"
        said = command("convert", source, out, "--to", "gguf", "--dry-run", "--json")
        assert orjson.loads(said.stdout)["files"] == 1
        assert not out.exists()
        said = command("convert", source, out, "--to", "gguf", "--json")
        assert orjson.loads(said.stdout) == {"path": str(out), "manifest": f"{out}.sums.json"}
        said = command("verify", out, source, "--json", "--layers", "3")
        report = orjson.loads(said.stdout)
        assert report["right"] is True
        assert report["checksums"] == len(report["tensors"]) == len(TINY.specs)
        assert len([row for row in report["layers"] if row["part"].isdigit()]) == 3
        near = command("verify", out, source, "--layers", "1").stdout
        assert near.endswith("The two are the same, as near as these types can be.\n")
        with out.open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"\x7f")
        said = command("verify", out, source, "--layers", "1")
        assert said.exit_code == 1
        assert "WRONG final_norm" in said.stdout
        assert said.stdout.endswith("The two are NOT the same.\n")
        assert command("convert", source, out, "--to", "gguf").exit_code == 2

    def test_words_go_along(self, source: Path, memory: Path) -> None:
        texts = [f"post number {n} says that the bridge is closed" for n in range(300)]
        shape = replace(TINY, layers=1, vocabulary=320)
        model = tokenizer.trained(texts, shape.vocabulary)
        given = written(random_weights(shape, 1), targets.target(memory / "speaks", "xai"))
        (given / tokenizer.FILE).write_bytes(model)
        for out, format_ in (("speaks.gguf", "gguf"), ("speaks-hf", "lmzheng"), ("again.gguf", "gguf")):
            here = memory / ("speaks.gguf" if out == "again.gguf" else "speaks")
            assert command("convert", here, memory / out, "--to", format_).exit_code == 0
        assert (memory / "speaks-hf" / tokenizer.FILE).read_bytes() == model
        pieces_ = tokenizer.Tokenizer(model).pieces
        for out in ("speaks.gguf", "again.gguf"):
            found = opened(memory / out)
            assert isinstance(found, GgufSource)
            words = found.words()
            assert words is not None
            assert words[0] == pieces_
        other = command("convert", source, memory / "x.gguf", "--to", "gguf", "--tokenizer", given / tokenizer.FILE)
        assert other.exit_code == 1
        assert "320 pieces" in other.stderr


def command(*arguments: object) -> Result:
    return CliRunner().invoke(program(), ["weights", *map(str, arguments)])


class TestParity:
    def test_the_layers_that_are_run(self) -> None:
        assert parity.sampled(GROK_1, 64) == list(range(64))
        some = parity.sampled(GROK_1, 6, seed=1)
        assert some == sorted(set(some))
        assert len(some) == 6
        assert (some[0], some[-1]) == (0, 63)
        assert some != parity.sampled(GROK_1, 6, seed=2)

    def test_equal_weights_compute_the_same(self) -> None:
        found = list(parity.agreements(Held(TINY, cast(np.float32)), SOURCE, [0, 5, 11]))
        assert [a.part for a in found] == ["embedding", "0", "5", "11", "head"]
        assert max(a.worst for a in found) < 1e-5

    @pytest.mark.parametrize(
        ("change", "part"),
        [
            ({"attention_scale": 0.0884}, "5"),
            ({"attention_cap": 10.0}, "5"),
            ({"embedding_scale": 7.0}, "embedding"),
        ],
    )
    def test_another_constant_shows(self, change: dict[str, float], part: str) -> None:
        other = Held(replace(TINY, **change), cast(np.float32))  # type: ignore[arg-type]
        found = {a.part: a.error for a in parity.agreements(other, SOURCE, [5])}
        assert found[part] > 1e-2

    def test_a_wrong_layer_shows(self) -> None:
        tensors = cast(bfloat16)
        tensors["layers.5.gate"], tensors["layers.5.up"] = tensors["layers.5.up"], tensors["layers.5.gate"]
        found = {a.part: a.error for a in parity.agreements(Held(TINY, tensors), SOURCE, [0, 5])}
        assert found["0"] < 2e-2 < 0.3 < found["5"]


def test_sizes_that_differ_are_said() -> None:
    assert verifying.differing(TINY, replace(TINY, row_groups=8)) == []
    assert verifying.differing(replace(TINY, context=1), TINY) == ["context is 1 and must be 512."]
    assert isinstance(TINY, Grok)
