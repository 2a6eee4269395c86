"""`voxpop weights inspect` as a person runs it, on a checkpoint of each format; and what a missing extra says."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from conftest import environment, voxpop
from voxpop.cli import program
from voxpop.weights.formats import xai
from voxpop.weights.formats.gguf_grok import GgufSink
from voxpop.weights.formats.gguf_keys import Pieces
from voxpop.weights.formats.hf import FolderSink
from voxpop.weights.formats.inspecting import inspect
from voxpop.weights.formats.layouts import KEYFAN
from voxpop.weights.grok import GROK_1, Grok
from voxpop.weights.mixes import mix
from voxpop.weights.random_weights import random_weights
from voxpop.weights.tensors import Held, Sink

SHAPE = Grok(
    layers=2,
    width=256,
    heads=2,
    kv_heads=1,
    feed_forward=256,
    experts=4,
    vocabulary=64,
    context=128,
    embedding_scale=16.0,
)
PIECES = Pieces([f"▁w{i}" for i in range(64)], [0.0] * 64, [3, 3, 3, 2, *[1] * 60], 1, 2, 3, 0)
BARE = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("numpy", "ml_dtypes", "gguf", "torch"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
from voxpop.cli import main
main()
"""


@pytest.fixture(scope="module")
def held() -> Held:
    return random_weights(SHAPE)


def filled(sink: Sink, held: Held) -> None:
    for name in held.shape.specs:
        sink.write(name, held.read(name))
    sink.close()


def inspected(path: Path, *options: str) -> Any:
    done = CliRunner().invoke(program(), ["weights", "inspect", str(path), "--json", *options])
    assert done.stderr == ""
    return done.exit_code, json.loads(done.stdout)


def test_xais_folder(held: Held, tmp_path: Path) -> None:
    filled(xai.XaiSink(tmp_path / "small" / "ckpt-0", SHAPE), held)
    code, found = inspected(tmp_path / "small", "--tensors")
    assert code == 0
    assert (found["format"], found["whole"], found["wrong"], found["doubts"]) == ("xai", True, [], [])
    assert (found["parameters"], found["active"]) == (SHAPE.parameters, SHAPE.active)
    assert Grok(**found["sizes"]) == SHAPE
    of = {row["kind"]: row for row in found["kinds"]}
    assert of["expert"]["stored"] == {
        "int8, bfloat16 scales of 1 group of rows": 4,
        "int8, bfloat16 scales of 8 groups of rows": 2,
    }
    assert of["expert"]["bytes"] == 6 * 4 * 256 * 256 + 2 * 2 * 4 * 256 * (1 + 1 + 8)
    assert of["norm"] == {"kind": "norm", "tensors": 9, "parameters": 2304, "bytes": 9216, "stored": {"float32": 9}}
    assert sum(row["bytes"] for row in found["kinds"]) == found["bytes"]
    assert found["facts"]["files"] == 26
    assert found["facts"]["file_bytes"] == sum(p.stat().st_size for p in (tmp_path / "small").rglob("tensor*"))
    assert len(found["tensors"]) == 26
    assert found["tensors"][2]["name"] == "layers.0.gate"
    assert found["next"] == f"voxpop weights convert {tmp_path}/small small.gguf --to gguf"


def test_a_folder_that_is_not_whole_is_told_with_exit_1(held: Held, tmp_path: Path) -> None:
    filled(xai.XaiSink(tmp_path / "ckpt-0", SHAPE), held)
    (tmp_path / "ckpt-0" / "tensor00020_000").unlink()
    (tmp_path / "ckpt-0" / "tensor00024_000").write_bytes(bytes(1000))
    code, found = inspected(tmp_path)
    assert code == 1
    assert found["whole"] is False
    assert found["wrong"] == [
        "1 of 26 files are missing: tensor00020_000",
        "tensor00024_000 begins with zeros. It was not fetched to its end: go on with that",
    ]
    done = voxpop("weights", "inspect", str(tmp_path))
    assert (done.returncode, done.stderr) == (1, "")
    lines = done.stdout.splitlines()
    assert lines[0] == f"{tmp_path}: xAI's folder ckpt-0, not whole"
    assert "  Wrong: 1 of 26 files are missing: tensor00020_000." in lines
    assert lines[-1] == f"  Once that is mended: voxpop weights inspect {tmp_path}"


