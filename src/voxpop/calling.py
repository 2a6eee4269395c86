"""Whether functions are to be called, and with what: the schema of that decision, and how it is read; pure.

It runs no function and trusts no engine: a call that is not whole, not of its function's schema or made already is
none.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

from voxpop.messages import Call, Function, Message, Request, Tools
from voxpop.schemas import closed, holds, moved, sound

_MOST_CALLS = 8
_LED = re.compile(r'\s*\{\s*"name"\s*:\s*"(?:[^"\\]|\\.)*"\s*,\s*"arguments"\s*:\s*')
_BETWEEN = re.compile(r"[\s,]*")
_BEGUN = re.compile(r'\s*\{\s*"calls"\s*:\s*\[')


def offered(tools: Tools) -> tuple[Function, ...]:
    """The functions that may be called at all, by the client's choice. Raises UsageError for a bad schema."""
    if tools.choice == "none":
        return ()
    named = tools.choice not in ("auto", "required")
    for function in tools.functions:
        sound(function.parameters, "tools")
    return tuple(f for f in tools.functions if not named or f.name == tools.choice)


def must_call(tools: Tools) -> bool:
    """Whether the client wants a call whatever is said."""
    return bool(tools.functions) and tools.choice not in ("auto", "none")


def decision(tools: Tools) -> dict[str, Any]:
    """The JSON Schema of what is to be called: `{"calls": [{"name", "arguments"}]}`."""
    functions = offered(tools)
    one = not tools.parallel or tools.choice not in ("auto", "required")
    return {
        "type": "object",
        "properties": {
            "calls": {
                "type": "array",
                "items": {"anyOf": [_call(f, f"#/$defs/f{n}") for n, f in enumerate(functions)]},
                "minItems": int(must_call(tools)),
                "maxItems": 1 if one else _MOST_CALLS,
            }
        },
        "required": ["calls"],
        "additionalProperties": False,
        "$defs": {f"f{n}": moved(arguments(f), f"#/$defs/f{n}") for n, f in enumerate(functions)},
    }


def _call(function: Function, place: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"name": {"const": function.name}, "arguments": {"$ref": place}},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }


def arguments(function: Function) -> dict[str, Any]:
    """The schema of a function's arguments: always an object, and closed where the client left that open."""
    return closed({"type": "object", "properties": {}, **function.parameters})


def read(text: str, request: Request) -> tuple[Call, ...]:
    """The calls of a decision, as many as are whole; those that were answered already are left out.

    An id is made of what was asked, so that the same request calls under the same ids.
    """
    known, made = _answered(request.messages), list[Call]()
    functions = {f.name: f for f in offered(request.tools)}
    for name, given in _read(text):
        function = functions.get(name)
        if function is None or (name, given) in known or not _holds(function, given):
            continue
        known.add((name, given))
        made.append(Call(_id(request, len(made), name, given), name, given))
    one = not request.tools.parallel
    return tuple(made[: 1 if one else _MOST_CALLS])


def results(messages: tuple[Message, ...]) -> bool:
    """Whether functions have answered since the user last spoke."""
    last = max((n for n, m in enumerate(messages) if m.role == "user"), default=-1)
    return any(m.role == "tool" for m in messages[last + 1 :])


def _holds(function: Function, given: str) -> bool:
    try:
        return holds(arguments(function), json.loads(given))
    except (ValueError, RecursionError):  # a number of more digits than Python reads
        return False


def _answered(messages: tuple[Message, ...]) -> set[tuple[str, str]]:
    last = max((n for n, m in enumerate(messages) if m.role == "user"), default=-1)
    return {(c.name, c.arguments) for m in messages[last + 1 :] for c in m.calls}


def _read(text: str) -> Iterator[tuple[str, str]]:
    """Each whole call's name and its arguments as they were written."""
    begun = _BEGUN.match(text)
    if not begun:
        return
    at, decoder = begun.end(), json.JSONDecoder(parse_int=str, parse_float=str)
    while True:
        at = _matched(_BETWEEN, text, at)
        try:
            call, end = decoder.raw_decode(text, at)
            led = _LED.match(text, at)
            inner = decoder.raw_decode(text, led.end())[1] if led else end
            given = text[led.end() : inner] if led else json.dumps(call["arguments"], ensure_ascii=False)
            name = call["name"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return
        if isinstance(name, str) and isinstance(call["arguments"], dict):
            yield name, given
        at = end


def _matched(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at


def _id(request: Request, place: int, name: str, given: str) -> str:
    said = [[m.role, m.content, [c.id for c in m.calls], m.answers] for m in request.messages]
    asked = json.dumps([said, request.sampling.seed, place, name, given])
    return f"call_{hashlib.sha256(asked.encode('utf-8', 'replace')).hexdigest()[:24]}"
