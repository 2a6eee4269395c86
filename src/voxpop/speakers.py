"""Tell in whose name a sentence is told: by a handle, a listed account's name, or "one post"; it checks no fact.

A display name proves nothing: anybody can call himself anything.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from voxpop.inert import line
from voxpop.messages import Passage
from voxpop.signs import sign
from voxpop.text import fold

_OWN = 8  # letters after a speaker by which it is the post's own
_BEFORE, _AFTER = 3, 2  # words between who speaks and the word of saying, in either order


def known_as(passage: Passage) -> re.Pattern[str]:
    """How a sentence may name a passage's author."""
    author = passage.post.author
    return _known_as(author.handle, author.name if passage.listed else "")


@lru_cache(maxsize=512)
def _known_as(handle: str, name: str) -> re.Pattern[str]:
    known = ([f"@?{re.escape(fold(handle))}"] if handle else []) + ([re.escape(fold(name))] if name else [])
    return re.compile(rf"(?<![\w.@])(?:{'|'.join(known)})(?!\w|\.\w)") if known else sign("nameless")


def named_by(text: str, cited: Sequence[Passage]) -> list[Passage]:
    """Whose word a sentence is told as: whom it names, else everybody's where it says "one post" or "people"."""
    flat = fold(text)
    if named := [p for p in cited if _speaks(flat, known_as(p))]:
        return named
    mentioned = any(known_as(p).search(flat) for p in cited if p.post.author.handle)
    theirs = fold(line("\n".join(p.post.text for p in cited)))
    return list(cited) if not mentioned and _speaks(flat, sign("nameless"), theirs) else []


def _speaks(flat: str, speaker: re.Pattern[str], theirs: str = "") -> bool:
    """Whether a word of saying, a colon or a quotation stands beside the speaker, not in a post's own words.

    A post that says "User: …" tells in nobody's name.
    """
    for found in speaker.finditer(flat):
        if flat[found.start() : found.end() + _OWN] in theirs:
            continue
        rest = flat[found.end() :]
        if re.match(r"\s*(?:\([^)]*\)\s*)?(?:[:：「“«]|は|によると|が)", rest):
            return True
        if any(len(gap.split()) <= _BEFORE for gap in _upto_saying(rest)):
            return True
        if any(len(gap.split()) <= _AFTER for gap in _since_saying(flat[: found.start()])):
            return True
    return False


def _upto_saying(rest: str) -> Iterator[str]:
    if found := sign("says").search(rest):
        yield rest[: found.start()]


def _since_saying(before: str) -> Iterator[str]:
    yield from (before[found.end() :] for found in sign("says").finditer(before))
