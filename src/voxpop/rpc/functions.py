"""Read the functions that a client offers and the shape that it wants an answer in; what is no JSON is refused."""

import json
import re
from collections.abc import Mapping
from typing import Any

from xai_sdk.proto import chat_pb2

from voxpop.errors import FieldError
from voxpop.messages import Function, Tools

_MOST = 128
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_LONGEST = 64 * 1024  # characters of a JSON Schema


def functions(proto: Any) -> Tools:
    """The client's functions, and which it may or must call. Raises FieldError."""
    offered = [t.function for t in proto.tools if t.WhichOneof("tool") == "function"]
    if len(offered) > _MOST:
        raise FieldError("tools", f"There are {len(offered)} functions.", f"Offer at most {_MOST}.")
    names = [f.name for f in offered]
    for name in names:
        if not _NAME.fullmatch(name):
            raise FieldError(
                "tools", f"No function can be called '{name[:60]}'.", "Use letters, digits, _, . and -."
            )
        if names.count(name) > 1:
            raise FieldError("tools", f"Two functions are called '{name}'.", "Give each a name of its own.")
    return Tools(
        tuple(Function(f.name, f.description, _schema(f.parameters, "tools") or {}) for f in offered),
        _choice(proto.tool_choice, names),
        proto.parallel_tool_calls if proto.HasField("parallel_tool_calls") else True,
    )


def shape(proto: Any) -> Mapping[str, Any] | None:
    """The JSON Schema that an answer is to have, None for text. Raises FieldError."""
    if not proto.HasField("response_format"):
        return None
    kinds, wanted = chat_pb2.FormatType, proto.response_format
    if wanted.format_type in (kinds.FORMAT_TYPE_INVALID, kinds.FORMAT_TYPE_TEXT):
        return None
    if wanted.format_type == kinds.FORMAT_TYPE_JSON_OBJECT:
        return {"type": "object"}
    if wanted.format_type != kinds.FORMAT_TYPE_JSON_SCHEMA:
        what = f"No format {wanted.format_type}."
        raise FieldError("response_format", what, "Give text, json_object or json_schema.")
    schema = _schema(wanted.schema, "response_format")
    if schema is None:
        raise FieldError("response_format", "The format has no schema.", "Give a JSON Schema in 'schema'.")
    return schema


def arguments(text: str) -> str:
    """The arguments of a call that a client sends back. Raises FieldError where they are no JSON object."""
    return json.dumps(_object(text, "messages")) if text.strip() else "{}"


def _choice(given: Any, names: list[str]) -> str:
    said = given.WhichOneof("tool_choice")
    if said == "function_name":
        if given.function_name not in names:
            what = f"'tool_choice' names '{given.function_name[:60]}', which is not offered."
            raise FieldError("tool_choice", what, "Name one of the functions in 'tools'.")
        return str(given.function_name)
    modes = chat_pb2.ToolMode
    known = {modes.TOOL_MODE_AUTO: "auto", modes.TOOL_MODE_NONE: "none", modes.TOOL_MODE_REQUIRED: "required"}
    choice = "auto" if said is None else known.get(given.mode)
    if choice is None:
        raise FieldError("tool_choice", f"No tool mode {given.mode}.", "Give auto, none or required.")
    if choice == "required" and not names:
        what = "'tool_choice' demands a call, and no function is offered."
        raise FieldError("tool_choice", what, "Offer one in 'tools', or give auto.")
    return choice


def _schema(text: str, param: str) -> Mapping[str, Any] | None:
    return _object(text, param) if text.strip() else None


def _object(text: str, param: str) -> dict[str, Any]:
    try:
        value = json.loads(text) if len(text) <= _LONGEST else None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        what = f"'{param}' holds a text that is no JSON object of at most {_LONGEST} characters."
        raise FieldError(param, what, "Send one, such as {}.")
    return value
