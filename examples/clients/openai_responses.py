"""OpenAI's own client asks for responses: python openai_responses.py http://127.0.0.1:8000/v1 KEY [PART…]."""

import json
import sys
from typing import Any

import openai
from pydantic import BaseModel

QUESTION = "Is the Vesper bridge closed?"
MINE, OTHERS = ["ben.example"], ["harbour.example", "ann.example"]


class Closure(BaseModel):
    """What is wanted of the posts."""

    bridge: str
    closed: bool


def cited(client: openai.OpenAI, **bounds: Any) -> list[list[str]]:
    """Each citation's address, and the link in the text that it spans."""
    tools: Any = [{"type": "x_search", **bounds}]
    made = client.responses.create(model="voxpop", input=QUESTION, tools=tools)
    part: Any = made.output[-1].content[0]
    return [[note.url, part.text[note.start_index : note.end_index]] for note in part.annotations]


def search(client: openai.OpenAI) -> object:
    """What bounds of authors and days leave of the citations."""
    return {
        "free": cited(client),
        "mine": cited(client, allowed_x_handles=MINE, from_date="2020-01-01"),
        "without": cited(client, excluded_x_handles=OTHERS),
        "early": cited(client, from_date="2001-01-01", to_date="2001-01-02"),
    }


def ask(client: openai.OpenAI, what: str) -> object:
    """One kind of request; what came of it."""
    if what == "stream":
        with client.responses.stream(model="voxpop", input=QUESTION) as events:
            return "".join(event.delta for event in events if event.type == "response.output_text.delta")
    if what == "parse":
        shaped = client.responses.parse(model="voxpop", input=QUESTION, text_format=Closure).output_parsed
        return shaped and shaped.model_dump()
    if what == "search":
        return search(client)
    try:
        made = client.responses.create(model="gpt-9" if what == "error" else "voxpop", input=QUESTION)
    except openai.APIStatusError as error:
        return {"status": error.status_code, "code": error.code, "after": error.response.headers.get("retry-after")}
    return made.output_text


if __name__ == "__main__":
    _, address, key, *wanted = sys.argv
    with openai.OpenAI(base_url=address, api_key=key, max_retries=0) as speaking:
        print(json.dumps({what: ask(speaking, what) for what in wanted or ["plain", "stream", "search", "error"]}))
