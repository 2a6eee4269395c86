"""Time from the question to the evidence and to `quote`'s first verified sentence, over the simulated night."""

import asyncio
import json
import tempfile
import time
from dataclasses import replace
from statistics import median, quantiles

from voxpop import app
from voxpop.config import Config
from voxpop.messages import Found, Message, Request, Text
from voxpop.service import clock
from voxpop.simulator.world import END, FACTS
from voxpop.source_choice import opened
from voxpop.times import MICROS


async def main() -> None:
    found, first, total = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        config = Config()
        config = replace(
            config,
            storage=replace(config.storage, data=folder),
            sources=replace(config.sources, use=("simulated",)),
        )
        async with opened(config, elapsed_s=END + 60.0) as (source,), app.open_store(config) as store:
            began = clock() - (END + 60) * MICROS
            posts = await app.ingest_until_quiet(source, store)
            assistant = app.assistant(config, store)
            for fact in FACTS * 4:
                request = Request((Message("user", fact.question),), as_of=began + fact.at * MICROS)
                at = time.perf_counter()
                sentence = False
                async for event in assistant.answer(request):
                    if isinstance(event, Found):
                        found.append(time.perf_counter() - at)
                    elif isinstance(event, Text) and event.kind == "sentence" and not sentence:
                        sentence = True
                        first.append(time.perf_counter() - at)
                total.append(time.perf_counter() - at)
    figures = {"evidence": found, "first_sentence": first, "whole_answer": total}
    row = {
        f"{name}_{q}_ms": round(value * 1000, 1)
        for name, values in figures.items()
        for q, value in (("p50", median(values)), ("p99", quantiles(values, n=100)[98]))
    }
    print(json.dumps({"figure": "answer_quote", **row, "goal_ms": 300, "questions": len(total), "posts": posts}))


if __name__ == "__main__":
    asyncio.run(main())
