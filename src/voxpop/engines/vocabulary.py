"""Text to tokens and back, byte for byte, by what a GGUF file says; a tokenizer that it does not know is refused.

Two kinds: byte-level BPE (`gpt2`), and SentencePiece's BPE with scores and bytes (`llama`), as Grok-1 has it.
"""

import re
from collections.abc import Iterator
from typing import Any, Protocol

from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from voxpop.engines.gguf_file import Card, readable
from voxpop.errors import VoxpopError

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SPLITS = {
    "qwen2": rf"{_CONTRACTIONS}|{_WORDS}|\p{{N}}|{_REST}",
    "llama-bpe": rf"{_CONTRACTIONS}|{_WORDS}|\p{{N}}{{1,3}}|{_REST}",
}
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = range(1, 7)
_SPACE = "\u2581"
_MARK = re.compile(r"<[^<>\s]+>|\[[^\[\]\s]+\]")


class _Words(Protocol):
    """One kind of vocabulary."""

    special: dict[str, int]
    bytes_of: list[bytes]

    def encode(self, text: str, *, begins: bool) -> list[int]:
        """Tokens of a text without marks; `begins` where nothing stands before it."""
        ...


class Vocabulary:
    """Text to tokens and back; a special token inside a message's text is only text."""

    def __init__(self, card: Card) -> None:
        said = card.values
        kind, split = said.get("tokenizer.ggml.model"), str(said.get("tokenizer.ggml.pre", "default"))
        with readable(card.name):
            self._words = _words(str(kind), split, said)
            self.special, self.bytes_of = self._words.special, self._words.bytes_of
            self.marks = frozenset(self.special.values())
            self.end_tokens = self._ends(int(said["tokenizer.ggml.eos_token_id"]))
        self._marks = re.compile("|".join(map(re.escape, sorted(self.special, key=len, reverse=True))) or "(?!)")

    def encode(self, text: str, *, specials: bool = False, begins: bool = True) -> list[int]:
        """Tokens of `text`; the names of special tokens are read as such only where `specials` says so.

        `begins`: no text stands before it. SentencePiece begins a text with a space.
        """
        if not specials:
            return self._words.encode(text, begins=begins)
        tokens: list[int] = []
        at = 0
        for mark in self._marks.finditer(text):
            tokens += self._words.encode(text[at : mark.start()], begins=begins)
            begins = begins and mark.start() == at
            tokens.append(self.special[mark.group()])
            at = mark.end()
        return tokens + self._words.encode(text[at:], begins=begins)

    def _ends(self, named_end: int) -> frozenset[int]:
        named = ("<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end_of_text|>")
        ends = {self.special[name] for name in named if name in self.special}
        return frozenset(ends | {named_end})


def _words(kind: str, split: str, said: dict[str, Any]) -> _Words:
    if kind == "llama":
        return _SentencePiece(said)
    if kind == "gpt2" and (split in _SPLITS or split == "smollm"):
        return _ByteLevel(said, split)
    raise VoxpopError(
        f"The file has the tokenizer '{kind}/{split}'.",
        "Choose a model of 'voxpop models list', or serve it elsewhere and use --engine openai.",
    )


class _ByteLevel:
    """Bytes written as printable characters, cut by a pattern, merged by rank (GPT-2's tokenizer)."""

    def __init__(self, said: dict[str, Any], split: str) -> None:
        written: list[str] = said["tokenizer.ggml.tokens"]
        kinds: list[int] = said["tokenizer.ggml.token_type"]
        merges = [tuple(merge.split(" ", 1)) for merge in said["tokenizer.ggml.merges"]]
        self._bpe = Tokenizer(models.BPE({token: i for i, token in enumerate(written)}, merges))
        self._bpe.pre_tokenizer = _split(split)
        self.special = {
            t: i for i, (t, k) in enumerate(zip(written, kinds, strict=True)) if k in (_CONTROL, _USER_DEFINED)
        }
        plain = _byte_of_character()
        self.bytes_of = [
            token.encode() if k != _NORMAL else bytes(plain[c] for c in token)
            for token, k in zip(written, kinds, strict=True)
        ]

    def encode(self, text: str, *, begins: bool) -> list[int]:
        return list(self._bpe.encode(text).ids)


class _SentencePiece:
    """Characters merged by the scores of the pieces, a space written as U+2581, bytes for what has no piece.

    Pieces that the user defined stand for themselves wherever they occur, save those that look like a mark
    (`<|separator|>`): a post that writes one must not speak for the prompt.
    """

    def __init__(self, said: dict[str, Any]) -> None:
        written: list[str] = said["tokenizer.ggml.tokens"]
        kinds: list[int] = said["tokenizer.ggml.token_type"]
        scores: list[float] = said["tokenizer.ggml.scores"]
        self._prefix = _SPACE if said.get("tokenizer.ggml.add_space_prefix", True) else ""
        rows = list(zip(written, kinds, range(len(written)), strict=True))
        self.special = {
            text: i
            for text, kind, i in rows
            if kind in (_UNKNOWN, _CONTROL, _UNUSED) or (kind == _USER_DEFINED and _MARK.fullmatch(text))
        }
        # Those with a space in them (Grok-1 has some) match nothing, as in SentencePiece: by then it is U+2581.
        self._own = {text: i for text, kind, i in rows if kind == _USER_DEFINED and text not in self.special}
        self._cuts = re.compile("|".join(map(re.escape, sorted(self._own, key=len, reverse=True))) or "(?!)")
        ids = {text: i for text, kind, i in rows if kind in (_NORMAL, _BYTE)}
        unknown = next((text for text, kind, _ in rows if kind == _UNKNOWN), None)
        if unknown is not None:
            ids[unknown] = self.special[unknown]
        normal = [(text, scores[i]) for text, kind, i in rows if kind == _NORMAL]
        merges = list(_merges(normal))
        self._bpe = Tokenizer(models.BPE(ids, merges, unk_token=unknown, fuse_unk=True, byte_fallback=True))
        self.bytes_of = [_bytes(text, kind) for text, kind, _ in rows]

    def encode(self, text: str, *, begins: bool) -> list[int]:
        if not text:
            return []
        text = (self._prefix if begins else "") + text.replace(" ", _SPACE)
        tokens: list[int] = []
        at = 0
        for own in self._cuts.finditer(text):
            tokens += self._bpe.encode(text[at : own.start()]).ids
            tokens.append(self._own[own.group()])
            at = own.end()
        return tokens + list(self._bpe.encode(text[at:]).ids)


def _merges(pieces: list[tuple[str, float]]) -> Iterator[tuple[str, str]]:
    """Every pair that makes a piece, the best piece first: SentencePiece merges by score, then from the left."""
    known = {text for text, _ in pieces}
    for text, _ in sorted(pieces, key=lambda piece: -piece[1]):
        for at in range(1, len(text)):
            if text[:at] in known and text[at:] in known:
                yield text[:at], text[at:]


def _bytes(text: str, kind: int) -> bytes:
    if kind == _BYTE:
        return bytes([int(text[3:-1], 16)])
    return text.replace(_SPACE, " ").encode() if kind in (_NORMAL, _USER_DEFINED) else text.encode()


def _split(name: str) -> Any:
    if name == "smollm":
        return pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(False, use_regex=True)]
        )
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLITS[name]), "isolated"),
            pre_tokenizers.ByteLevel(False, use_regex=False),
        ]
    )


def _byte_of_character() -> dict[str, int]:
    """The inverse of the byte-level alphabet: printable bytes stand for themselves, the others follow U+0100."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(b): b for b in shown} | {chr(0x100 + i): b for i, b in enumerate(hidden)}