def test_safetensors(held: Held, tmp_path: Path) -> None:
    filled(FolderSink(tmp_path / "hf", KEYFAN, SHAPE, "BF16"), held)
    code, found = inspected(tmp_path / "hf")
    assert (code, found["format"], found["facts"]["layout"]) == (0, "safetensors", KEYFAN.name)
    assert Grok(**found["sizes"]) == replace(SHAPE, row_groups=found["sizes"]["row_groups"])
    of = {row["kind"]: row for row in found["kinds"]}
    assert of["expert"]["stored"] == {"bfloat16": 6}
    assert of["expert"]["bytes"] == 2 * 6 * 4 * 256 * 256
    (tmp_path / "hf" / "model.safetensors").unlink()
    code, found = inspected(tmp_path / "hf")
    assert (code, found["sizes"], len(found["wrong"])) == (1, None, 1)


def test_gguf(held: Held, tmp_path: Path) -> None:
    path = tmp_path / "small.gguf"
    filled(GgufSink(path, SHAPE, mix("Q4_K_M"), vocabulary=PIECES), held)
    code, found = inspected(path)
    assert (code, found["format"], found["wrong"]) == (0, "gguf", [])
    assert Grok(**found["sizes"]) == SHAPE
    of = {row["kind"]: row for row in found["kinds"]}
    assert set(of["norm"]["stored"]) == {"F32"} or set(of["norm"]["stored"]) == {"float32"}
    assert "Q4_K" in of["expert"]["stored"]
    assert found["next"] == f"voxpop up --engine local --model {path}"
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"grok.embedding_scale", b"grok.embedding_scalf"))
    code, found = inspected(path)
    assert code == 1
    assert any("embedding_scale" in said for said in found["wrong"])
    path.write_bytes(whole[:5000])
    assert inspected(path)[0] == 1


def test_grok_1_is_told_in_a_table(tmp_path: Path) -> None:
    """As holes: names, types and sizes of the release, which nobody here has."""
    xai.hollow(tmp_path / "grok-1", GROK_1)
    done = voxpop("weights", "inspect", str(tmp_path / "grok-1"))
    assert (done.returncode, done.stderr) == (0, "")
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert lines[0] == f"{tmp_path}/grok-1: xAI's folder ckpt-0, whole"
    assert lines[1].startswith("Grok-1: 64 layers of 6,144, 48 heads of 128 (8 for keys), 8 experts of 32,768")
    assert "315,684,820,992 parameters, 83,756,587,008 (26.5%) touched for each token" in lines
    assert "all 770 315,684,820,992 318,239,694,848" in lines
    assert any("318.2 GB of it are holes on the disk" in line for line in lines)
    assert lines[-1] == "Next: voxpop weights plan"
    assert max(len(line) for line in done.stdout.splitlines()[1:]) <= 110


def test_what_is_no_checkpoint_is_bad_usage(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        done = voxpop("weights", "inspect", str(path), "--json")
        assert done.returncode == 2
        assert set(json.loads(done.stdout)["error"]) == {"message", "cure", "code"}


def test_looking_is_told_on_the_way(held: Held, tmp_path: Path) -> None:
    filled(xai.XaiSink(tmp_path / "ckpt-0", SHAPE), held)
    told: list[tuple[int, int]] = []
    inspect(tmp_path, lambda done, total: told.append((done, total)))
    assert told[:26] == [(n, 26) for n in range(1, 27)]


def test_a_missing_extra_says_how_to_get_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", BARE, "weights", "inspect", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment())
    assert done.returncode == 1
    assert done.stderr.strip().endswith("Install it with: pip install 'voxpop[weights]'")
    assert "Traceback" not in done.stderr
