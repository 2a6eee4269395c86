"""Fuzz the parsers of the world's bytes, guided by coverage; what crashes, hangs or swells is kept as a seed.

    python tests/fuzz/run.py [--seconds 300] [--jobs 2] [PARSER ...]

Each parser runs in a process of its own (atheris over libFuzzer). It fails by an error that its contract does not
name, by an input that takes more than two seconds of CPU, or by one that takes a quarter of a gibibyte.
"""

import argparse
import json
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harnesses import HARNESSES, Harness
from mutations import mutate

SEEDS = Path(__file__).parent / "seeds"
SLOW_S = 2.0
SWOLLEN_KIB = 256 << 10
_MOST_MIB = 2048
_GRACE_S = 120
_INSTRUMENTED = ("voxpop", "gguf", "feedparser", "html.parser", "xml", "tomllib")


def fed(harness: Harness, data: bytes) -> None:
    """Feed one input; raises AssertionError where it took too long or too much."""
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    harness.feed(data)
    took, grown = time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert took < SLOW_S, f"{len(data)} bytes took {took:.1f} s"
    assert grown < SWOLLEN_KIB, f"{len(data)} bytes took {grown >> 10} MiB"


def child(name: str, arguments: list[str]) -> None:
    """Fuzz one parser with libFuzzer's own arguments; never returns."""
    import atheris

    harness = HARNESSES[name]
    with atheris.instrument_imports(include=list(_INSTRUMENTED)):
        for path in sorted(
            (SEEDS / name).iterdir()
        ):  # imports what the parser needs, and caches what it reads once
            harness.feed(path.read_bytes())

    def one(data: bytes) -> None:
        fed(harness, data)

    def change(data: bytes, largest: int, seed: int) -> bytes:
        return mutate(data, largest, random.Random(seed), atheris.Mutate)

    shaped = {"custom_mutator": change} if harness.shape == "json" else {}
    atheris.Setup([sys.argv[0], *arguments], one, **shaped)
    atheris.Fuzz()


def run(name: str, seconds: int) -> dict[str, object]:
    """Fuzz one parser in a process of its own; says what it did and keeps what it found."""
    with tempfile.TemporaryDirectory() as temporary:
        found = Path(temporary, "found")
        corpus = Path(temporary, "corpus")
        found.mkdir()
        corpus.mkdir()
        limits = [f"-max_total_time={seconds}", f"-max_len={HARNESSES[name].largest}", f"-rss_limit_mb={_MOST_MIB}"]
        command = [sys.executable, __file__, "--child", name, *limits, "-timeout=30", "-print_final_stats=1"]
        command += [f"-artifact_prefix={found}/", str(corpus), str(SEEDS / name)]
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=seconds + _GRACE_S, check=False
        )
        kept = [_keep(name, path) for path in sorted(found.iterdir())]
        grown = len(list(corpus.iterdir()))
    said = done.stdout + done.stderr
    steps = re.findall(r"cov: (\d+) ft: (\d+)", said)
    ran = re.search(r"number_of_executed_units: (\d+)", said) or re.search(r"Done (\d+) runs", said)
    result: dict[str, object] = {
        "parser": name,
        "seconds": seconds,
        "executions": int(ran[1]) if ran else 0,
        "edges_at_start": int(steps[0][0]) if steps else 0,
        "edges": int(steps[-1][0]) if steps else 0,
        "inputs_kept": grown,
        "findings": kept,
    }
    if done.returncode:
        result["failed"] = _error(said)
    return result


def _keep(name: str, path: Path) -> str:
    kept = SEEDS / name / path.name[:20]
    kept.write_bytes(path.read_bytes())
    return str(kept.relative_to(SEEDS))


def _error(said: str) -> str:
    raised = re.search(r"=== Uncaught Python exception: ===\n(.{,300})", said, re.DOTALL)
    summary = re.search(r"SUMMARY: .*", said)
    return raised[1] if raised else summary[0] if summary else said[-300:]


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzz the parsers of the world's bytes.")
    parser.add_argument("--seconds", type=int, default=300, help="for each parser")
    parser.add_argument("--jobs", type=int, default=2, help="parsers at a time")
    parser.add_argument("parsers", nargs="*", help=f"of {', '.join(HARNESSES)}; none: all")
    asked = parser.parse_args()
    names = asked.parsers or list(HARNESSES)
    if unknown := set(names) - set(HARNESSES):
        parser.error(f"no harness is called {', '.join(sorted(unknown))}")
    failed = 0
    with ThreadPoolExecutor(asked.jobs) as pool:
        for result in pool.map(lambda name: run(name, asked.seconds), names):
            print(json.dumps(result), flush=True)
            failed += "failed" in result
    return 1 if failed else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3:])
    sys.exit(main())
