"""Where a model's bytes lie on a machine, and how fast that makes it: arithmetic, without a look at the world.

The model. A token touches everything but the experts, and `chosen` of `experts` experts in each layer. A step of B
sequences touches experts * (1 - (1 - chosen / experts)^B) different experts, if the router spreads evenly. In each
place (GPU, memory, disk) a step takes as long as reading what it touches there, or as the arithmetic on it, if that
takes longer; the places come one after another, as the layers do. How much of a device's rated speed programs reach
is in `calibration.toml`, as a low, an expected and a high share.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from math import inf, log
from typing import Any, Literal

from voxpop.weights.grok import Grok
from voxpop.weights.planning.machine import Machine
from voxpop.weights.planning.sizes import Format, Sizes, expert_types, sizes

Split = Literal["layers", "tensors"]  # several GPUs: one after another (llama.cpp), or all at once (vLLM, SGLang)
PROMPT_TOKENS = 512  # of a prompt that are computed at once
_KV_BYTES = 2
_FEW_ROWS, _MANY_ROWS = 4.0, 64.0
_OFFLOADED_FROM = 32  # llama.cpp copies experts to the GPU for that many tokens at once and more


@dataclass(frozen=True, slots=True)
class Shares:
    """What share of a device's rated speed a program reaches; `core` scales the measured arithmetic of the cores.

    `cached`: the share of memory's part of the experts that need not be read again where the rest is on disk.
    """

    memory: float = 1.0
    gpu_memory: float = 1.0
    gpu_compute: float = inf
    core: float = inf
    link: float = 1.0
    disk: float = 1.0
    cached: float = 1.0


CEILING = Shares()


@dataclass(frozen=True)
class Case:
    """A model in a format on a machine, under a program that splits it over several GPUs in its way."""

    model: Grok
    stored: Format
    machine: Machine
    split: Split

    @cached_property
    def sizes(self) -> Sizes:
        """The model's bytes."""
        return sizes(self.model, self.stored)


@dataclass(frozen=True, slots=True)
class Placement:
    """Bytes of weights and of the cache of keys and values in each place.

    `gpu_layers` have their attention and cache on GPUs, `expert_layers` of them their experts too. `lacking`: bytes
    of memory that are missing for the model to run at all; the other fields then mean nothing.
    """

    gpu: int = 0
    memory: int = 0
    disk: int = 0
    gpu_cache: int = 0
    memory_cache: int = 0
    gpu_layers: int = 0
    expert_layers: int = 0
    lacking: int = 0

    @property
    def fast(self) -> bool:
        """Nothing is read from the disk while it answers."""
        return not self.lacking and not self.disk


@dataclass(frozen=True, slots=True)
class Step:
    """So many tokens at once, each after `context` others, of `sequences` different conversations."""

    tokens: int
    context: int
    sequences: int


def cache_bytes(model: Grok) -> int:
    """Keys and values of one token, in 16 bits."""
    return model.layers * model.kv_heads * model.head_width * 2 * _KV_BYTES


def touched(model: Grok, tokens: int) -> float:
    """The share of a layer's experts that a step of so many tokens touches, if the router spreads evenly."""
    return float(1 - (1 - model.chosen / model.experts) ** tokens)


def token_bytes(model: Grok, taken: Sizes, tokens: int = 1) -> float:
    """Bytes of weights that a step of so many tokens reads."""
    return taken.dense + taken.layers * taken.experts * touched(model, tokens)


def expert_flops(model: Grok) -> float:
    """Operations of one token on the experts: two a weight that it touches."""
    return 2.0 * model.layers * model.chosen * 3 * model.width * model.feed_forward


def token_flops(model: Grok, context: int = 0) -> float:
    """All operations of one token: two a weight that it touches; four a place of the context, layer and head."""
    return 2.0 * _active(model) + 4.0 * model.layers * model.heads * model.head_width * context


def gpu_room(machine: Machine, split: Split) -> int:
    """Bytes that weights and cache may take on the GPUs: the rest is for the program's own buffers."""
    if machine.unified:
        return int(machine.memory * 0.75)  # what macOS lets the GPU have unless it is told otherwise
    if split == "tensors":
        return int(sum(g.memory for g in machine.gpus) * 0.9)
    return int(sum(max(0, g.memory - 1_500_000_000) for g in machine.gpus))


