"""How fast xAI's int8 becomes another type: per core in memory, beside plain torch, and to the disk, beside a copy.

python benchmarks/convert_weights.py [--rounds 3] [--folder .]

Two experts of Grok-1's width, cut to 8,192 of its 32,768 columns: 100 MB of int8 a tensor, one layer. In memory
one thread makes the bytes of the file, and processor time counts; torch, with one thread too, multiplies, turns
over and rounds the same experts, each whole. To the disk: all of the command's work, checksums and fsync included,
beside a copy of the same source, fsync included. A round runs everything once, in turn; the best of the rounds
counts. Peak memory is that of a process of its own, above what it had after a tiny model.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from voxpop.weights import targets
from voxpop.weights.casting import Type, stored
from voxpop.weights.converting import remove
from voxpop.weights.formats.mapped import nbytes
from voxpop.weights.formats.opening import opened
from voxpop.weights.grok import GROK_1, Grok
from voxpop.weights.quantise import packed_rows
from voxpop.weights.tensors import Held, Quantised, Tensor, bfloat16

CUT = replace(GROK_1, layers=1, experts=2, feed_forward=8192, vocabulary=64)
CASES = [("gguf", "q8_0"), ("gguf", "f16"), ("hpcai", "bf16"), ("gguf", "f32")]
NARROW = {"q8_0": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32}
PEAK = """
import sys
from pathlib import Path
from voxpop.weights import targets
from voxpop.weights.converting import remove
from voxpop.weights.formats.opening import opened

def peak():  # getrusage tells the starter's, where that was larger
    return next(int(line.split()[1]) for line in Path("/proc/self/status").open() if line.startswith("VmHWM"))

def convert(source, out, format_, type_):
    for _ in targets.converted(opened(Path(source)), Path(source), targets.target(Path(out), format_, type_)):
        pass
    remove(Path(out))

small, large, out, format_, type_ = sys.argv[1:]
convert(small, out, format_, type_)
before = peak()
convert(large, out, format_, type_)
print((peak() - before) * 1024)
"""


def tensors_of(shape: Grok) -> Held:
    luck, found = np.random.default_rng(0), {}
    for spec in shape.specs.values():
        tensor: Tensor = np.ones(spec.shape, np.float32)
        if spec.kind in ("attention", "expert"):
            *many, _, columns = spec.shape
            weight = luck.integers(-127, 128, spec.shape, np.int8)
            scales = luck.uniform(1e-4, 1e-3, (*many, spec.groups, columns)).astype(bfloat16)
            tensor = Quantised(weight, scales)
        found[spec.name] = tensor
    return Held(shape, found)


def written(held: Held, path: Path) -> Path:
    sink = targets.target(path, "xai").sink(held.shape)
    for name in held.shape.specs:
        sink.write(name, held.read(name))
    sink.close()
    return path


def ours(tensor: Quantised, format_: str, type_: Type) -> None:
    for weight, scales in zip(tensor.weight, tensor.scales, strict=True):
        part = Quantised(weight, scales)
        made = (
            packed_rows(part, type_.upper(), turned=True) if format_ == "gguf" else stored(part, type_, turned=True)
        )
        for _ in made:
            pass


def plain(tensor: Quantised, type_: str) -> None:
    for weight, scales in zip(tensor.weight, tensor.scales, strict=True):
        scale = torch.from_numpy(scales.view(np.int16)).view(torch.bfloat16).float()
        rows, groups = len(weight), len(scale)
        values = torch.from_numpy(weight).view(groups, rows // groups, -1).float() * scale[:, None]
        values.view(rows, -1).t().contiguous().to(NARROW[type_])


def to_disk(source: Path, out: Path, format_: str, type_: str) -> None:
    for _ in targets.converted(opened(source), source, targets.target(out, format_, type_)):
        pass


def copied(source: Path, out: Path) -> None:
    out.mkdir()
    for file in source.rglob("tensor*"):
        with (out / file.name).open("wb") as target, file.open("rb") as given:
            shutil.copyfileobj(given, target, 16 << 20)
            os.fsync(target.fileno())


def took(work: Callable[[], None], clock: Callable[[], float]) -> float:
    began = clock()
    work()
    return clock() - began


def peak_of(small: Path, source: Path, out: Path, case: tuple[str, str]) -> int:
    command = [sys.executable, "-c", PEAK, str(small), str(source), str(out), *case]
    return int(subprocess.run(command, capture_output=True, text=True, check=True, timeout=600).stdout)


def main(rounds: int, folder: Path) -> None:
    torch.set_num_threads(1)
    held = tensors_of(CUT)
    gate = held.read("layers.0.gate")
    assert isinstance(gate, Quantised)
    size = sum(nbytes(held.read(name)) for name in CUT.specs)
    best: dict[tuple[str, str], float] = {}

    def note(what: str, case: str, seconds: float) -> None:
        best[what, case] = min(seconds, best.get((what, case), seconds))

    with tempfile.TemporaryDirectory(prefix=".convert-", dir=folder) as scratch:
        source, out = written(held, Path(scratch) / "source"), Path(scratch) / "out"
        tiny = replace(CUT, width=128, heads=1, kv_heads=1, feed_forward=256)
        small = written(tensors_of(tiny), Path(scratch) / "small")
        for _ in range(rounds):
            for format_, type_ in CASES:
                note("ours", type_, took(lambda f=format_, t=type_: ours(gate, f, t), time.process_time))
                note("torch", type_, took(lambda t=type_: plain(gate, t), time.process_time))
                note("disk", type_, took(lambda f=format_, t=type_: to_disk(source, out, f, t), time.perf_counter))
                remove(out)
                note("copy", "", took(lambda: copied(source, out), time.perf_counter))
                remove(out)
        for case in CASES:
            mine, theirs = (gate.weight.nbytes / best[what, case[1]] / 1e6 for what in ("ours", "torch"))
            disk, copy = size / best["disk", case[1]] / 1e6, size / best["copy", ""] / 1e6
            row = {
                "figure": f"int8 -> {case[1]} ({case[0]})",
                "ratio_torch": round(mine / theirs, 2),
                "ratio_copy": round(disk / copy, 2),
                "peak_by_largest": round(peak_of(small, source, out, case) / gate.weight.nbytes, 2),
                "mb_per_core_s": round(mine),
                "torch_mb_per_core_s": round(theirs),
                "to_disk_mb_s": round(disk),
                "copy_mb_s": round(copy),
            }
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path())
    given = parser.parse_args()
    main(given.rounds, given.folder)
