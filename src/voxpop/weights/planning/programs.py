"""The programs that can run a Grok model: what each reads, the command that starts it, its known defects.

It starts nothing. Source of what is said of each: `programs.toml`.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from voxpop.weights.mixes import mix, names
from voxpop.weights.planning.machine import Machine
from voxpop.weights.planning.placing import Placement, Split
from voxpop.weights.planning.sizes import Format, format_named


@dataclass(frozen=True, slots=True)
class Program:
    """A program; `reads` the kinds of formats, `tried` what this project knows of it at first hand."""

    name: str
    reads: tuple[str, ...]
    split: Split
    needs_gpu: bool
    tried: str
    source: str
    defects: tuple[str, ...]
    serves: bool = True


@cache
def programs() -> tuple[Program, ...]:
    """All programs, those that can do most first."""
    return tuple(
        Program(**{**row, "reads": tuple(row["reads"]), "defects": tuple(row["defects"])})
        for row in _data()["program"]
    )


def command(
    program: Program, model: str, stored: Format, machine: Machine, placed: Placement, load: tuple[int, int]
) -> str:
    """The command that serves the model so; `load` is conversations at once, and tokens of context of each."""
    batch, context = load
    links: Mapping[str, str] = _data()["links"]
    gpus = len(machine.gpus)
    match program.name:
        case "llama.cpp":
            return _llama(model, stored, machine, placed, batch, context)
        case "SGLang":
            eight = " --quantization fp8" if stored.kind == "fp8" else ""
            return (
                f"python -m sglang.launch_server --model-path {links['sglang']}"
                f" --tokenizer-path {links['tokenizer']} --tp {gpus}{eight} --attention-backend triton"
                f" --context-length {context} --max-running-requests {batch}"
            )
        case "vLLM":
            path = links["fp8_vllm" if stored.kind == "fp8" else "bf16_vllm"]
            return (
                f"vllm serve {path} --tokenizer {links['tokenizer']} --trust-remote-code"
                f" --tensor-parallel-size {gpus} --max-model-len {context} --max-num-seqs {batch}"
            )
        case "xAI's code":
            return "python run.py    # in a checkout of github.com/xai-org/grok-1, with ckpt-0 under checkpoints/"
    return ""


def making(model: str, stored: Format) -> tuple[str, ...]:
    """The commands from nothing to a file of Grok-1 for llama.cpp; none for programs that fetch the weights."""
    if stored.kind != "gguf" or model != "grok-1":
        return ()
    links: Mapping[str, str] = _data()["links"]
    file = f"{model}-{stored.name}.gguf"
    if stored.name not in names():
        fetch = f"hf download {links['gguf']} --include '*{stored.name}*' --local-dir ."
        return (f"{fetch}    # its parts, joined with cat: {file}",)
    texts = " --texts posts.jsonl" if mix(stored.name).needs_importance else ""
    return (
        f"hf download {links['release']} --include 'ckpt-0/*' --local-dir grok-1",
        "voxpop weights tokenizer --out grok-1/tokenizer.model",
        "voxpop weights inspect grok-1/ckpt-0",
        f"voxpop weights quantize grok-1/ckpt-0 {file} --type {stored.name}{texts}",
        f"voxpop weights verify {file} grok-1/ckpt-0",
    )


def released(stored: Format) -> int:
    """The bytes of xAI's release where a format is made of it here, else 0."""
    return format_named("int8").published or 0 if stored.name in names() else 0


def _llama(model: str, stored: Format, machine: Machine, placed: Placement, batch: int, context: int) -> str:
    words = [f"llama-server -m {model}-{stored.name}.gguf -c {batch * context} -np {batch}"]
    if machine.gpus and placed.gpu_layers:
        words.append(f"-ngl {999 if placed.expert_layers else placed.gpu_layers}")
        if placed.expert_layers < placed.gpu_layers:
            words.append(f"--n-cpu-moe {placed.gpu_layers - placed.expert_layers}")
    elif machine.gpus:
        words.append("-ngl 0")
    if not machine.unified:
        words.append(f"-t {machine.cores}")
    if machine.sockets > 1 and placed.memory:
        words.append("--numa distribute")
    if not placed.disk:
        words.append("--no-mmap")
    return " ".join(words)


@cache
def _data() -> dict[str, Any]:
    return tomllib.loads((files("voxpop.weights.planning") / "programs.toml").read_text("utf-8"))
