"""Read an engine's stream as drafts: sentences with the posts that they cite; a marker is never passed on as text.

`[1]`, `[1, 2]` and brackets of full width are markers, wherever in a sentence they stand.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from voxpop.inert import visible
from voxpop.text import ABBREVIATION, MARK, unmarked, words

_SLOT = "\ue000"
_MOVED = re.compile(rf"(?<![.!?…。！？])([.!?…。！？]+[\"”’»」)]*)((?:\s*{_SLOT})+)")
_CUT = re.compile(r"(?:(?<=[.!?…])|(?<=[.!?…][\"”’»)]))\s+|(?<=[。！？])(?![」』）])")
# "Yes, …": what follows says it all, and is checked; the yes could not be.
_PARTICLE = re.compile(r"(^|: )(?:Yes|No|Oui|Non|Sí|Ja|Nein|Sim|Não), ")
_BULLET = re.compile(r"\s*(?:[-*•–]\s+)*")
_MARK_BEGUN = re.compile(r"[\[［【〔][\s\d,;、]{0,40}")
_PAIRS = (("“", "”"), ("«", "»"), ("「", "」"), ("„", "“"))


@dataclass(frozen=True, slots=True)
class Draft:
    """A sentence as an engine wrote it, its `[n]` markers taken out and read."""

    text: str
    citations: tuple[int, ...]


class Lines:
    """Cut an engine's stream into drafts as its lines end; a marker is read, never passed on as text."""

    def __init__(self) -> None:
        self._rest = ""

    def feed(self, text: str) -> Iterator[Draft]:
        """The drafts of the lines that `text` completes."""
        *whole, self._rest = (self._rest + text).split("\n")
        for line in whole:
            yield from read_line(line)

    def end(self) -> Iterator[Draft]:
        """What is left when the stream has ended."""
        rest, self._rest = self._rest, ""
        yield from read_line(rest)


class Unmarked:
    """A stream of text in which nothing may look like a citation; a mark that is cut in two is held back."""

    def __init__(self) -> None:
        self._rest = ""

    def feed(self, text: str) -> str:
        """What may be shown by now."""
        text = self._rest + text
        opened = max(text.rfind(mark) for mark in "[［【〔")
        cut = opened if opened >= 0 and _MARK_BEGUN.fullmatch(text, opened) else len(text)
        self._rest = text[cut:]
        return unmarked(text[:cut])

    def end(self) -> str:
        """What was held back when the stream has ended."""
        rest, self._rest = self._rest, ""
        return unmarked(rest)


def read_line(line: str) -> list[Draft]:
    """The sentences of a line; one without a marker is held to those of the next, or of the last."""
    line = visible(line)
    cited = [tuple(int(n) for n in re.findall(r"\d+", mark)) for mark in MARK.findall(line)]
    pieces = _pieces(_MOVED.sub(r"\2\1", _BULLET.sub("", MARK.sub(_SLOT, line), count=1)))
    drafts: list[Draft] = []
    waiting = iter(cited)
    for piece in pieces:
        citations = tuple(dict.fromkeys(n for _ in range(piece.count(_SLOT)) for n in next(waiting)))
        text = re.sub(rf"\s*{_SLOT}\s*(?=\w|[.,]\d)", " ", piece)
        text = _without_particle(re.sub(rf"\s*{_SLOT}", "", text).strip())
        if words(text):
            drafts.append(Draft(text, citations))
    return _held(drafts)


def _without_particle(text: str) -> str:
    rest = _PARTICLE.sub(r"\1", text)
    return rest if rest == text else rest[:1].upper() + rest[1:]


def _pieces(line: str) -> list[str]:
    """A line cut at its sentences' ends, but not inside a quotation."""
    out, begin = [], 0
    for cut in _CUT.finditer(line):
        piece = line[begin : cut.start()]
        if not (_is_open(piece) or ABBREVIATION.search(piece[-24:])):
            out.append(piece)
            begin = cut.end()
    return [*out, line[begin:]]


def _is_open(text: str) -> bool:
    if "„" in text:
        return text.count("„") > text.count("“") - text.count("”")
    return text.count('"') % 2 == 1 or any(text.count(a) > text.count(b) for a, b in _PAIRS[:3])


def _held(drafts: list[Draft]) -> list[Draft]:
    for order in (range(len(drafts) - 2, -1, -1), range(1, len(drafts))):
        for i in order:
            if not drafts[i].citations:
                neighbour = drafts[i + 1 if order.step < 0 else i - 1]
                drafts[i] = Draft(drafts[i].text, neighbour.citations)
    return drafts
