"""Read what a GGUF file says of its model, its tokens and its chat template; weights are read in blocks of rows.

It refuses an architecture or tokenizer that it does not know; the template runs in a sandbox only.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import orjson
from jinja2.exceptions import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from voxpop.engines.gguf_bounded import Bounded
from voxpop.errors import VoxpopError
from voxpop.messages import Message

_ARCHITECTURES = ("llama", "qwen2", "qwen3")
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SPLITS = {
    "qwen2": rf"{_CONTRACTIONS}|{_WORDS}|\p{{N}}|{_REST}",
    "llama-bpe": rf"{_CONTRACTIONS}|{_WORDS}|\p{{N}}{{1,3}}|{_REST}",
}
_CARD_KEYS = tuple(
    f"tokenizer.{key}"
    for key in (
        "chat_template",
        *(f"ggml.{k}" for k in ("model", "pre", "tokens", "token_type", "merges", "bos_token_id", "eos_token_id")),
    )
)
_BLOCK_ROWS = 4096
_CONTROL, _USER_DEFINED = 3, 4


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a transformer, under the names that the literature gives them."""

    architecture: str
    layers: int
    width: int
    heads: int
    kv_heads: int
    head_width: int
    feed_forward: int
    context: int
    rope_base: float
    norm_epsilon: float


@dataclass(frozen=True, slots=True)
class Card:
    """What a file says, without its weights: a GGUF takes seconds to read, its card a few hundredths."""

    name: str
    shape: Shape
    values: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> "Card":
        """A card that `write` wrote."""
        row = orjson.loads(path.read_bytes())
        return cls(row["name"], Shape(**row["shape"]), row["values"])

    def write(self, path: Path) -> None:
        """Keep it at `path`."""
        path.write_bytes(orjson.dumps(asdict(self)))


