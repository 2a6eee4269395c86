"""Prompt and generation speed of the local engine and of the prebuilt llama.cpp wheel, interleaved."""

import argparse
import asyncio
import json
import os
import platform
import random
import time
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from voxpop.messages import Message, Prompt, Sampling

NAME = "qwen2.5-coder-1.5b-instruct"
TALK = """the bridge near the old market will stay closed until Friday because engineers found two cracks while
a crowd of about four hundred people waited for trams in the rain and the ferry company promised free rides
after noon"""
TASKS = {
    "free": "Forget the posts. Tell a long story about a lighthouse keeper and a whale.",
    "copying": "Copy posts 3, 4, 5 and 6 word for word, each with its number.",
}


def prompt(task: str, seed: int, posts: int) -> Prompt:
    """Invented posts under an instruction that no other run has, so that nothing of it is cached."""
    draw = random.Random(seed)
    rows = [f"[{n}] @u{draw.randrange(999)} 21:{draw.randrange(60):02}: {_post(draw)}" for n in range(1, posts + 1)]
    system = Message(
        "system", f"{seed}. You write short answers from numbered posts. Copy names and numbers exactly."
    )
    return Prompt((system, Message("user", "\n".join([*rows, "", TASKS[task]]))), sampling=Sampling(max_tokens=96))


def _post(draw: random.Random) -> str:
    return " ".join(draw.choice(TALK.split()) for _ in range(24))


def speeds(tokens: int, made: int, began: float, first: float, ended: float) -> dict[str, float]:
    return {"prompt": tokens / (first - began), "made": (made - 1) / max(ended - first, 1e-9), "tokens": made}


async def ours(engine: Any, asked: Prompt) -> dict[str, float]:
    began, first, usage = time.perf_counter(), 0.0, None
    async for delta in engine.generate(asked):
        first = first or time.perf_counter()
        usage = delta.usage or usage
    assert usage is not None
    assert usage.cached_tokens == 0
    return speeds(usage.prompt_tokens, usage.completion_tokens, began, first, time.perf_counter())


def theirs(server: Any, text: str) -> dict[str, float]:
    began, first, last = time.perf_counter(), 0.0, {}

    def take(chunk: Any) -> bool:
        nonlocal first, last
        last = chunk if isinstance(chunk, dict) else json.loads(chunk)
        first = first or time.perf_counter()
        return False

    body = {"prompt": text, "n_predict": 96, "temperature": 0, "cache_prompt": False, "stream": True}
    server.handle_completions(body, take)
    timings = last["timings"]
    return speeds(timings["prompt_n"], timings["predicted_n"], began, first, time.perf_counter())


def peer(path: Path, threads: int) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx, params.n_parallel, params.verbosity = 4096, 1, 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.api_keys = [os.urandom(20).hex()]
    return xllamacpp.Server(params)


async def main() -> None:
    options = argparse.ArgumentParser()
    data = Path(os.environ.get("VOXPOP_DATA") or Path.home() / ".local/share/voxpop")
    options.add_argument("--model", type=Path, default=data / "models" / f"{NAME}.gguf")
    options.add_argument("--rounds", type=int, default=4)
    options.add_argument("--posts", type=int, default=26)
    given = options.parse_args()
    for module, cure in (("openvino", "pip install 'voxpop[local]'"), ("xllamacpp", "pip install xllamacpp")):
        if find_spec(module) is None:
            return skip(f"{module} is not installed: {cure}")
    if not given.model.is_file():
        return skip(f"no model at {given.model}: voxpop models pull {NAME}")
    print(json.dumps(await measure(given.model, given.rounds, given.posts)))


def skip(reason: str) -> None:
    print(json.dumps({"figure": "local_prefill", "skipped": reason}))


async def measure(path: Path, rounds: int, posts: int) -> dict[str, Any]:
    from voxpop.engines.local import LocalEngine
    from voxpop.engines.runtimes import Wish

    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    engine = await asyncio.to_thread(LocalEngine.open, path, Wish(threads=threads))
    server = peer(path, threads)
    runs: dict[str, list[tuple[dict[str, float], dict[str, float]]]] = {task: [] for task in TASKS}
    for turn in range(-1, rounds):
        for task in TASKS:
            asked = prompt(task, 100 * turn + len(task), posts)
            text = "".join(part for part, _ in engine._template.pieces(asked.messages))
            pair = await ours(engine, asked), theirs(server, text)
            if turn >= 0:
                runs[task].append(pair)
    both = [pair for pairs in runs.values() for pair in pairs]
    return {
        "figure": "local_prefill",
        "prompt_ratio": round(median(a["prompt"] / b["prompt"] for a, b in both), 2),
        **{f"{task}_ratio": _ratio(pairs) for task, pairs in runs.items()},
        "prompt_tok_s": [round(median(run[i]["prompt"] for run in both), 1) for i in (0, 1)],
        **{f"{task}_tok_s": _medians(pairs) for task, pairs in runs.items()},
        "order": ["voxpop", "xllamacpp"],
        "rounds": rounds,
        "threads": threads,
        "model": path.stem,
        "machine": platform.machine(),
    }


def _ratio(pairs: list[tuple[dict[str, float], dict[str, float]]]) -> float:
    return round(median(a["made"] / b["made"] for a, b in pairs), 2)


def _medians(pairs: list[tuple[dict[str, float], dict[str, float]]]) -> list[float]:
    return [round(median(pair[i]["made"] for pair in pairs), 1) for i in (0, 1)]


asyncio.run(main())
