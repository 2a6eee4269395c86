"""OpenAI's asynchronous Python client, unmodified: several answers at once, streamed side by side."""

import asyncio
import json
import sys
from typing import Any

import openai

QUESTION: Any = [{"role": "user", "content": "Did a ballot box burn in Dornick?"}]


async def plain(client: openai.AsyncOpenAI) -> Any:
    answers = await asyncio.gather(
        *(
            client.chat.completions.create(model=f"voxpop-{voice}", messages=QUESTION)
            for voice in ("regular", "fun")
        )
    )
    return [answer.choices[0].message.content for answer in answers]


async def stream(client: openai.AsyncOpenAI) -> Any:
    said = ["", ""]
    chunks = await client.chat.completions.create(model="grok-4", messages=QUESTION, n=2, stream=True)
    async for chunk in chunks:
        for choice in chunk.choices:
            said[choice.index] += choice.delta.content or ""
    return said


async def main() -> None:
    parts = {part.__name__: part for part in (plain, stream)}
    async with openai.AsyncOpenAI(max_retries=0) as client:
        for name in sys.argv[1:] or parts:
            print(name, json.dumps(await parts[name](client)), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
