"""Read the client's functions, which is to be called, and the shape of an answer; what cannot be is refused.

Shapes are OpenAI's (chat/completions: tools, tool_choice, response_format).
"""

import re
from collections.abc import Mapping
from typing import Any

from voxpop.api.fields import flag, refuse, told
from voxpop.messages import Function, Tools

MOST = 128
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_LONGEST = 4096  # characters of a description
_CHOICES = ("auto", "none", "required")


def tools_of(body: Mapping[str, Any]) -> Tools:
    """The functions of a chat completions body, and which to call. Raises FieldError."""
    raw = body.get("tools") or []
    if not isinstance(raw, list) or len(raw) > MOST:
        refuse("tools", f"'tools' must be a list of at most {MOST} functions.", "Leave some out.")
    functions = tuple(_nested(one, f"tools[{n}]") for n, one in enumerate(raw))
    parallel = body.get("parallel_tool_calls")
    return together(functions, body.get("tool_choice"), parallel is None or flag(body, "parallel_tool_calls"))


def together(functions: tuple[Function, ...], choice: Any, parallel: bool) -> Tools:
    """Functions with the choice among them. Raises FieldError where the choice names none of them."""
    names = [f.name for f in functions]
    if twice := {name for name in names if names.count(name) > 1}:
        refuse("tools", f"Two functions are called {told(min(twice))}.", "Give each a name of its own.")
    chosen = _choice(choice)
    if chosen not in ("auto", "none") and chosen not in (["required"] if names else []) + names:
        what = f"'tool_choice' asks for {told(chosen)}, and 'tools' has no such function."
        refuse("tool_choice", what, "Name one of 'tools', or leave it out.")
    return Tools(functions, chosen, parallel)


def function(raw: Any, where: str) -> Function:
    """A function as it is described. Raises FieldError."""
    name = raw.get("name") if isinstance(raw, dict) else None
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        refuse(f"{where}.name", f"A function cannot be called {told(name)}.", "Use 1 to 64 of a-z A-Z 0-9 _ and -.")
    if name in _CHOICES:
        refuse(f"{where}.name", f"A function cannot be called '{name}'.", "Give it another name.")
    description = raw.get("description") or ""
    if not isinstance(description, str) or len(description) > _LONGEST:
        what = f"A description must be text of at most {_LONGEST} characters."
        refuse(f"{where}.description", what, "Shorten it.")
    parameters = {} if raw.get("parameters") is None else raw["parameters"]
    if not isinstance(parameters, dict):
        refuse(f"{where}.parameters", f"Parameters cannot be {told(parameters)}.", "Give a JSON Schema as object.")
    return Function(name, description, parameters)


def _nested(raw: Any, where: str) -> Function:
    kind = raw.get("type") if isinstance(raw, dict) else None
    if kind != "function":
        cure = "Give functions of your own; posts are searched for by 'search_parameters'."
        refuse(where, f"A tool of the type {told(kind)} is not served here.", cure, code="unsupported")
    return function(raw.get("function"), f"{where}.function")


def _choice(raw: Any) -> str:
    if raw is None:
        return "auto"
    if isinstance(raw, str) and raw in _CHOICES:
        return raw
    if isinstance(raw, dict) and raw.get("type") == "function":
        named = raw.get("function")
        name = named.get("name") if isinstance(named, dict) else raw.get("name")
        if isinstance(name, str):
            return name
    what = f"'tool_choice' cannot be {told(raw)}."
    refuse("tool_choice", what, "Give auto, none, required, or the function to call.", code="unsupported")


def schema_of(raw: Any, param: str = "response_format") -> Mapping[str, Any] | None:
    """The JSON Schema that an answer is to have; None for text. Raises FieldError."""
    if raw is None:
        return None
    kind = raw.get("type") if isinstance(raw, dict) else None
    if kind == "text":
        return None
    if kind == "json_object":
        return {"type": "object"}
    if kind == "json_schema":
        described = raw.get("json_schema", raw)  # the Responses API has it flat
        schema = described.get("schema") if isinstance(described, dict) else None
        if not isinstance(schema, dict):
            refuse(f"{param}.schema", f"The schema cannot be {told(schema)}.", "Give a JSON Schema as object.")
        return schema
    cure = "Give text, json_object or json_schema as its type."
    refuse(param, f"'{param}' cannot be of the type {told(kind)}.", cure, code="unsupported")
