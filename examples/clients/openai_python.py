"""OpenAI's Python client, unmodified: OPENAI_BASE_URL and OPENAI_API_KEY say where. Name the parts to run."""

import json
import sys
from typing import Any

import openai

client = openai.OpenAI(max_retries=0)
QUESTION = [{"role": "user", "content": "Did a ballot box burn in Dornick?"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
SHAPE = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "degrees": {"type": "integer"}},
    "required": ["city", "degrees"],
    "additionalProperties": False,
}


def ask(messages: Any = QUESTION, model: str = "voxpop", **more: Any) -> Any:
    return client.chat.completions.create(model=model, messages=messages, **more)


def plain() -> Any:
    return ask().choices[0].message.content


def stream() -> Any:
    with ask(stream=True) as chunks:
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def tool() -> Any:
    said: list[Any] = [{"role": "user", "content": "Hello"}]
    message = ask(said, tools=[WEATHER]).choices[0].message
    call = message.tool_calls[0]
    result = {"role": "tool", "tool_call_id": call.id, "content": "12 degrees"}
    answer = ask([*said, message.model_dump(exclude_none=True), result], tools=[WEATHER])
    return [call.function.name, json.loads(call.function.arguments), answer.choices[0].message.content]


def shape() -> Any:
    schema = {"name": "weather", "strict": True, "schema": SHAPE}
    hello = [{"role": "user", "content": "Hello"}]
    answer = ask(hello, response_format={"type": "json_schema", "json_schema": schema})
    return json.loads(answer.choices[0].message.content)


def search() -> Any:
    def bounded(**bounds: Any) -> Any:
        return ask(extra_body={"search_parameters": {"mode": "on", **bounds}})

    free = bounded()
    handle = free.choices[0].message.annotations[0].url_citation.title.partition(",")[0]
    mine = bounded(sources=[{"type": "x", "included_x_handles": [handle]}])
    others = bounded(sources=[{"type": "x", "excluded_x_handles": [handle]}])
    early = bounded(to_date="2001-01-01")
    return {
        "citations": free.citations,
        "handle": handle,
        "mine": [note.url_citation.title for note in mine.choices[0].message.annotations],
        "others": [note.url_citation.title for note in others.choices[0].message.annotations],
        "early": early.citations,
    }


def error() -> Any:
    try:
        ask(model="no-such-model")
    except openai.NotFoundError as caught:
        return [caught.status_code, caught.code]


def limit() -> Any:
    try:
        for _ in range(2):  # the tier of the key lets one through
            ask()
    except openai.RateLimitError as caught:
        return [caught.status_code, int(caught.response.headers["retry-after"]) > 0]


if __name__ == "__main__":
    parts = {part.__name__: part for part in (plain, stream, tool, shape, search, error, limit)}
    for name in sys.argv[1:] or parts:
        print(name, json.dumps(parts[name]()), flush=True)
