"""litellm, unmodified: OPENAI_BASE_URL and OPENAI_API_KEY say where. Name the parts to run, or none."""

import json
import os
import sys
from typing import Any

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else it asks the network for prices

import litellm

URL, KEY = os.environ["OPENAI_BASE_URL"], os.environ["OPENAI_API_KEY"]
QUESTION = [{"role": "user", "content": "Did a ballot box burn in Dornick?"}]
HELLO = [{"role": "user", "content": "Hello"}]


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


WEATHER = {"type": "function", "function": {"name": "weather", "parameters": _object(city={"type": "string"})}}
SHAPE = {"name": "weather", "strict": True, "schema": _object(city={"type": "string"}, degrees={"type": "integer"})}


def ask(messages: Any = QUESTION, model: str = "openai/voxpop", **more: Any) -> Any:
    return litellm.completion(model=model, messages=messages, api_base=URL, api_key=KEY, num_retries=0, **more)


def plain() -> Any:
    return ask().choices[0].message.content


def stream() -> Any:
    return "".join(chunk.choices[0].delta.content or "" for chunk in ask(stream=True))


def tool() -> Any:
    message = ask(HELLO, tools=[WEATHER]).choices[0].message
    call = message.tool_calls[0]
    result = {"role": "tool", "tool_call_id": call.id, "content": "12 degrees"}
    answer = ask([*HELLO, message.model_dump(), result], tools=[WEATHER])
    return [call.function.name, json.loads(call.function.arguments), answer.choices[0].message.content]


def shape() -> Any:
    answer = ask(HELLO, response_format={"type": "json_schema", "json_schema": SHAPE})
    return json.loads(answer.choices[0].message.content)


def search() -> Any:
    def bounded(**bounds: Any) -> Any:
        return ask(extra_body={"search_parameters": {"mode": "on", **bounds}})

    return {"citations": bounded().citations, "early": bounded(to_date="2001-01-01").citations}


def error() -> Any:
    try:
        ask(model="openai/no-such-model")
    except litellm.NotFoundError as caught:
        return caught.status_code


def limit() -> Any:
    try:
        for _ in range(2):  # the tier of the key lets one through
            ask()
    except litellm.RateLimitError as caught:
        return caught.status_code


if __name__ == "__main__":
    parts = {part.__name__: part for part in (plain, stream, tool, shape, search, error, limit)}
    for name in sys.argv[1:] or parts:
        print(name, json.dumps(parts[name]()), flush=True)
