"""Ask voxpop by xAI's client for asyncio: HOST:PORT KEY PART...; the parts are listed in PARTS."""

import asyncio
import datetime as dt
import json
import sys

import grpc
from pydantic import BaseModel
from xai_sdk import AsyncClient
from xai_sdk.chat import SearchParameters, tool, tool_result, user
from xai_sdk.search import x_source
from xai_sdk.tools import x_search

QUESTION = "Did a ballot box burn in Dornick?"


class Weather(BaseModel):
    city: str
    celsius: int


def weather(city: str) -> str:
    """What the function of this program tells."""
    return f"It is sunny in {city}."


async def plain(client: AsyncClient) -> None:
    chat = client.chat.create(model="voxpop")
    response = await chat.append(user(QUESTION)).sample()
    print(response.content, response.finish_reason, response.usage.total_tokens, sep="\n")


async def streamed(client: AsyncClient) -> None:
    chat = client.chat.create(model="voxpop").append(user(QUESTION))
    async for _, chunk in chat.stream():
        print(chunk.content, end="", flush=True)
    print()


async def tools(client: AsyncClient) -> None:
    city = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    chat = client.chat.create(model="voxpop", tools=[tool("weather", "The weather of a city.", city)])
    response = await chat.append(user("What is the weather in Rome?")).sample()
    chat.append(response)
    for call in response.tool_calls:
        print(call.function.name, call.function.arguments)
        chat.append(tool_result(weather(**json.loads(call.function.arguments)), tool_call_id=call.id))
    print((await chat.sample()).content)


async def shape(client: AsyncClient) -> None:
    chat = client.chat.create(model="voxpop").append(user("Rome, 21 degrees: as JSON."))
    _, parsed = await chat.parse(Weather)
    print(repr(parsed))


async def search(client: AsyncClient) -> None:
    since = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    official = x_search(from_date=since, allowed_x_handles=["commission.tesmar.example"])
    chat = client.chat.create(model="voxpop", tools=[official], include=["inline_citations"])
    response = await chat.append(user(QUESTION)).sample()
    for note in response.inline_citations:
        print(response.content[note.start_index : note.end_index])
    print(response.content, list(response.citations), response.server_side_tool_usage, sep="\n")
    old = SearchParameters(mode="on", sources=[x_source(excluded_x_handles=["commission.tesmar.example"])])
    chat = client.chat.create(model="voxpop", search_parameters=old)
    print("without:", (await chat.append(user(QUESTION)).sample()).content)


async def error(client: AsyncClient) -> None:
    try:
        await client.chat.create(model="no-model").append(user("Hi")).sample()
    except grpc.RpcError as failure:
        print(failure.code().name, failure.details())


async def limit(client: AsyncClient) -> None:
    try:
        await client.chat.create(model="voxpop").append(user("Hi")).sample()
    except grpc.RpcError as failure:
        print(failure.code().name, f"again in {dict(failure.trailing_metadata())['retry-after']} s")


PARTS = {"plain": plain, "streamed": streamed, "tool": tools, "shape": shape, "search": search, "error": error}
PARTS["limit"] = limit


async def main() -> None:
    host, key, *parts = sys.argv[1:]
    async with AsyncClient(api_key=key, api_host=host, use_insecure_channel=True) as client:
        for part in parts:
            await PARTS[part](client)


if __name__ == "__main__":
    asyncio.run(main())
