"""Every kept input goes through its parser again: no error, no hang, little memory."""

import time
import tracemalloc
from pathlib import Path

import pytest
from harnesses import HARNESSES

SEEDS = Path(__file__).parent / "seeds"


@pytest.mark.parametrize("name", HARNESSES)
def test_every_seed_passes(name: str) -> None:
    if name == "gguf":
        pytest.importorskip("gguf", reason="the extra voxpop[local] is not installed")
    if name in ("grok_gguf", "leaf"):
        pytest.importorskip("ml_dtypes", reason="the extra voxpop[weights] is not installed")
    paths = sorted((SEEDS / name).iterdir())
    assert paths, f"{name} has no seeds"
    harness = HARNESSES[name]
    harness.feed(paths[0].read_bytes())  # what is loaded once is not this input's doing
    for path in paths:
        data = path.read_bytes()
        began = time.process_time()
        harness.feed(data)
        assert time.process_time() - began < 1, path.name
        tracemalloc.start()
        harness.feed(data)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 32 << 20, f"{path.name} took {peak >> 20} MiB"


def test_no_seed_without_a_parser() -> None:
    assert {p.name for p in SEEDS.iterdir() if p.is_dir()} == set(HARNESSES)
