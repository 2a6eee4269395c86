"""Hold JSON that was written from posts against them: what is not the schema's own stands in a post; pure.

A value of an `enum`, a `const`, true, false and null say which of the client's own cases it is; all others are
words and figures of somebody, and so are the names of properties that the schema does not name. Where a result is
asked, the client's cases are the result: they are held against the declaration as well, and true and false, which
no post holds, are no answer.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from voxpop.figures import keep_their_names
from voxpop.messages import Passage
from voxpop.schemas import Schema, parts
from voxpop.verification import held


@dataclass(frozen=True, slots=True)
class Judged:
    """Why JSON may not be shown, empty where it may, and the numbers of the posts that carry it."""

    reason: str
    cited: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Leaf:
    """A value that must stand in a post, and where it stands in the JSON: `lines[2].name`."""

    path: str
    text: str


def judge(value: Any, schema: Schema, passages: Sequence[Passage], *, result: bool) -> Judged:
    """Whether posts carry JSON of a schema. `result`: it tells who won, or another result."""
    cited: dict[int, None] = {}
    for leaf in leaves(value, schema, result=result):
        if leaf.text in ("true", "false"):
            return Judged(f"'{leaf.path}' tells a result as {leaf.text}, which no post says")
        reasons = {p.number: held(leaf.text, p) for p in passages}
        carrying = next((number for number, reason in reasons.items() if not reason), None)
        if carrying is None:
            return Judged(
                f"'{leaf.path}' is “{leaf.text[:80]}”: {next(iter(reasons.values()), 'there is no post')}"
            )
        cited[carrying] = None
    for path, row in _rows(value, ""):
        if reason := keep_their_names(row, passages):
            return Judged(f"'{path or 'the answer'}': {reason}")
    return Judged("", tuple(cited) or tuple(p.number for p in passages))


def leaves(value: Any, schema: Schema, *, result: bool = False) -> Iterator[Leaf]:
    """Every value that is not the client's own, in order."""
    yield from _leaves(value, parts(schema, schema), schema, "", result)


def _leaves(value: Any, here: Sequence[Schema], root: Schema, path: str, result: bool) -> Iterator[Leaf]:
    if isinstance(value, dict):
        for name, inner in value.items():
            known = [part["properties"][name] for part in here if name in (part.get("properties") or ())]
            if not known:
                yield Leaf(_at(path, name), name)
                known = [part["additionalProperties"] for part in here if "additionalProperties" in part]
            yield from _leaves(inner, _joined(known, root), root, _at(path, name), result)
    elif isinstance(value, list):
        for n, inner in enumerate(value):
            yield from _leaves(inner, _joined(_items(here, n), root), root, f"{path}[{n}]", result)
    elif value not in (None, "") and (result or not (isinstance(value, bool) or _is_own(value, here))):
        yield Leaf(path, _written(value))


def _at(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _joined(found: Sequence[Any], root: Schema) -> list[Schema]:
    return [part for each in found for part in parts(each, root)]


def _items(here: Sequence[Schema], place: int) -> list[Any]:
    found: list[Any] = []
    for part in here:
        first = part.get("prefixItems") or ()
        found.append(first[place] if place < len(first) else part.get("items"))
    return found


def _is_own(value: Any, here: Sequence[Schema]) -> bool:
    """Whether a value is one of the cases that the schema itself gives."""
    cases = [c for part in here for c in (*(part.get("enum") or ()), *([part["const"]] if "const" in part else ()))]
    return any(type(value) is type(case) and value == case for case in cases)


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


def _rows(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """The values of each object side by side, as a sentence would have them: a number stays with its name."""
    if isinstance(value, Mapping):
        plain = [
            _written(v) for v in value.values() if isinstance(v, str | int | float) and not isinstance(v, bool)
        ]
        if len(plain) > 1:
            yield path, " ".join(plain)
        for name, inner in value.items():
            yield from _rows(inner, _at(path, name))
    elif isinstance(value, list):
        for n, inner in enumerate(value):
            yield from _rows(inner, f"{path}[{n}]")
