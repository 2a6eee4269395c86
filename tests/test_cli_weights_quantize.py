"""`voxpop weights quantize` and `importance`: from posts and xAI's files to a smaller GGUF; refusals."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

pytest.importorskip("torch", reason="the extra voxpop[weights] is not installed")
pytest.importorskip("gguf", reason="the extra voxpop[weights] is not installed")
pytest.importorskip("xllamacpp", reason="the extra voxpop[weights] is not installed")

import numpy as np

from test_weights_gguf import SHAPE
from voxpop.cli import program
from voxpop.weights import importance
from voxpop.weights.formats.gguf_grok import GgufSource
from voxpop.weights.formats.sums import read_manifest
from voxpop.weights.formats.tokenizer import trained
from voxpop.weights.formats.xai import XaiSink
from voxpop.weights.mixes import mix, size_of
from voxpop.weights.random_weights import random_weights
from voxpop.weights.tensors import float32

POSTS = [f"the harbour of town {i} is closed, say {3 * i} people who stood there at night" for i in range(120)]
TINY = replace(SHAPE, layers=2, experts=2, vocabulary=330)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in xAI's format with its tokenizer, and the posts beside it."""
    folder = tmp_path_factory.mktemp("grok")
    source = random_weights(TINY, 4)
    sink = XaiSink(folder / "ckpt-0", TINY)
    for name in TINY.specs:
        sink.write(name, source.read(name))
    sink.close()
    (folder / "tokenizer.model").write_bytes(trained(POSTS, TINY.vocabulary))
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    (folder / "posts.jsonl").write_text("".join(json.dumps({"text": post}) + "\n" for post in POSTS))
    return folder / "ckpt-0"


def told(*arguments: Any) -> Result:
    return CliRunner().invoke(program(), ["weights", *map(str, arguments)])


def quantized(checkpoint: Path, out: Path, type_: str, *more: Any) -> dict[str, Any]:
    found = told("quantize", checkpoint, out, "--type", type_, "--json", *more)
    assert found.exit_code == 0, found.output
    row: dict[str, Any] = json.loads(found.stdout.splitlines()[-1])
    return row


