"""OpenAI's asynchronous Python client, unmodified: several answers at once, streamed side by side."""

import asyncio
import json
import sys
from typing import Any

import openai
from openai_python import QUESTION, SHAPE, WEATHER

HELLO: Any = [{"role": "user", "content": "Hello"}]
client = openai.AsyncOpenAI(max_retries=0)


async def ask(messages: Any = QUESTION, model: str = "voxpop", **more: Any) -> Any:
    return await client.chat.completions.create(model=model, messages=messages, **more)


async def plain() -> Any:
    answers = await asyncio.gather(*(ask(model=f"voxpop-{voice}") for voice in ("regular", "fun")))
    return [answer.choices[0].message.content for answer in answers]


async def stream() -> Any:
    said = ["", ""]
    async for chunk in await ask(model="grok-4", n=2, stream=True):
        for choice in chunk.choices:
            said[choice.index] += choice.delta.content or ""
    return said


async def tool() -> Any:
    message = (await ask(HELLO, tools=[WEATHER])).choices[0].message
    call = message.tool_calls[0]
    result = {"role": "tool", "tool_call_id": call.id, "content": "12 degrees"}
    answer = await ask([*HELLO, message.model_dump(exclude_none=True), result], tools=[WEATHER])
    return [call.function.name, json.loads(call.function.arguments), answer.choices[0].message.content]


async def shape() -> Any:
    schema = {"name": "weather", "strict": True, "schema": SHAPE}
    answer = await ask(HELLO, response_format={"type": "json_schema", "json_schema": schema})
    return json.loads(answer.choices[0].message.content)


async def search() -> Any:
    def bounded(**bounds: Any) -> Any:
        return ask(extra_body={"search_parameters": {"mode": "on", **bounds}})

    free = await bounded()
    handle = free.choices[0].message.annotations[0].url_citation.title.partition(",")[0]
    mine, others, early = await asyncio.gather(
        bounded(sources=[{"type": "x", "included_x_handles": [handle]}]),
        bounded(sources=[{"type": "x", "excluded_x_handles": [handle]}]),
        bounded(to_date="2001-01-01"),
    )
    return {
        "citations": free.citations,
        "handle": handle,
        "mine": [note.url_citation.title for note in mine.choices[0].message.annotations],
        "others": [note.url_citation.title for note in others.choices[0].message.annotations],
        "early": early.citations,
    }


async def error() -> Any:
    try:
        await ask(model="no-such-model")
    except openai.NotFoundError as caught:
        return [caught.status_code, caught.code]


async def limit() -> Any:
    try:
        await asyncio.gather(ask(), ask())  # the tier of the key lets one through
    except openai.RateLimitError as caught:
        return [caught.status_code, int(caught.response.headers["retry-after"]) > 0]


async def main() -> None:
    parts = {part.__name__: part for part in (plain, stream, tool, shape, search, error, limit)}
    async with client:
        for name in sys.argv[1:] or parts:
            print(name, json.dumps(await parts[name]()), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
