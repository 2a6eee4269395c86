"""Change one place of a JSON text and keep it JSON, so that a fuzzer gets past the first brace."""

import random
from collections.abc import Callable
from typing import Any

import orjson

_ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 7, 2**31, 2**53 + 1, 2**63, 2**64 - 1, 1e308, -0.0, "", " ", "\0", "a" * 3001,
    "🪶" * 300, "9999-12-31T23:59:59.999Z", "0001-01-01T00:00:00Z", "2026-11-21T18:30:00+23:59",
    "at://did:web:a/b/c", "https://[", "<p>", "١٢", "\u202e", "\ud7ff", [], {}, [[]], [None], {"": {}}, [{}] * 200,
)  # fmt: skip


def mutate(data: bytes, largest: int, luck: random.Random, scramble: Callable[[bytes, int], bytes]) -> bytes:
    """`data` with one value replaced, removed, repeated or moved; what is no JSON goes through `scramble`."""
    try:
        tree = orjson.loads(data)
        changed = orjson.dumps(_changed(tree, luck, scramble)) if luck.random() < 0.85 else scramble(data, largest)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        changed = scramble(data, largest)
    return changed if len(changed) <= largest else data[:largest]


def _changed(tree: Any, luck: random.Random, scramble: Callable[[bytes, int], bytes]) -> Any:
    places = list(_places(tree))
    if not places:
        return luck.choice(_ODD)
    holder, key = luck.choice(places)
    match luck.randrange(6):
        case 0:
            holder[key] = luck.choice(_ODD)
        case 1:
            del holder[key]
        case 2:
            other, name = luck.choice(places)
            holder[key] = orjson.loads(orjson.dumps(other[name])) if name in _keys(other) else None
        case 3 if isinstance(holder, list):
            holder.insert(key, holder[key])
        case 4 if isinstance(holder, dict):
            holder[scramble(key.encode(), 64).decode("utf-8", "replace")] = holder[key]
        case _:
            holder[key] = _scalar(holder[key], luck, scramble)
    return tree


def _scalar(value: Any, luck: random.Random, scramble: Callable[[bytes, int], bytes]) -> Any:
    if isinstance(value, str):
        return scramble(value.encode(), len(value) * 4 + 64).decode("utf-8", "replace")
    if isinstance(value, int) and not isinstance(value, bool):
        return max(-(2**63), min(value + luck.choice((-1, 1, -(10**6), 10**6, 10**12, value)), 2**64 - 1))
    return [value, value]


def _places(tree: Any) -> Any:
    """(holder, key or index) of every value within."""
    for key in _keys(tree):
        yield tree, key
        yield from _places(tree[key])


def _keys(tree: Any) -> Any:
    return list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
