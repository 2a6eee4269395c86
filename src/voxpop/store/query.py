"""Read a search as a person types it; a bound that cannot be read is refused with its cure, never guessed."""

import re

from voxpop.errors import UsageError
from voxpop.store import Query
from voxpop.text import words
from voxpop.times import instant, iso

MAX_CHARS = 1000
_PART = re.compile(r'-?(?:[\w-]+:)?"[^"]*"?|\S+')
_BOUND = re.compile(r"(from|lang|since|until|as-of|min_likes|min_faves):(.*)", re.IGNORECASE | re.DOTALL)
_LANG = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{1,8})*")
_COUNT = re.compile(r"[0-9]{1,15}")
_LATEST = 1 << 62


def parse(text: str, now: int) -> Query:
    """Words, "phrases", -word, from:handle, lang:fr, since: and until: (or as-of:), min_likes:N.

    `now` (microseconds) is what relative times are measured from. An unknown operator is read as words.
    """
    if len(text) > MAX_CHARS:
        raise UsageError(f"The search is {len(text)} characters long.", f"Shorten it to {MAX_CHARS}.")
    read = _Reading(now)
    for part in _PART.findall(text.translate(_QUOTES)):
        read.take(part)
    if read.since is not None and read.until is not None and read.since > read.until:
        between = f"since {iso(read.since)}, until {iso(read.until)}"
        raise UsageError(f"No time lies between the bounds: {between}.", "Put the earlier time in 'since:'.")
    return read.query()


_QUOTES = str.maketrans("“”„«»", '"""""')


class _Reading:
    def __init__(self, now: int) -> None:
        self._now = now
        self._words: list[str] = []
        self._phrases: list[str] = []
        self._excluded: list[str] = []
        self._handles: list[str] = []
        self._lang = ""
        self._min_likes = 0
        self.since: int | None = None
        self.until: int | None = None

    def take(self, part: str) -> None:
        if bound := _BOUND.fullmatch(part):
            self._bound(bound[1].lower(), bound[2].strip('"').strip())
        elif part.startswith("-"):
            if words(part):
                self._excluded.append(part[1:].strip('"'))
        elif part.startswith('"'):
            if words(part):
                self._phrases.append(part.strip('"').strip())
        elif words(part):
            self._words.append(part.strip('"'))

    def _bound(self, name: str, value: str) -> None:
        if name == "from":
            if not value.lstrip("@"):
                raise UsageError("'from:' names no one.", "Write a handle after it, such as from:bbc.co.uk.")
            self._handles.append(value)
        elif name == "lang":
            if not _LANG.fullmatch(value):
                raise UsageError(f"{value!r} is no language.", "Write a code of two letters, such as lang:fr.")
            self._lang = value.partition("-")[0].lower()
        elif name in ("since", "until", "as-of"):
            self._time(name, value)
        else:
            if not _COUNT.fullmatch(value):
                raise UsageError(f"{value!r} is no count of likes.", f"Write a whole number: {name}:100.")
            self._min_likes = int(value)

    def _time(self, name: str, value: str) -> None:
        try:
            at = instant(value, self._now)
        except (ValueError, OverflowError):
            at = -1
        if not 0 <= at < _LATEST:
            cure = f"Write {name}:2026-11-21, {name}:2026-11-21T18:30Z or {name}:-90m."
            raise UsageError(f"{value!r} after '{name}:' is no time.", cure)
        if name == "since":
            self.since = at
        else:
            self.until = at

    def query(self) -> Query:
        return Query(
            words=tuple(dict.fromkeys(self._words)),
            phrases=tuple(dict.fromkeys(self._phrases)),
            excluded=tuple(dict.fromkeys(self._excluded)),
            handles=tuple(dict.fromkeys(self._handles)),
            lang=self._lang,
            since=self.since,
            until=self.until,
            min_likes=self._min_likes,
        )
