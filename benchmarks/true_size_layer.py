"""What one layer of Grok-1's true size takes in our own forward, weights read from a checkpoint's files.

python benchmarks/true_size_layer.py [--tokens 1 64] [--folder .]

The checkpoint has the true names, heads and sizes, and holes for numbers: what is read, widened and multiplied is
as much as of the real one, and nothing comes from the disk. The router alone is random, so that tokens go to all
experts. The whole model is 64 such layers and the head. Peak memory is that of this process, mapped pages among it.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from voxpop.weights.formats.opening import opened
from voxpop.weights.formats.xai import hollow
from voxpop.weights.grok import GROK_1, Grok
from voxpop.weights.grok_torch import Forward
from voxpop.weights.tensors import Source, Tensor


class Routed:
    """A source with a router that sends tokens to different experts."""

    def __init__(self, source: Source) -> None:
        self._source = source

    @property
    def shape(self) -> Grok:
        return self._source.shape

    def read(self, name: str) -> Tensor:
        if not name.endswith("router"):
            return self._source.read(name)
        return np.random.RandomState(0).standard_normal(self.shape.specs[name].shape).astype(np.float32)


def best(forward: Forward, tokens: int, rounds: int = 2) -> dict[str, float]:
    """Seconds of a layer and of the head for so many tokens, the best of some rounds."""
    luck = np.random.RandomState(1)
    h_BLD = torch.from_numpy(luck.standard_normal((1, tokens, GROK_1.width)).astype(np.float32))
    layers, heads = [], []
    with torch.no_grad():
        for _ in range(rounds):
            began = time.perf_counter()
            forward.layer(0, h_BLD)
            layers.append(time.perf_counter() - began)
            began = time.perf_counter()
            forward.head(h_BLD[:, -1:])
            heads.append(time.perf_counter() - began)
    layer, head = min(layers), min(heads)
    whole = GROK_1.layers * layer + head
    return {"layer_s": round(layer, 2), "head_s": round(head, 2), "whole_s": round(whole, 0)}


def peak() -> float:
    """The most memory that this process ever held, GB."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return round(int(next(row for row in lines if row.startswith("VmHWM")).split()[1]) / 1e6, 2)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--tokens", type=int, nargs="+", default=[1, 64])
    arguments.add_argument("--folder", type=Path)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        hollow(Path(folder) / "grok", GROK_1)
        forward = Forward(Routed(opened(Path(folder) / "grok")))
        found = {str(tokens): best(forward, tokens) for tokens in given.tokens}
    print(json.dumps({"figure": "true_size_layer", "tokens": found, "peak_gb": peak()}))


if __name__ == "__main__":
    main()