def place(case: Case, tokens: int, *, gpu: bool = True) -> Placement:
    """Where weights and a cache of so many tokens lie: GPUs take what every token touches first, then experts.

    What is left lies in memory; experts that find no room there, on disk. Split by tensors, all is on GPUs or not.
    """
    taken, machine, kv = case.sizes, case.machine, cache_bytes(case.model) * tokens
    room = gpu_room(machine, case.split) if gpu and machine.gpus else 0
    if case.split == "tensors":
        if taken.file + kv > room:
            return Placement(lacking=taken.file + kv - room)
        return Placement(taken.file, gpu_cache=kv, gpu_layers=taken.layers, expert_layers=taken.layers)
    if room >= taken.dense + kv:
        layers, on_experts = taken.layers, min(taken.layers, (room - taken.dense - kv) // taken.experts)
    else:  # the ends stay in memory, as llama.cpp has it
        layers, on_experts = min(taken.layers - 1, int(room // (taken.attention + kv / taken.layers))), 0
    on_gpu = layers * taken.attention + on_experts * taken.experts + _ends_on_gpu(taken, layers)
    gpu_kv = kv * layers // taken.layers
    memory = int(machine.memory * 0.95) - (on_gpu + gpu_kv if machine.unified else 0)
    experts = (taken.layers - on_experts) * taken.experts
    rest = taken.file - on_gpu
    needed = rest - experts + kv - gpu_kv
    if needed > memory:
        return Placement(lacking=needed - memory)
    disk = max(0, needed + experts - memory)
    return Placement(on_gpu, rest - disk, disk, gpu_kv, kv - gpu_kv, layers, on_experts)


def seconds(case: Case, placed: Placement, step: Step, at: Shares) -> dict[str, float]:
    """How long one step takes in each place: `gpu`, `memory`, `disk`; the step takes their sum."""
    return {
        "gpu": _gpu_seconds(case, placed, step, at) if placed.gpu_layers else 0.0,
        "memory": _memory_seconds(case, placed, step, at) if placed.memory or placed.disk else 0.0,
        "disk": _disk_seconds(case, placed, step, at) if placed.disk else 0.0,
    }


def _gpu_seconds(case: Case, placed: Placement, step: Step, at: Shares) -> float:
    taken, gpu = case.sizes, case.machine.gpus[0]
    together = len(case.machine.gpus) if case.split == "tensors" else 1
    read = _dense_on_gpu(taken, placed) + _kv_read(case, step) * _on_gpu(case, placed)
    read += placed.expert_layers * taken.experts * touched(case.model, step.tokens)
    rate, compute = gpu.rate * together * at.gpu_memory, _gpu_compute(case) * together * at.gpu_compute
    return max(read / rate, _gpu_operations(case, placed, step) / compute)


def _memory_seconds(case: Case, placed: Placement, step: Step, at: Shares) -> float:
    taken, model, machine = case.sizes, case.model, case.machine
    share = touched(model, step.tokens)
    read = (
        taken.dense - _dense_on_gpu(taken, placed) + (taken.layers - placed.expert_layers) * taken.experts * share
    )
    read += _kv_read(case, step) * (1 - _on_gpu(case, placed))
    operations = step.tokens * token_flops(model, step.context) - _gpu_operations(case, placed, step)
    compute = (
        core_rate(expert_types(model, case.stored), machine, step.tokens * model.chosen / model.experts / share)
        * at.core
    )
    here = max(read / (machine.rate * at.memory), operations / compute)
    if placed.gpu_layers and not machine.unified and step.tokens >= _OFFLOADED_FROM and step.sequences == 1:
        copied = read / (machine.link * at.link) + operations / (_gpu_compute(case) * at.gpu_compute)
        return min(here, copied)
    return here


def _disk_seconds(case: Case, placed: Placement, step: Step, at: Shares) -> float:
    taken = case.sizes
    in_memory = (taken.layers - placed.expert_layers) * taken.experts - placed.disk
    read = (placed.disk + (1 - at.cached) * in_memory) * touched(case.model, step.tokens)
    return read / (case.machine.disk_rate * at.disk) if case.machine.disk_rate else inf


def _ends_on_gpu(taken: Sizes, layers: int) -> int:
    return taken.ends if layers == taken.layers else 0


def _dense_on_gpu(taken: Sizes, placed: Placement) -> int:
    return _ends_on_gpu(taken, placed.gpu_layers) + placed.gpu_layers * taken.attention


def _kv_read(case: Case, step: Step) -> float:
    return cache_bytes(case.model) * float(step.sequences * step.context)


def _on_gpu(case: Case, placed: Placement) -> float:
    return placed.gpu_layers / case.sizes.layers


def _gpu_operations(case: Case, placed: Placement, step: Step) -> float:
    experts = expert_flops(case.model)
    others = token_flops(case.model, step.context) - experts
    layers = case.sizes.layers
    return step.tokens * (experts * placed.expert_layers + others * placed.gpu_layers) / layers


def _gpu_compute(case: Case) -> float:
    gpu = case.machine.gpus[0]
    return gpu.flops * (2.0 if case.stored.kind == "fp8" and gpu.fp8 else 1.0)


def core_rate(types: Mapping[str, float], machine: Machine, rows: float) -> float:
    """Operations a second of all cores on experts of these types (shares), `rows` tokens of each expert at once.

    Few rows go one after another; many are taken together. One core of each kind was measured: `calibration.toml`.
    """
    data = calibration()["core"]
    many = min(1.0, max(0.0, log(max(rows, 1e-9) / _FEW_ROWS) / log(_MANY_ROWS / _FEW_ROWS)))
    slowness = 0.0
    for type_, share in types.items():
        one, together = data["generate"].get(type_), data["prompt"].get(type_)
        if one is None:  # no program computes this type on a processor
            return 1.0
        slowness += share / (one ** (1 - many) * together**many)
    old = 1.0 if {"avx512", "amx"} & set(machine.instructions) else float(data["avx2"])
    return float(machine.cores * 1e9 / slowness * old)


def shares(machine: Machine) -> tuple[Shares, Shares, Shares]:
    """Low, expected and high, for a machine: memory that was measured is reached better than what is rated."""
    data = calibration()
    memory = data["memory"]["measured" if machine.measured else "rated"]
    several = data["memory"]["sockets"] if machine.sockets > 1 and not machine.measured else (1.0, 1.0, 1.0)
    core = data["core"]["band_measured" if machine.measured else "band_rated"]
    gpu, disk = data["gpu"], data["disk"]
    low, expected, high = (
        Shares(
            memory=memory[n] * several[n],
            gpu_memory=gpu["memory"][n],
            gpu_compute=gpu["compute"][n],
            core=core[n],
            link=gpu["link"][n],
            disk=disk["rate"][n],
            cached=disk["cached"][n],
        )
        for n in range(3)
    )
    return low, expected, high


@cache
def calibration() -> Mapping[str, Any]:
    """The coefficients, and how they were found."""
    return tomllib.loads((files("voxpop.weights.planning") / "calibration.toml").read_text("utf-8"))


@cache
def _active(model: Grok) -> int:
    return model.active
