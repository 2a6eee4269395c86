"""Read the line that names a source, such as `replay:PATH?speed=max`; it refuses an unknown kind or option.

A `Kind` is all that a network needs to be named there: what it is about, which options it takes, how to open it. A
package offers its own under the entry point group `voxpop.sources`; ours use nothing else.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal, NamedTuple
from urllib.parse import parse_qsl

from voxpop.errors import UsageError
from voxpop.sources import Source

GROUP = "voxpop.sources"


@dataclass(frozen=True, slots=True)
class Spec:
    """A source as a person writes it: its kind, what follows the colon, and the options after the question mark."""

    kind: str
    target: str = ""
    options: dict[str, str] = field(default_factory=dict)


class Kind(NamedTuple):
    """A kind of source.

    `target` says whether something follows the colon, `shape` how a person writes it, `check` raises UsageError for
    a spec that cannot be, before anything is opened. `opens` takes the spec and what the program knows of reaching
    sources (`voxpop.sources.auto.Ways`).
    """

    about: str
    shape: str
    opens: Callable[[Spec, Any], Awaitable[Source]]
    target: Literal["none", "may", "must"] = "none"
    options: tuple[str, ...] = ()
    check: Callable[[Spec], object] = lambda _: None


def parse(text: str, kinds: Mapping[str, Kind]) -> Spec:
    """Read a spec, or raise UsageError that says what is wrong with it and what may have been meant."""
    text = text.strip()
    name, colon, rest = text.partition(":")
    if not colon:
        name, _, query = name.partition("?")
        target = ""
    else:
        target, query = _split(rest, kinds.get(name))
    if name not in kinds:
        raise UsageError(f"No source is called {text!r}.", meant(name, tuple(kinds)))
    kind = kinds[name]
    if (kind.target == "must" and not target) or (kind.target == "none" and target):
        raise UsageError(f"Source {text!r} is incomplete or too long.", f"Write it as {kind.shape!r}.")
    options = dict(parse_qsl(query, keep_blank_values=True))
    for option in options:
        if option not in kind.options:
            raise UsageError(f"Source {name!r} has no option {option!r}.", meant(option, kind.options))
    spec = Spec(name, target, options)
    try:
        kind.check(spec)
    except ValueError as error:  # what urllib says of an address such as https://[
        raise UsageError(f"Source {text!r} cannot be: {error}.", f"Write it as {kind.shape!r}.") from error
    return spec


def meant(word: str, known: tuple[str, ...]) -> str:
    """The known word that is nearest, or all of them."""
    close = get_close_matches(word, known, 1)
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"Known: {', '.join(known)}." if known else "It takes none."


def _split(rest: str, kind: Kind | None) -> tuple[str, str]:
    """A question mark that opens none of the kind's options belongs to the target: addresses have their own."""
    target, mark, query = rest.rpartition("?")
    if not mark or kind is None:
        return rest, ""
    options = [name for name, _ in parse_qsl(query, keep_blank_values=True)]
    address = "://" in target and not set(options) & set(kind.options)
    return (rest, "") if address else (target, query)
