"""What is stored of a response beside its answer: the items of its input in pages, and single items by their id."""

from collections.abc import Mapping
from typing import Any

from voxpop.api.fields import refuse, told
from voxpop.api.responses_made import PREFIX, again
from voxpop.conversations import Exchange
from voxpop.errors import UsageError
from voxpop.messages import Call, Message

_USUAL, _MOST = 20, 100


def response_of(item_id: str) -> str:
    """The response that gave an item its id."""
    return PREFIX + item_id.partition("_")[2].partition("_")[0]


def turn_of(exchange: Exchange, item_id: str) -> tuple[Message, ...]:
    """A stored item as turns; none for a search or what was withdrawn. Raises UsageError (`not_found`)."""
    for message, each in zip(exchange.asked, inputs(exchange), strict=True):
        if each["id"] == item_id:
            return (message,)
    if exchange.answers is None:
        return ()
    for each in again(exchange)[0].output:
        if each["id"] == item_id:
            return _said(each)
    raise UsageError(f"No item '{item_id[:60]}' is stored.", "Send the item itself.", code="not_found")


def inputs(exchange: Exchange) -> list[dict[str, Any]]:
    """The items of its input, each with an id."""
    tail = exchange.id.removeprefix(PREFIX)
    return [_input(message, f"in_{tail}_{n}") for n, message in enumerate(exchange.asked)]


def input_page(exchange: Exchange, query: Mapping[str, str]) -> dict[str, Any]:
    """A page of its input, by OpenAI's `limit`, `order` and `after`. Raises FieldError."""
    items = inputs(exchange)
    if query.get("order", "desc") not in ("asc", "desc"):
        refuse("order", f"'order' cannot be {told(query['order'])}.", "Give asc or desc.")
    if query.get("order", "desc") == "desc":
        items.reverse()
    if after := query.get("after"):
        places = [n for n, each in enumerate(items) if each["id"] == after]
        if not places:
            refuse("after", f"No item {told(after)} is in this input.", "Give the last id that you have.")
        items = items[places[0] + 1 :]
    limit = whole_number(query.get("limit"), "limit", _USUAL, 1, _MOST)
    page = items[:limit]
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": len(items) > limit,
    }


def whole_number(given: str | None, name: str, usual: int, low: int, high: int) -> int:
    """A number of an address's query. Raises FieldError."""
    if given is None:
        return usual
    number = int(given[:9]) if given.isascii() and given.isdigit() else -1
    if not low <= number <= high:
        refuse(name, f"'{name}' cannot be {told(given)}.", f"Give a whole number from {low} to {high}.")
    return number


def _input(message: Message, id_: str) -> dict[str, Any]:
    if message.role == "tool":
        answered = {"call_id": message.answers, "output": message.content}
        return {"id": id_, "type": "function_call_output", "status": "completed", **answered}
    if message.calls and not message.content:
        call = message.calls[0]
        said = {"call_id": call.id, "name": call.name, "arguments": call.arguments}
        return {"id": id_, "type": "function_call", "status": "completed", **said}
    kind = "output_text" if message.role == "assistant" else "input_text"
    part = {"type": kind, "text": message.content, **({"annotations": []} if kind == "output_text" else {})}
    return {"id": id_, "type": "message", "role": message.role, "status": "completed", "content": [part]}


def _said(each: Mapping[str, Any]) -> tuple[Message, ...]:
    if each["type"] == "message":
        parts = [part.get("text") or part.get("refusal") or "" for part in each["content"][:1]]
        return (Message("assistant", "".join(parts)),)
    if each["type"] == "function_call":
        return (Message("assistant", "", (Call(each["call_id"], each["name"], each["arguments"]),)),)
    return ()
