"""A SentencePiece model file, read field by field before native code sees it; it refuses what is not well-formed.

Format: the protocol buffer ModelProto of github.com/google/sentencepiece, `src/sentencepiece_model.proto`.
"""

import struct
from collections.abc import Iterator

from voxpop.errors import VoxpopError
from voxpop.weights.formats.gguf_keys import Pieces

SIZE_MAX = 32 << 20  # Grok-1's has 2.2 MB
PIECES_MAX = 1 << 20
_PIECE_MAX = 1024  # bytes
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
_CURE = "Give the tokenizer.model of the model, or fetch it again: voxpop weights tokenizer"
_Value = int | bytes
_KINDS = range(1, 7)
# Fields of ModelProto, then of its parts.
_PIECES, _TRAINER, _NORMALIZER, _DENORMALIZER = 1, 2, 3, 5
_UNKNOWN, _BOS, _EOS, _PADDING = 40, 41, 42, 43
_RULES, _PREFIX = 2, 3


def pieces_of(model: bytes) -> Pieces:
    """The vocabulary of a model file: what a GGUF file needs of it.

    Raises VoxpopError where the bytes are no such file, or where its text would be changed before it is cut into
    pieces (rules of normalisation): llama.cpp knows no such rules, and they are native code's to read.
    """
    if not 0 < len(model) <= SIZE_MAX or model[:1] != b"\x0a":
        raise _bad(f"{len(model)} bytes that do not begin with a piece")
    texts: list[str] = []
    scores: list[float] = []
    kinds: list[int] = []
    trainer: dict[int, _Value] = {}
    normalizer: dict[int, _Value] = {}
    for number, value in _fields(model):
        match number, value:
            case (1, bytes()):
                text, score, kind = _piece(value)
                texts.append(text)
                scores.append(score)
                kinds.append(kind)
            case (2, bytes()):
                trainer = dict(_fields(value))
            case (3 | 5, bytes()):
                part = dict(_fields(value))
                if part.get(_RULES):
                    raise _bad("rules that change the text")
                normalizer = part if number == _NORMALIZER else normalizer
    if not texts or len(texts) > PIECES_MAX or len(set(texts)) < len(texts):
        raise _bad(f"{len(texts)} pieces, or one of them twice")
    return Pieces(
        texts,
        scores,
        kinds,
        bos=_token(trainer, _BOS, 1, len(texts)),
        eos=_token(trainer, _EOS, 2, len(texts)),
        unknown=_token(trainer, _UNKNOWN, 0, len(texts)),
        padding=_token(trainer, _PADDING, -1, len(texts)),
        add_space_prefix=bool(normalizer.get(_PREFIX, 1)),
    )


def _piece(data: bytes) -> tuple[str, float, int]:
    fields = dict(_fields(data))
    text, score, kind = fields.get(1, b""), fields.get(2, b"\0\0\0\0"), fields.get(3, 1)
    if not isinstance(text, bytes) or not isinstance(score, bytes) or not 0 < len(text) <= _PIECE_MAX:
        raise _bad("a piece without a text or score")
    if kind not in _KINDS or len(score) != 4:
        raise _bad(f"a piece of the kind {kind!r}")
    try:
        return text.decode(), struct.unpack("<f", score)[0], int(kind)
    except UnicodeDecodeError as error:
        raise _bad("a piece that is no UTF-8") from error


def _token(trainer: dict[int, _Value], field: int, default: int, size: int) -> int | None:
    value = trainer.get(field, default)
    if not isinstance(value, int) or value in (-1, (1 << 64) - 1):
        return None  # -1: there is no such token
    if not 0 <= value < size:
        raise _bad(f"the special token {value} among {size} pieces")
    return value


def _fields(data: bytes) -> Iterator[tuple[int, _Value]]:
    """Number and value of each field; a fixed one as its bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        wire = key & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        size = {_EIGHT: 8, _FOUR: 4}.get(wire)
        if wire == _BYTES:
            size, at = _varint(data, at)
        if size is None or size > len(data) - at:
            raise _bad("a field that goes on behind the end")
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for count in range(10):
        if at + count >= len(data):
            break
        byte = data[at + count]
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value, at + count + 1
    raise _bad("a number that does not end")


def _bad(what: str) -> VoxpopError:
    return VoxpopError(f"This is no SentencePiece model: it has {what}.", _CURE, code="bad_tokenizer")