class TestQuantize:
    def test_from_xais_files_to_four_bits(self, checkpoint: Path, tmp_path: Path) -> None:
        out = tmp_path / "m.gguf"
        found = told("quantize", checkpoint, out, "--type", "q4_k_m")
        assert found.exit_code == 0, found.output
        assert "Q4_K" in found.stdout
        source = GgufSource(out)
        assert source.faults() == []
        assert source.types["layers.0.gate"] == "Q4_K"
        assert source.types["layers.0.router"] == "F32"
        assert len(source.fields["tokenizer.ggml.tokens"]) == TINY.vocabulary
        assert source.fields["tokenizer.chat_template"] == "{{ messages }}"
        assert read_manifest(out).keys() == TINY.specs.keys()

    def test_narrow_types_are_weighed_by_importance(self, checkpoint: Path, tmp_path: Path) -> None:
        posts = checkpoint.parent / "posts.jsonl"
        matrix = tmp_path / "importance.gguf"
        found = told("importance", checkpoint, matrix, "--texts", posts, "--length", 64, "--chunks", 8, "--json")
        assert found.exit_code == 0, found.output
        assert json.loads(found.stdout)["chunks"] == 8
        assert importance.read(matrix, TINY).texts == ("posts.jsonl",)
        row = quantized(checkpoint, tmp_path / "a.gguf", "Q2_K", "--importance", matrix)
        more = ("--texts", posts, "--length", 64, "--chunks", 8)
        quantized(checkpoint, tmp_path / "b.gguf", "Q2_K", *more)
        assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()
        quantized(checkpoint, tmp_path / "blind.gguf", "Q2_K")
        assert read_manifest(tmp_path / "a.gguf") != read_manifest(tmp_path / "blind.gguf")
        assert row["bits"] == size_of(TINY, mix("Q2_K")).bits
        assert row["bytes"] == (tmp_path / "a.gguf").stat().st_size

    def test_a_gguf_file_keeps_its_words(self, checkpoint: Path, tmp_path: Path) -> None:
        whole, alone = tmp_path / "whole.gguf", tmp_path / "alone"
        quantized(checkpoint, whole, "F32")
        alone.mkdir()
        shutil.move(whole, alone / "whole.gguf")
        texts = ("--texts", checkpoint.parent / "posts.jsonl", "--length", 64, "--chunks", 4)
        quantized(alone / "whole.gguf", tmp_path / "m.gguf", "Q6_K", *texts)
        before, after = GgufSource(alone / "whole.gguf"), GgufSource(tmp_path / "m.gguf")
        assert after.words() == before.words()
        assert np.array_equal(float32(after.read("layers.1.router")), float32(before.read("layers.1.router")))

    def test_what_became_of_int8_is_counted(self, checkpoint: Path, tmp_path: Path) -> None:
        row = quantized(checkpoint, tmp_path / "m.gguf", "EXACT")
        of_int8 = [spec for spec in TINY.specs.values() if spec.kind in ("attention", "expert")]
        assert row["exact"] == sum(spec.parameters for spec in of_int8) // 32
        assert row["rounded"] == 0

    def test_refusals(self, checkpoint: Path, tmp_path: Path) -> None:
        out, posts = tmp_path / "m.gguf", checkpoint.parent / "posts.jsonl"
        cases = [
            (("--type", "IQ1_S"), "matrix of importance"),
            (("--type", "Q9"), "Q9"),
            (("--type", "Q4_K_M", "--texts", posts, "--importance", posts), "both"),
            (("--type", "Q4_K_M", "--importance", posts), "no matrix of importance"),
            (
                ("--type", "Q4_K_M", "--texts", posts, "--length", 128, "--chunks", 1, "--tokenizer", posts),
                "tokenizer",
            ),
        ]
        for more, why in cases:
            found = told("quantize", checkpoint, out, *more)
            assert found.exit_code in (1, 2), found.output
            assert why in found.output
        assert not [path for path in tmp_path.iterdir() if path.name.startswith("m.gguf")]
        (tmp_path / "bad.jsonl").write_text('{"text": "good"}\n["bad"]\n')
        found = told("importance", checkpoint, out, "--texts", tmp_path / "bad.jsonl")
        assert "line 2" in found.output

    def test_importance_without_texts_is_of_invented_posts(self, checkpoint: Path, tmp_path: Path) -> None:
        found = told("importance", checkpoint, tmp_path / "m.gguf", "--chunks", 1, "--length", 32)
        assert found.exit_code == 0, found.output
        assert found.stdout == f"{tmp_path / 'm.gguf'}: 1 chunks of 32 tokens of invented posts.\n"

    def test_a_file_without_words_is_warned_of_before_and_after(self, checkpoint: Path, tmp_path: Path) -> None:
        (tmp_path / "x" / "y").mkdir(parents=True)
        bare = shutil.copytree(checkpoint, tmp_path / "x" / "y" / "ckpt-0")
        found = told("quantize", bare, tmp_path / "m.gguf", "--type", "Q4_K_M")
        assert found.stderr.startswith(f"Warning: {bare} has no tokenizer")
        found = told("convert", bare, tmp_path / "n.gguf", "--to", "gguf")
        assert found.stderr.startswith(f"Warning: {bare} has no tokenizer")
        found = told("inspect", tmp_path / "m.gguf")
        assert "Note: it has no tokenizer" in found.stdout
        assert "voxpop up" not in found.stdout

    def test_texts_without_a_tokenizer_are_refused(self, checkpoint: Path, tmp_path: Path) -> None:
        (tmp_path / "x" / "y").mkdir(parents=True)
        shutil.copytree(checkpoint, tmp_path / "x" / "y" / "ckpt-0")
        more = ("--texts", checkpoint.parent / "posts.jsonl")
        found = told("quantize", tmp_path / "x" / "y" / "ckpt-0", tmp_path / "m.gguf", "--type", "Q4_K_M", *more)
        assert "no tokenizer" in found.output
