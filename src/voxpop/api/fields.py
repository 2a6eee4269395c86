"""Read single fields of a body from a stranger; what cannot be is refused with the field's name and the cure."""

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from voxpop.errors import FieldError


def told(value: Any) -> str:
    """A value from a stranger for an error's text: short, whatever it is."""
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else f"{value[:40]}…")
    if value is None or isinstance(value, bool):
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**64):
        return repr(value)
    return "a list" if isinstance(value, list) else "an object" if isinstance(value, dict) else "such a number"


def refuse(param: str, what: str, cure: str, *, code: str = "bad_usage") -> NoReturn:
    """Raises FieldError."""
    raise FieldError(param, what, cure, code=code)


def number(body: Mapping[str, Any], name: str, default: Any, low: Any, high: Any) -> Any:
    """A number from `low` to `high`, whole where the default is; absent or null is the default."""
    value = body.get(name)
    if value is None:
        return default
    whole = isinstance(default, int)
    kinds: Any = int if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        kind = "a whole number" if whole else "a number"
        refuse(name, f"'{name}' cannot be {told(value)}.", f"Give {kind} from {low} to {high}.")
    return value if whole else float(value)


def flag(body: Mapping[str, Any], name: str) -> bool:
    """True or false; absent or null is false."""
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        refuse(name, f"'{name}' cannot be {told(value)}.", "Give true or false.")
    return bool(value)


def text(body: Mapping[str, Any], name: str, default: str | None = None) -> str:
    """A text; where there is no default it must be there."""
    value = body.get(name, default)
    if not isinstance(value, str):
        what = f"'{name}' is missing." if value is None else f"'{name}' cannot be {told(value)}."
        refuse(name, what, "Give a text.")
    return value


def only(body: Any, names: Sequence[str]) -> Mapping[str, Any]:
    """The body, an object of these fields and no other: one that is mistyped must not be passed over."""
    if not isinstance(body, dict):
        refuse("", f"The body cannot be {told(body)}.", "Send a JSON object.")
    for name in body:
        if name not in names:
            refuse(name[:60], f"There is no field {told(name)}.", f"Use: {', '.join(names)}.")
    return body
