"""Time to the first verified sentence and to the whole answer with a local model, and against the bare engine.

The bare engine gets the same prompt, in turn with ours; the ratio is what planning, search and verification cost.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from voxpop import app, models
from voxpop.assistant import Assistant
from voxpop.config import Config
from voxpop.engine_choice import open_local
from voxpop.engines import Engine, EngineInfo
from voxpop.messages import Delta, Message, Prompt, Request, Text
from voxpop.prompt import instruction
from voxpop.service import clock
from voxpop.simulator.world import END
from voxpop.source_choice import opened
from voxpop.times import MICROS

ASKED = (
    (85, "Did a ballot box burn in Dornick?"),
    (135, "How many stations stayed open until 20:00?"),
    (190, "Did Hearth Union file for bankruptcy?"),
    (358, "Who won the election?"),
)


class Noted:
    """An engine that remembers its last prompt."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.prompt: Prompt | None = None

    def generate(self, prompt: Prompt, schema: Mapping[str, Any] | None = None) -> AsyncIterator[Delta]:
        self.prompt = prompt
        return self.engine.generate(prompt, schema)

    def count(self, text: str) -> int:
        return self.engine.count(text)

    def describe(self) -> EngineInfo:
        return self.engine.describe()


async def answered(assistant: Assistant, request: Request) -> tuple[float, float]:
    """Seconds to the first sentence and to the end."""
    began, first = time.perf_counter(), 0.0
    async for event in assistant.answer(request):
        if isinstance(event, Text) and event.kind == "sentence":
            first = first or time.perf_counter() - began
    return first, time.perf_counter() - began


async def bare(engine: Engine, prompt: Prompt) -> float:
    began = time.perf_counter()
    async for _ in engine.generate(prompt):
        pass
    return time.perf_counter() - began


async def measure(noted: Noted, rounds: int) -> dict[str, Any]:
    firsts, wholes, ratios = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        config = Config()
        sources = replace(config.sources, use=("simulated",))
        config = replace(config, storage=replace(config.storage, data=folder), sources=sources)
        async with opened(config, elapsed_s=END + 60.0) as (source,), app.open_store(config) as store:
            began = clock() - (END + 60) * MICROS
            await app.ingest_until_quiet(source, store)
            listed = app.authorities(config, invented=True)
            assistant = Assistant(store, lambda: noted, app.load_voices(config), authorities=listed, clock=clock)
            for _ in range(rounds):
                for minutes, question in ASKED:
                    asked = Request((Message("user", question),), as_of=began + minutes * 60 * MICROS)
                    await answered(assistant, asked)  # keeps this prompt computed: both sides then start level
                    first, whole = await answered(assistant, asked)
                    assert noted.prompt is not None
                    alone = await bare(noted.engine, noted.prompt)
                    firsts.append(first)
                    wholes.append(whole)
                    ratios.append(whole / alone)
            fresh = []
            for minutes, question in ASKED:
                asked = Request((Message("user", question),), as_of=began + (minutes + 2) * 60 * MICROS)
                fresh.append((await answered(assistant, asked))[0])
    return {
        "ratio_to_bare_engine": round(median(ratios), 3),
        "goal_ratio": 1.05,
        "first_sentence_new_question_s": round(median(fresh), 2),
        "goal_first_sentence_s": 8,
        "first_sentence_repeated_s": round(median(firsts), 2),
        "whole_answer_repeated_s": round(median(wholes), 2),
        "answers": len(wholes),
    }


async def main(options: argparse.Namespace) -> None:
    model = models.resolve(options.model)
    path = models.path_of(options.data / "models", model)
    if not path.is_file():
        print(json.dumps({"figure": "answer_local", "skipped": f"{model.name} is not in {options.data}/models"}))
        return
    config = Config()
    voice = app.load_voices(config)["regular"]
    engine = await asyncio.to_thread(open_local, path, model.name, [instruction(voice)])
    row = await measure(Noted(engine), options.rounds)
    print(json.dumps({"figure": "answer_local", **row, "model": model.name}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Config().data, help="data folder that holds models/")
    parser.add_argument("--model", default="qwen2.5-coder-1.5b-instruct")
    parser.add_argument("--rounds", type=int, default=2)
    asyncio.run(main(parser.parse_args()))
