"""Cut a text into an engine's tokens; together they are the text again, byte for byte."""

import re
from typing import NamedTuple, Protocol, runtime_checkable
from zlib import crc32

from voxpop.engines import Engine

_WORD = re.compile(r"\s*\S+|\s+\Z")


class Piece(NamedTuple):
    """A token: its number in the vocabulary, and its bytes, which may be a part of a character."""

    id: int
    bytes: bytes


@runtime_checkable
class Tokenizing(Protocol):
    """An engine with a vocabulary of its own."""

    def pieces(self, text: str) -> list[Piece]:
        """The tokens of a text."""
        ...


def pieces(engine: Engine, text: str) -> list[Piece]:
    """By the engine's own vocabulary; where it has none, words with the space before them, numbered by CRC-32."""
    if isinstance(engine, Tokenizing):
        return engine.pieces(text)
    return [Piece(crc32(raw), raw) for word in _WORD.findall(text) if (raw := word.encode("utf-8", "replace"))]
