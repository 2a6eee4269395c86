"""Read the input of a Responses body, a text or items, into turns; what no text can be made of is refused.

Shapes are OpenAI's (responses: input items), as xAI's and their clients send them. What a client only sends back
(reasoning, calls of the search) says nothing that is not in the messages, and is passed over.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from voxpop import dialects
from voxpop.api.fields import refuse, told
from voxpop.api.turns import is_object
from voxpop.messages import Call, Message, Role

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_TEXTS = {"input_text": "text", "output_text": "text", "text": "text", "refusal": "refusal"}
_PASSED = (
    *("reasoning", "custom_tool_call", "custom_tool_call_output", "x_search_call", "web_search_call"),
    *("code_interpreter_call", "file_search_call", "mcp_list_tools"),
)
_MOST_ITEMS = 1000
_LONGEST_ID = 256


@dataclass(frozen=True, slots=True)
class Item:
    """A turn, or what stands for turns: the id of an item that is stored, or a compaction.

    A message may have the id of the item that it was when we sent it.
    """

    message: Message | None = None
    id: str = ""
    compaction: str = ""


def items_of(raw: Any) -> list[Item]:
    """The items of an input, in order. Raises FieldError with the place of what cannot be read."""
    if isinstance(raw, str):
        return [Item(Message("user", raw))]
    if not isinstance(raw, list) or len(raw) > _MOST_ITEMS:
        refuse(
            "input", f"'input' cannot be {told(raw)}.", f"Give a text, or a list of at most {_MOST_ITEMS} items."
        )
    read = (_item(one, f"input[{n}]") for n, one in enumerate(raw))
    return [item for item in read if item]


def together(messages: Sequence[Message]) -> tuple[Message, ...]:
    """With the calls of a turn in one message. Raises FieldError for a result without its call."""
    joined: list[Message] = []
    called: set[str] = set()
    for message in messages:
        called |= {call.id for call in message.calls}
        if message.role == "tool" and message.answers not in called:
            what = f"No call in this conversation has the id {told(message.answers)}."
            refuse("input", what, "Send its 'function_call' before it, or 'previous_response_id'.")
        before = joined[-1] if joined else None
        if message.calls and not message.content and before and before.role == "assistant":
            joined[-1] = Message("assistant", before.content, (*before.calls, *message.calls))
        else:
            joined.append(message)
    return tuple(joined)


def text_of(content: Any, where: str) -> str:
    """A content's text, which may come in parts. Raises FieldError for a picture, a file or a sound."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        refuse(where, f"The content cannot be {told(content)}.", "Give a text, or parts of the type input_text.")
    return "\n".join(_part(one, f"{where}[{n}]") for n, one in enumerate(content))


def _item(raw: Any, where: str) -> Item | None:
    if not isinstance(raw, dict):
        refuse(where, f"An item cannot be {told(raw)}.", "Give an object with a role or a type.")
    kind = raw.get("type", "message" if "role" in raw else None)
    if not isinstance(kind, str):
        refuse(f"{where}.type", f"No item is of the type {told(kind)}.", "Give a message.")
    if kind in _PASSED:
        return None
    if kind == "message":
        return _message(raw, where)
    if kind == "function_call":
        return Item(Message("assistant", "", (_call(raw, where),)), id=_id(raw.get("id") or "-", f"{where}.id"))
    if kind == "function_call_output":
        output = text_of(raw.get("output"), f"{where}.output")
        return Item(Message("tool", output, answers=_id(raw.get("call_id"), f"{where}.call_id")))
    if kind == "item_reference":
        return Item(id=_id(raw.get("id"), f"{where}.id"))
    if kind in ("compaction", "compaction_summary"):
        if not isinstance(raw.get("encrypted_content"), str):
            refuse(f"{where}.encrypted_content", "A compaction lacks its content.", "Send it back as it came.")
        return Item(compaction=raw["encrypted_content"])
    cure = "Send messages, function calls and their results; leave out pictures, files and other tools."
    refuse(f"{where}.type", f"An item of the type {told(kind)} is not read here.", cure, code="unsupported")


def _message(raw: dict[str, Any], where: str) -> Item:
    role = _ROLES.get(raw["role"]) if isinstance(raw.get("role"), str) else None
    if role is None:
        roles = "system, developer, user or assistant"
        refuse(f"{where}.role", f"A message's role cannot be {told(raw.get('role'))}.", f"Give a role: {roles}.")
    content = text_of(raw.get("content"), f"{where}.content")
    id_ = _id(raw.get("id") or "-", f"{where}.id") if role == "assistant" else ""
    return Item(Message(cast("Role", role), content), id=id_)


def _part(raw: Any, where: str) -> str:
    kind = raw.get("type") if isinstance(raw, dict) else None
    text = raw.get(_TEXTS[kind]) if isinstance(kind, str) and kind in _TEXTS else None
    if not isinstance(text, str):
        what = f"A part of the type {told(kind)} is not read here."
        refuse(where, what, "Send text alone, as input_text.", code="unsupported")
    return text


def _call(raw: dict[str, Any], where: str) -> Call:
    name, arguments = raw.get("name"), raw.get("arguments") or "{}"
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_ID:
        refuse(f"{where}.name", f"A function cannot be called {told(name)}.", "Send the call back as it came.")
    if not isinstance(arguments, str) or len(arguments) > dialects.LONGEST or not is_object(arguments):
        what = "The arguments of a call must be a JSON object as text."
        refuse(f"{where}.arguments", what, "Send them back as they came.")
    return Call(_id(raw.get("call_id"), f"{where}.call_id"), name, arguments)


def _id(raw: Any, where: str) -> str:
    if not isinstance(raw, str) or not 0 < len(raw) <= _LONGEST_ID:
        refuse(where, f"An id cannot be {told(raw)}.", "Send it back as it came.")
    return raw
