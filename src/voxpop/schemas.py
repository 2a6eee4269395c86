"""Read a stranger's JSON Schema: bounded, sound, without a reference that leads out of it; it fetches nothing.

Schemas are of JSON Schema 2020-12; `$ref` may only be a pointer within the schema itself (RFC 6901).
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema_rs import Draft202012Validator, RegexOptions, ValidationError

from voxpop.errors import UsageError

Schema = Mapping[str, Any]

_LONGEST = 64_000  # characters of the schema as JSON
_DEEPEST = 24
_JOINED = ("allOf", "anyOf", "oneOf")
_APART = ("allOf", "anyOf", "oneOf", "$ref", "not", "if", "patternProperties", "dependentSchemas")


def sound(schema: Schema, param: str) -> None:
    """Raise UsageError (code `unsupported`, with `param`) for a schema that is none, too large or leads out."""

    def refused(what: str, cure: str) -> UsageError:
        return UsageError(f"The JSON schema of '{param}' {what}.", cure, code="unsupported", param=param)

    if _depth(schema) > _DEEPEST:
        raise refused(f"is more than {_DEEPEST} levels deep", "Flatten it.")
    try:
        size = len(json.dumps(schema))
    except (TypeError, ValueError) as error:
        raise refused(f"is no JSON: {error}", "Send JSON.") from error
    if size > _LONGEST:
        raise refused(f"is longer than {_LONGEST} characters", "Shorten it.")
    for ref in _refs(schema):
        if not ref.startswith("#") or _pointed(schema, ref) is None:
            raise refused(f"has a reference '{ref[:60]}' that is not within it", "Put what it means under $defs.")
    try:
        _checker(schema)
    except (ValidationError, ValueError) as error:
        raise refused(f"is not one: {str(error).splitlines()[0][:160]}", "See https://json-schema.org.") from error


def holds(schema: Schema, value: Any) -> bool:
    """Whether a value is of a schema that is `sound`; patterns are matched in linear time."""
    try:
        return bool(_checker(schema).is_valid(value))
    except (ValueError, OverflowError):
        return False


def closed(schema: Schema) -> dict[str, Any]:
    """The same with no properties but those that it names, where it does not say that others may be there.

    What is of the result is of the schema as well. A part that is joined with others is left as it is.
    """
    made = dict(schema)
    if isinstance(properties := made.get("properties"), Mapping):
        made["properties"] = {name: _closed(part) for name, part in properties.items()}
        if not any(word in made for word in _APART):
            made.setdefault("additionalProperties", False)
    for word in ("items", "additionalProperties"):
        if word in made:
            made[word] = _closed(made[word])
    for word in ("$defs", "definitions"):
        if isinstance(parts := made.get(word), Mapping):
            made[word] = {name: _closed(part) for name, part in parts.items()}
    return made


def moved(schema: Schema, place: str) -> dict[str, Any]:
    """The same with its references led through `place` (such as `#/$defs/f0`), where it will stand."""

    def move(part: Any) -> Any:
        if isinstance(part, Mapping):
            return {
                name: place + value[1:] if name == "$ref" and isinstance(value, str) else move(value)
                for name, value in part.items()
            }
        return [move(each) for each in part] if isinstance(part, list) else part

    return dict(move(schema))


def parts(schema: Any, root: Schema) -> list[Schema]:
    """The schemas that may speak of the same value: itself, what it refers to, and what it joins."""
    found: list[Schema] = []
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        if not isinstance(part, Mapping) or any(part is known for known in found):
            continue
        found.append(part)
        if isinstance(ref := part.get("$ref"), str):
            waiting.append(_pointed(root, ref))
        for word in _JOINED:
            waiting += part.get(word) or ()
    return found


def _checker(schema: Schema) -> Draft202012Validator:
    own = {name: value for name, value in schema.items() if name != "$schema"}
    return Draft202012Validator(own, pattern_options=RegexOptions(), offline=True)


def _closed(part: Any) -> Any:
    return closed(part) if isinstance(part, Mapping) else part


def _depth(value: Any) -> int:
    deepest, waiting = 0, [(value, 1)]
    while waiting and deepest <= _DEEPEST:
        part, depth = waiting.pop()
        deepest = max(deepest, depth)
        inner = part.values() if isinstance(part, Mapping) else part if isinstance(part, list | tuple) else ()
        waiting += [(each, depth + 1) for each in inner]
    return deepest


def _refs(part: Any) -> Iterator[str]:
    if isinstance(part, Mapping):
        for name, value in part.items():
            if name in ("$ref", "$dynamicRef", "$recursiveRef") and isinstance(value, str):
                yield value
            else:
                yield from _refs(value)
    elif isinstance(part, list):
        for each in part:
            yield from _refs(each)


def _pointed(root: Schema, ref: str) -> Any:
    """What a pointer leads to, None where it leads nowhere."""
    part: Any = root
    for step in ref.removeprefix("#").split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        part = part.get(name) if isinstance(part, Mapping) else None
    return part if isinstance(part, Mapping) and ref[:2] in ("#", "#/") else None
