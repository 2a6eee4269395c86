"""What each GGUF mix costs a model: KL and perplexity against float32, bits a weight, with a matrix of importance
and without; one line of JSON.

`python benchmarks/quantised_quality.py FOLDER [--mixes F32 F16 …] [--texts 80] [--plot docs/quantised.svg]`, where
FOLDER is what `voxpop weights make` wrote. The texts to measure on are posts of nights that the model never saw.
"""

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from voxpop.simulator import world
from voxpop.weights.formats.opening import opened
from voxpop.weights.importance import gathered
from voxpop.weights.making.lessons import BOS
from voxpop.weights.mixes import mix
from voxpop.weights.narrowing import narrowed, words_of
from voxpop.weights.proving.measuring import InTorch, Remembered, drawn, in_llama_cpp, quality, speed

MIXES = ("F32", "F16", "Q8_0", "Q6_K", "Q4_K_M", "IQ3_S", "IQ2_S", "IQ2_XXS")
UNSEEN, WEIGHED = 11, 2  # nights of the simulator; `make` learns from 1, 2 and 3


def posts(night: int, known: set[str]) -> list[str]:
    return sorted({e.text.strip() for e in world.night(night) if e.op == "create"} - known - {""})


def rows(folder: Path, names: list[str], most: int, rounds: int) -> Iterator[dict[str, Any]]:
    source = opened(folder)
    words = words_of(source, folder)
    assert words is not None
    known = {e.text.strip() for night in (1, 2, 3) for e in world.night(night)}
    unseen = posts(UNSEEN, known)
    texts = [[BOS, *words.encode(text)] for text in unseen[:: max(1, len(unseen) // most)][:most]]
    told = [token for text in posts(WEIGHED, set()) for token in words.encode(text + "\n")]
    weighed = gathered(source, told[: 48 * 256], length=256)
    truth = Remembered(InTorch(source))
    with tempfile.TemporaryDirectory() as place:
        for name in names:
            for importance in (None, weighed):
                chosen = mix(name)
                if (importance is None and chosen.needs_importance) or (
                    importance and name in ("F32", "F16", "Q8_0")
                ):
                    continue
                path = Path(place) / f"{name}.gguf"
                for _ in narrowed(source, folder, path, chosen, words=words, importance=importance, force=True):
                    pass
                with in_llama_cpp(path) as model:
                    found = quality(model, texts, truth)
                    pace = speed(model, texts, rounds=rounds)
                row = {"mix": name, "importance": importance is not None, "bytes": path.stat().st_size}
                row |= {"bits": 8 * path.stat().st_size / source.shape.parameters, **asdict(found), **asdict(pace)}
                path.unlink()
                print(row, file=sys.stderr, flush=True)
                yield row


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--mixes", nargs="+", default=list(MIXES))
    arguments.add_argument("--texts", type=int, default=80)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--plot", type=Path)
    given = arguments.parse_args()
    began = time.perf_counter()
    found = list(rows(given.folder, given.mixes, given.texts, given.rounds))
    if given.plot:
        points = [(f"{r['mix']}{' +i' if r['importance'] else ''}", r["bits"], r["kl"]) for r in found]
        given.plot.write_text(drawn(points), "utf-8")
    seconds = round(time.perf_counter() - began, 1)
    print(
        json.dumps({"benchmark": "quantised_quality", "machine": platform.machine(), "s": seconds, "rows": found})
    )


if __name__ == "__main__":
    main()
