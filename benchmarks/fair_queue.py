"""How long a short answer waits while a long one is written, with one seat (one after the other) and with all.

Then what all seats cost: the tokens a second of four answers at once, beside one after the other.
"""

import argparse
import asyncio
import time
from pathlib import Path
from statistics import median

from voxpop.engines.local import LocalEngine
from voxpop.engines.runtimes import Wish
from voxpop.messages import Asker, Message, Prompt, Sampling

SHORT, LONG, TRIES = 20, 600, 5


def prompt(owner: str, number: int, most: int) -> Prompt:
    """A request that is written to its bound: at this temperature a model seldom ends by itself."""
    said = f"Tell a very long story about the tram number {number}."
    sampling = Sampling(max_tokens=most, temperature=1.0, seed=number)
    return Prompt(
        (Message("system", "You are a storyteller."), Message("user", said)), sampling=sampling, asker=Asker(owner)
    )


async def written(engine: LocalEngine, asked: Prompt) -> tuple[float, float, int]:
    """Seconds to the first text and to the end, and the tokens."""
    began, first, made = time.perf_counter(), 0.0, 0
    async for delta in engine.generate(asked):
        first = first or time.perf_counter() - began
        made = delta.usage.completion_tokens if delta.usage else made
    return first, time.perf_counter() - began, made


async def waits(engine: LocalEngine) -> tuple[float, float]:
    """Median seconds to the first text and to the end of a short answer, while a long one is under way."""
    found = []
    for number in range(TRIES):
        long = asyncio.create_task(written(engine, prompt("long", 100 + number, LONG)))
        await asyncio.sleep(0.5)
        found.append(await written(engine, prompt("short", number, SHORT)))
        long.cancel()
        await asyncio.gather(long, return_exceptions=True)
    return median(f for f, _, _ in found), median(t for _, t, _ in found)


async def rate(engine: LocalEngine) -> float:
    """Tokens a second of four answers that were asked at once."""
    began = time.perf_counter()
    made = await asyncio.gather(*(written(engine, prompt(f"o{n}", 200 + n, 60)) for n in range(4)))
    return sum(tokens for _, _, tokens in made) / (time.perf_counter() - began)


async def run(engine: LocalEngine, name: str) -> None:
    await written(engine, prompt("warm", 1, 4))
    alone = await written(engine, prompt("short", 7, SHORT))
    first, whole = await waits(engine)
    print(f"{name}: alone {alone[1]:.2f} s; beside a long answer first text {first:.2f} s, whole {whole:.2f} s")
    print(f"{name}: four at once {await rate(engine):.1f} tokens/s")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("model", type=Path, help="a GGUF file")
    given = arguments.parse_args()
    for name, seats in (("one seat", 1), ("eight seats", 8)):
        engine = LocalEngine.open(given.model, Wish(seats=seats))
        asyncio.run(run(engine, name))
        engine.close()


if __name__ == "__main__":
    main()
