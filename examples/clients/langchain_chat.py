"""langchain-openai and langchain-xai, unmodified: OPENAI_BASE_URL and OPENAI_API_KEY say where. Name the parts."""

import json
import os
import sys
from typing import Any

import openai
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool as as_tool
from langchain_openai import ChatOpenAI
from langchain_xai import ChatXAI
from pydantic import BaseModel

URL, KEY = os.environ["OPENAI_BASE_URL"], os.environ["OPENAI_API_KEY"]
QUESTION = "Did a ballot box burn in Dornick?"
chat = ChatOpenAI(model="voxpop", base_url=URL, api_key=KEY, max_retries=0)  # type: ignore[arg-type]


def xai(**more: Any) -> ChatXAI:
    return ChatXAI(model="grok-4", xai_api_base=URL, api_key=KEY, max_retries=0, **more)  # type: ignore[arg-type]


class Weather(BaseModel):
    """The weather in a city."""

    city: str
    degrees: int


@as_tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"12 degrees in {city}"


def plain() -> Any:
    return [chat.invoke(QUESTION).content, xai().invoke(QUESTION).content]


def stream() -> Any:
    return ["".join(str(chunk.content) for chunk in model.stream(QUESTION)) for model in (chat, xai())]


def tool() -> Any:
    asked = HumanMessage("Hello")
    bound = chat.bind_tools([weather])
    message: Any = bound.invoke([asked])
    call = message.tool_calls[0]
    answer = bound.invoke([asked, message, ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"])])
    return [call["name"], call["args"], answer.content]


def shape() -> Any:
    return chat.with_structured_output(Weather).invoke("Hello").model_dump()  # type: ignore[union-attr]


def search() -> Any:
    def bounded(**bounds: Any) -> Any:
        # Its own option of this name is ignored since xAI ended Live Search.
        return xai(extra_body={"search_parameters": {"mode": "on", **bounds}}).invoke(QUESTION)

    free, early = bounded(), bounded(to_date="2001-01-01")
    feeds = bounded(sources=[{"type": "rss", "links": ["https://nobody.example/feed"]}])
    cited = [message.additional_kwargs.get("citations") for message in (free, early, feeds)]
    return {"citations": cited[0], "early": cited[1], "feeds": cited[2]}


def error() -> Any:
    try:
        ChatOpenAI(model="no-such-model", base_url=URL, api_key=KEY, max_retries=0).invoke(QUESTION)  # type: ignore[arg-type]
    except openai.NotFoundError as caught:
        return [caught.status_code, caught.code]


def limit() -> Any:
    try:
        for _ in range(2):  # the tier of the key lets one through
            xai().invoke(QUESTION)
    except openai.RateLimitError as caught:
        return [caught.status_code, int(caught.response.headers["retry-after"]) > 0]


if __name__ == "__main__":
    parts = {part.__name__: part for part in (plain, stream, tool, shape, search, error, limit)}
    for name in sys.argv[1:] or parts:
        print(name, json.dumps(parts[name]()), flush=True)
