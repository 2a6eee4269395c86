"""Anthropic's own client, unchanged, asks voxpop: python anthropic_sdk.py http://127.0.0.1:8000 KEY."""

import json
import sys

import anthropic

QUESTION = "Is the Vesper bridge closed?"
WEATHER = {
    "name": "weather",
    "description": "The weather of a city now",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
SHAPE = {"type": "object", "properties": {"closed": {"type": "boolean"}}, "required": ["closed"]}


def ask(client: anthropic.Anthropic, what: str) -> object:
    """One kind of request; what came of it."""
    asked = {"model": "voxpop", "max_tokens": 300, "messages": [{"role": "user", "content": QUESTION}]}
    if what == "stream":
        with client.messages.stream(**asked) as stream:
            return "".join(stream.text_stream)
    if what == "tool":
        made = client.messages.create(**asked, tools=[WEATHER], tool_choice={"type": "any"})
        use = made.content[0]
        return {"stop_reason": made.stop_reason, "name": use.name, "input": use.input}
    if what == "json":
        made = client.messages.create(**asked, output_config={"format": {"type": "json_schema", "schema": SHAPE}})
        return json.loads(made.content[0].text)
    if what == "search":
        search = {"type": "web_search_20250305", "name": "web_search", "allowed_domains": ["gazette.example"]}
        text = client.messages.create(**asked, tools=[search]).content[-1]
        return [note.url for note in text.citations or ()]
    try:
        made = client.messages.create(**asked | ({"model": "claude"} if what == "error" else {}))
    except anthropic.APIStatusError as error:
        return {"status": error.status_code, "type": error.type, "after": error.response.headers.get("retry-after")}
    return made.content[0].text


if __name__ == "__main__":
    _, address, key, *wanted = sys.argv
    with anthropic.Anthropic(base_url=address, api_key=key, max_retries=0) as speaking:
        print(json.dumps({what: ask(speaking, what) for what in wanted or ["plain", "stream", "search", "error"]}))
