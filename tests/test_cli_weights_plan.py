"""`voxpop weights plan` as a person runs it, also where no extra is installed."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from conftest import environment, voxpop
from voxpop.weights.grok import Grok

# What the extras bring is not there: an import of it fails as it would on the base install.
BARE = """
import sys
EXTRA = {"numpy", "torch", "gguf", "matplotlib", "xllamacpp", "ml_dtypes", "safetensors", "sentencepiece"}
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in EXTRA:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
from voxpop.cli import main
main()
"""


def bare(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """The command line where no extra is installed."""
    return subprocess.run(
        [sys.executable, "-c", BARE, *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(),
    )


def test_this_machine_is_planned_without_any_extra() -> None:
    done = bare("weights", "plan", "--gpu", "none", "--ram", "16")
    assert done.returncode == 0, done.stderr
    first, *_ = done.stdout.splitlines()
    assert first.startswith("No: this machine cannot run grok-1, because its smallest file (IQ1_S, 68.2 GB)")
    assert "The cheapest described machine with a known price that can:" in done.stdout
    assert "the whole Grok-1, any GPU" in done.stdout


def test_the_plot_says_what_it_needs(tmp_path: Path) -> None:
    done = bare("weights", "plan", "--machine", "epyc-12ch", "--plot", str(tmp_path / "plan.svg"))
    assert done.returncode == 1
    assert "needs matplotlib" in done.stderr
    assert "pip install 'voxpop[weights]'" in done.stderr


def test_yes_comes_first_then_the_table_then_commands_and_defects() -> None:
    done = voxpop("weights", "plan", "--machine", "epyc-12ch", "--eur-per-hour", "1.5", "--min-speed", "3")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("Yes: grok-1 runs on epyc-12ch as ")
    assert "A million tokens cost" in done.stdout
    assert sum("*llama.cpp" in line for line in lines) == 1
    order = ["Yes: ", "machine  ", "format   program", "llama-server -m grok-1-", "capped at 30", "Never measured"]
    places = [done.stdout.index(each) for each in order]
    assert places == sorted(places)
    assert all(len(line) <= 120 for line in lines if not line.startswith("  "))


def test_the_commands_lead_from_the_release_to_an_answer() -> None:
    found = json.loads(voxpop("weights", "plan", "--machine", "m3-ultra-256", "--batch", "4", "--json").stdout)
    assert "for 4 conversations at once" in found["verdict"][0]
    words = [" ".join(step.split()[:3]) for step in found["steps"]]
    assert words == [
        "hf download xai-org/grok-1",
        "voxpop weights tokenizer",
        "voxpop weights inspect",
        "voxpop weights quantize",
        "voxpop weights verify",
        "llama-server -m grok-1-Q4_K_M.gguf",
        "voxpop up --engine",
    ]
    assert "-c 32768 -np 4 " in found["steps"][5]
    assert found["steps"][5] == found["best"]["command"]
    assert json.loads(voxpop("weights", "plan", "--machine", "8xh100", "--json").stdout)["steps"] == []
    published = voxpop("weights", "plan", "--machine", "epyc-12ch", "--format", "IQ3_XS").stdout
    assert "hf download mradermacher/grok-1-i1-GGUF" in published
    assert "quantize" not in published
    narrow = voxpop("weights", "plan", "--machine", "epyc-12ch", "--format", "IQ1_M").stdout
    assert "--type IQ1_M --texts posts.jsonl" in narrow


def test_json_holds_what_the_table_does() -> None:
    done = voxpop(
        "weights", "plan", "--machine", "8xh100", "--batch", "1", "--batch", "64", "--context", "2048", "--json"
    )
    plan = json.loads(done.stdout)
    assert plan["model"]["parameters"] == 315_684_820_992
    assert plan["best"]["program"] == "SGLang"
    assert "--tp 8" in plan["best"]["command"]
    assert [e["batch"] for e in plan["rows"][0]["estimates"]] == [1, 64]
    assert plan["machine"]["eur_per_hour"] == pytest.approx([17.4, 27.84])
    assert {p["name"] for p in plan["programs"]} >= {"llama.cpp", "vLLM", "SGLang", "KTransformers"}
    placed = next(r for r in plan["rows"] if r["format"] == "Q4_K_M")["estimates"][0]["placed"]
    assert placed["expert_layers"] == 64


def test_a_small_member_and_a_described_machine(tmp_path: Path) -> None:
    (tmp_path / "box.toml").write_text("cores = 4\nmemory = 8\nrate = 20\n")
    done = voxpop("weights", "plan", "scaled-2:12", "--machine", str(tmp_path / "box.toml"), "--format", "Q4_K_M")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Yes: scaled-2:12 runs on box as Q4_K_M")


def test_a_plot_is_a_whole_picture_with_a_curve_a_format(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra voxpop[weights] is not installed")
    path = tmp_path / "plan.svg"
    done = voxpop("weights", "plan", "--machine", "epyc-12ch", "--plot", str(path), timeout=60)
    assert done.returncode == 0, done.stderr
    assert ET.parse(path).getroot().tag.endswith("svg")
    assert len(path.read_text()) > 20_000


def test_a_file_is_planned_by_the_shape_that_it_holds(tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason="the extra voxpop[weights] is not installed")
    from voxpop.weights.formats.gguf_grok import GgufSink
    from voxpop.weights.formats.gguf_keys import Pieces
    from voxpop.weights.mixes import mix
    from voxpop.weights.random_weights import random_weights

    shape = Grok(layers=2, width=256, heads=2, kv_heads=1, feed_forward=256, experts=4, vocabulary=64, context=128)
    held = random_weights(shape)
    pieces = Pieces([f"▁w{i}" for i in range(64)], [0.0] * 64, [3, 3, 3, 2, *[1] * 60], 1, 2, 3, 0)
    sink = GgufSink(tmp_path / "small.gguf", shape, mix("Q8_0"), vocabulary=pieces)
    for name in shape.specs:
        sink.write(name, held.read(name))
    sink.close()
    done = voxpop("weights", "plan", str(tmp_path / "small.gguf"), "--machine", "laptop-16", "--json")
    plan = json.loads(done.stdout)
    assert plan["model"]["parameters"] == shape.parameters
    assert plan["context"] == 128


def test_machines_are_listed() -> None:
    assert "2x-epyc-12ch" in voxpop("weights", "plan", "--machine", "list").stdout
    assert "8xh100" in json.loads(voxpop("weights", "plan", "--machine", "list", "--json").stdout)["machines"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["grok-7"], "no model 'grok-7'"),
        (["grok-small", "--machine", "8xh100"], "grok-small is not on this machine"),
        (["--machine", "cray-1"], "no machine 'cray-1'"),
        (["--machine", "8xh100", "--budget", "cheap"], "no budget"),
        (["--machine", "8xh100", "--format", "Q5"], "no format 'Q5'"),
        (["--machine", "8xh100", "--gpu", "voodoo"], "no GPU 'voodoo'"),
        (["--machine", "8xh100", "--plot", "plan.pdf"], "neither .svg nor .png"),
    ],
)
def test_what_cannot_be_asked_is_said_in_one_line(arguments: list[str], said: str) -> None:
    done = voxpop("weights", "plan", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
