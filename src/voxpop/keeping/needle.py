"""Find a text in a stream of bytes, in every form in which a file may hold it; it never holds a whole file.

Letters and digits of ASCII stand as themselves in any case; each run of another character may also be escaped as
in JSON (`\\u00e9`, `\\/`), in a URL (`%C3%A9`, `+`) or in HTML (`&amp;`); or all is UTF-16. Compressed bytes stay
unread.
"""

import html
import re
import unicodedata
from collections.abc import Iterator
from itertools import groupby
from typing import BinaryIO

import orjson

from voxpop.errors import UsageError

CHUNK = 1 << 20
_SHORTEST, _LONGEST = 4, 4_000
_PLAIN = re.compile("[A-Za-z0-9]+")


class Needle:
    """A text to look for. Raises UsageError for one that is found everywhere, or is longer than any post."""

    def __init__(self, text: str) -> None:
        if len(text.strip().encode("utf-8", "replace")) < _SHORTEST:
            raise UsageError("The text is too short: it would be found by chance.", "Give a few words of it.")
        if len(text) > _LONGEST:
            raise UsageError(f"The text is over {_LONGEST} characters.", "Give one distinctive sentence of it.")
        spellings = {text, unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text)}
        marks = [[_marks(run) for run in _runs(s)] for s in spellings]
        self._marks = re.compile(b"|".join(map(_sequence, marks)))
        wide = [[_wide(run, code) for run in _runs(s)] for s in spellings for code in ("utf-16-le", "utf-16-be")]
        self._wide = re.compile(b"|".join(map(_sequence, wide)))
        # A word that no escape can hide: where it is missing, which costs little to see, nothing else is tried.
        self._words = [max(_PLAIN.findall(s), key=len, default="").lower() for s in spellings]
        self._wide_words = [word.encode(code) for word in self._words for code in ("utf-16-le", "utf-16-be")]
        self.longest = max(sum(max(map(len, run)) for run in runs) for runs in marks + wide)

    def starts(self, data: bytes) -> set[int]:
        """Where each occurrence begins; they may overlap."""
        lowered, found = data.lower(), set[int]()
        if any(word.encode() in lowered for word in self._words):
            found.update(_every(self._marks, lowered))
        if any(word in lowered for word in self._wide_words):
            found.update(_every(self._wide, data))
        return found

    def within(self, data: bytes) -> bool:
        """Whether the bytes hold the text."""
        return bool(self._marks.search(data.lower()) or self._wide.search(data))

    def offsets(self, stream: BinaryIO, chunk: int = CHUNK) -> Iterator[int]:
        """Where each occurrence in a stream begins, in order, at whatever bytes the chunks are cut."""
        kept, at = b"", 0
        while read := stream.read(chunk):
            data = kept + read
            settled = max(0, len(data) - self.longest + 1)  # what starts later may not have ended yet
            yield from (at + start for start in sorted(self.starts(data)) if start < settled)
            kept, at = data[settled:], at + settled
        yield from (at + start for start in sorted(self.starts(kept)))


def _runs(text: str) -> list[str]:
    # One way of escaping for a run: "\\\\" against a row of backslashes would else be tried in 2**n ways.
    return ["".join(run) for _, run in groupby(text)]


def _cases(run: str) -> set[str]:
    cases = {run, run.lower(), run.upper(), run.casefold()}
    return cases | {case.replace("σ", "ς") for case in cases}  # the one letter whose case depends on its place


def _marks(run: str) -> set[bytes]:
    """The ASCII-lowered forms of a run in text that is read byte by byte."""
    if _PLAIN.match(run):
        return {run.lower().encode()}
    forms = set()
    for case in _cases(run):
        raw = case.encode("utf-8", "surrogatepass")
        units = case.encode("utf-16-be", "surrogatepass")
        forms |= {
            raw,
            b"".join(b"%%%02x" % byte for byte in raw),
            b"".join(rb"\u%02x%02x" % (units[i], units[i + 1]) for i in range(0, len(units), 2)),
            html.escape(case).encode("utf-8", "surrogatepass"),
            "".join(f"&#{ord(c)};" for c in case).encode(),
            "".join(f"&#x{ord(c):x};" for c in case).encode(),
        }
    if run[0] == " ":
        forms.add(b"+" * len(run))
    elif run[0] == "/":
        forms.add(rb"\/" * len(run))
    elif run[0] in '"\\' or run[0] < " ":
        forms.add(orjson.dumps(run)[1:-1])
    return {form.lower() for form in forms}


def _wide(run: str, code: str) -> set[bytes]:
    return {case.encode(code, "surrogatepass") for case in _cases(run)}


def _sequence(runs: list[set[bytes]]) -> bytes:
    return b"".join(b"(?:" + b"|".join(map(re.escape, sorted(run))) + b")" for run in runs)


def _every(pattern: "re.Pattern[bytes]", data: bytes) -> Iterator[int]:
    found = pattern.search(data)
    while found:
        yield found.start()
        found = pattern.search(data, found.start() + 1)
