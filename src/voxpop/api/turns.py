"""Read the messages of a chat completions body; pictures, files and calls that nobody made are refused."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import orjson

from voxpop import dialects
from voxpop.api.fields import refuse, told
from voxpop.messages import Call, Message, Role

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
_MOST_CALLS = 128
_LONGEST_ID = 256


def messages_of(raw: Any) -> tuple[Message, ...]:
    """The conversation. Raises FieldError with the place of what cannot be read."""
    if not isinstance(raw, list) or len(raw) > dialects.MOST_MESSAGES:
        what = f"'messages' must be a list of 1 to {dialects.MOST_MESSAGES} messages."
        refuse("messages", what, "Send at least a user's.")
    read = [_message(m, f"messages[{i}]") for i, m in enumerate(raw)]
    if read and all(m.role == "system" for m in read):  # some programs have only an instruction: it is the question
        read[-1] = replace(read[-1], role="user")
    messages = dialects.conversation(read)
    _answered(messages)
    return messages


def _answered(messages: Sequence[Message]) -> None:
    """Every result is that of a call before it."""
    called: set[str] = set()
    for place, message in enumerate(messages):
        called |= {call.id for call in message.calls}
        if message.role == "tool" and message.answers not in called:
            what = f"No call before it has the id {told(message.answers)}."
            refuse(f"messages[{place}].tool_call_id", what, "Send the assistant's message with its 'tool_calls'.")


def _message(raw: Any, where: str) -> Message:
    said = raw.get("role") if isinstance(raw, dict) else None
    role = _ROLES.get(said) if isinstance(said, str) else None
    if role is None:
        roles = "system, developer, user, assistant or tool"
        refuse(where, f"The message cannot be read: its role is {told(said)}.", f"Give a role: {roles}.")
    content = raw.get("content")
    if content is None and role == "assistant":
        content = raw.get("refusal") or ""
    if isinstance(content, list):
        content = "\n".join(_part(p, where) for p in content)
    if not isinstance(content, str):
        what = f"A message's content must be text of 1 to {dialects.LONGEST} characters."
        refuse(f"{where}.content", what, "Shorten or fill it.")
    calls = _calls(raw.get("tool_calls"), where) if role == "assistant" else ()
    answers = _id(raw.get("tool_call_id"), f"{where}.tool_call_id") if role == "tool" else ""
    return Message(cast("Role", role), content, calls, answers)


def _part(raw: Any, where: str) -> str:
    kind = raw.get("type") if isinstance(raw, dict) else None
    text = raw.get(kind) if kind in ("text", "refusal") else None
    if not isinstance(text, str):
        what = "Only parts of type 'text' are read."
        refuse(f"{where}.content", what, "Leave out pictures and files.", code="unsupported")
    return text


def _calls(raw: Any, where: str) -> tuple[Call, ...]:
    if raw is None:
        return ()
    if not isinstance(raw, list) or len(raw) > _MOST_CALLS:
        refuse(f"{where}.tool_calls", f"'tool_calls' cannot be {told(raw)}.", f"Give at most {_MOST_CALLS} calls.")
    return tuple(_call(one, f"{where}.tool_calls[{n}]") for n, one in enumerate(raw))


def _call(raw: Any, where: str) -> Call:
    called = raw.get("function") if isinstance(raw, dict) else None
    name = called.get("name") if isinstance(called, dict) else None
    if not isinstance(called, dict) or not isinstance(name, str) or not name:
        refuse(where, "A call without a function's name cannot be read.", "Send it back as it came.")
    arguments = called.get("arguments") or "{}"
    if not isinstance(arguments, str) or not is_object(arguments):
        what = "The arguments of a call must be a JSON object as text."
        refuse(f"{where}.function.arguments", what, "Send them back as they came.")
    return Call(_id(raw.get("id"), f"{where}.id"), name, arguments)


def _id(raw: Any, where: str) -> str:
    if not isinstance(raw, str) or not 0 < len(raw) <= _LONGEST_ID:
        refuse(where, f"The id of a call cannot be {told(raw)}.", "Send it back as it came.")
    return raw


def is_object(text: str) -> bool:
    """Whether a text is one JSON object."""
    try:
        return isinstance(orjson.loads(text), dict)
    except orjson.JSONDecodeError:
        return False