class GgufFile:
    """An open GGUF file of architecture llama, qwen2 or qwen3. Raises VoxpopError where it is anything else."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with _readable(str(path)):
            self._reader = Bounded(path)
            self._tensors = {tensor.name: tensor for tensor in self._reader.tensors}
            self.shape = self._read_shape()

    def value(self, key: str, default: Any = None) -> Any:
        """A metadata value, or `default`."""
        field = self._reader.fields.get(key)
        return default if field is None else field.contents()

    def card(self) -> Card:
        """Its card."""
        with _readable(self.path.name):
            found = {key: self.value(key) for key in _CARD_KEYS}
        return Card(self.path.name, self.shape, {k: v for k, v in found.items() if v is not None})

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    @property
    def names(self) -> tuple[str, ...]:
        """Every tensor."""
        return tuple(self._tensors)

    def size(self, name: str) -> tuple[int, ...]:
        """A tensor's dimensions, rows first."""
        return tuple(int(n) for n in reversed(self._tensors[name].shape))

    def vector(self, name: str) -> NDArray[np.float32]:
        """A small tensor whole."""
        tensor = self._tensors[name]
        return gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32).reshape(self.size(name))

    def blocks(self, name: str, rows: int = _BLOCK_ROWS) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """A matrix in blocks of at most `rows` rows: (first row, values)."""
        tensor = self._tensors[name]
        for first in range(0, self.size(name)[0], rows):
            data = gguf.dequantize(tensor.data[first : first + rows], tensor.tensor_type)
            yield first, data.astype(np.float32, copy=False)

    def _read_shape(self) -> Shape:
        architecture = str(self.value("general.architecture", "?"))
        if architecture not in _ARCHITECTURES:
            raise VoxpopError(
                f"'{self.path.name}' has the architecture '{architecture}'.",
                f"Choose a model of {', '.join(_ARCHITECTURES)}, or serve it elsewhere and use --engine openai.",
            )

        def number(key: str, default: Any = None) -> Any:
            found = self.value(f"{architecture}.{key}", default)
            if found is None:
                raise VoxpopError(f"'{self.path.name}' does not give {key}.", "Pull the model again.")
            return found

        width, heads = int(number("embedding_length")), int(number("attention.head_count"))
        return Shape(
            architecture,
            int(number("block_count")),
            width,
            heads,
            int(number("attention.head_count_kv", heads)),
            int(number("attention.key_length", width // heads)),
            int(number("feed_forward_length")),
            int(number("context_length")),
            float(number("rope.freq_base", 10_000.0)),
            float(number("attention.layer_norm_rms_epsilon")),
        )


class Vocabulary:
    """Text to tokens and back, byte for byte; a special token inside a message's text is only text."""

    def __init__(self, card: Card) -> None:
        said = card.values
        kind, split = said.get("tokenizer.ggml.model"), str(said.get("tokenizer.ggml.pre", "default"))
        if kind != "gpt2" or (split not in _SPLITS and split != "smollm"):
            raise VoxpopError(
                f"'{card.name}' has the tokenizer '{kind}/{split}'.",
                "Choose a model of 'voxpop models list', or serve it elsewhere and use --engine openai.",
            )
        with _readable(card.name):
            self._fill(said, split)

    def _fill(self, said: dict[str, Any], split: str) -> None:
        written: list[str] = said["tokenizer.ggml.tokens"]
        kinds: list[int] = said["tokenizer.ggml.token_type"]
        merges = [tuple(merge.split(" ", 1)) for merge in said["tokenizer.ggml.merges"]]
        self._bpe = Tokenizer(models.BPE({token: i for i, token in enumerate(written)}, merges))
        self._bpe.pre_tokenizer = _split(split)
        self.special = {
            t: i for i, (t, k) in enumerate(zip(written, kinds, strict=True)) if k in (_CONTROL, _USER_DEFINED)
        }
        self._marks = re.compile("|".join(re.escape(t) for t in sorted(self.special, key=len, reverse=True)))
        plain = _byte_of_character()
        self.bytes_of = [
            token.encode() if k != 1 else bytes(plain[c] for c in token)
            for token, k in zip(written, kinds, strict=True)
        ]
        self.end_tokens = self._ends(int(said["tokenizer.ggml.eos_token_id"]))

    def encode(self, text: str, *, specials: bool = False) -> list[int]:
        """Tokens of `text`; the names of special tokens are read as such only where `specials` says so."""
        if not specials:
            return list(self._bpe.encode(text).ids)
        tokens: list[int] = []
        at = 0
        for mark in self._marks.finditer(text):
            tokens += self._bpe.encode(text[at : mark.start()]).ids
            tokens.append(self.special[mark.group()])
            at = mark.end()
        return tokens + list(self._bpe.encode(text[at:]).ids)

    def _ends(self, named_end: int) -> frozenset[int]:
        named = ("<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end_of_text|>")
        ends = {self.special[name] for name in named if name in self.special}
        return frozenset(ends | {named_end})


class Template:
    """The chat template of a model, in a sandbox. Raises VoxpopError where the file has none or it fails."""

    def __init__(self, card: Card) -> None:
        source = card.values.get("tokenizer.chat_template")
        if not source:
            raise VoxpopError(f"'{card.name}' has no chat template.", "Choose an instruct model.")
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.globals["raise_exception"] = _refuse
        try:
            self._template = environment.from_string(source)
        except Exception as error:  # also what is no text, or nests too deep
            raise VoxpopError(f"The chat template cannot be read: {error}.", "Choose another model.") from error
        self._takes_results = '"tool"' in source or "'tool'" in source
        with _readable(card.name):
            tokens = card.values["tokenizer.ggml.tokens"]
            bos = card.values.get("tokenizer.ggml.bos_token_id")
            self._marks = {
                "bos_token": tokens[bos] if bos is not None else "",
                "eos_token": tokens[card.values["tokenizer.ggml.eos_token_id"]],
            }

    def pieces(self, messages: Sequence[Message]) -> list[tuple[str, bool]]:
        """The prompt in order: (text, whether the template wrote it), so that no message can forge a mark."""
        stand_ins = [
            {"role": m.role, "content": f"\ue000{i}\ue001"}
            if m.role != "tool" or self._takes_results
            else {"role": "user", "content": f"Result of the function:\n\ue000{i}\ue001"}
            for i, m in enumerate(messages)
        ]
        try:
            text = self._template.render(
                messages=stand_ins, add_generation_prompt=True, tools=None, enable_thinking=False, **self._marks
            )
        except Exception as error:  # it is a program: it can fail in every way that Python can
            raise VoxpopError(f"The chat template failed: {error}.", "Choose another model.") from error
        parts = re.split("\ue000([0-9]+)\ue001", text)
        return [
            (part, True) if i % 2 == 0 else (_said(messages[int(part)]), False)
            for i, part in enumerate(parts)
            if part
        ]


@contextmanager
def _readable(name: str) -> Iterator[None]:
    """A damaged file can break its readers in any way, and `tokenizers` raises bare Exceptions."""
    try:
        yield
    except VoxpopError:
        raise
    except Exception as error:
        what = f"'{name}' is not a readable GGUF file: {type(error).__name__}: {error}."
        raise VoxpopError(what, "Remove it and pull the model again.") from error


def _refuse(message: str) -> None:
    raise TemplateError(message)


def _said(message: Message) -> str:
    """A message's text, its calls as text too: a template would take them for its own words."""
    made = (f'{{"name": "{c.name}", "arguments": {c.arguments}}}' for c in message.calls)
    return "\n".join(filter(None, [message.content, *(f"<tool_call>\n{call}\n</tool_call>" for call in made)]))


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
