"""Choose tokens by a grammar, a temperature and a seed, guessing ahead; never one outside the grammar."""

import codecs
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson
from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper
from llguidance.gbnf_to_lark import gbnf_to_lark
from numpy.typing import NDArray

from voxpop.engines.gguf_file import Vocabulary
from voxpop.errors import UsageError

_GUESS = 4
_MATCHES = (3, 2)


class Grammars:
    """Makes the matcher of a GBNF grammar or a JSON schema, over one vocabulary."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._tokenizer = LLTokenizer(TokenizerWrapper(_Tokens(vocabulary)), eos_token=min(vocabulary.end_tokens))

    def matcher(self, grammar: str | None, schema: Mapping[str, Any] | None) -> "Matcher | None":
        """The constraint, or None where there is none. Raises UsageError where it cannot be read."""
        if grammar:
            try:
                written = gbnf_to_lark(grammar)
            except Exception as error:  # the converter raises bare Exceptions
                raise UsageError(f"The grammar cannot be read: {error}.", "Write it as GBNF.") from error
        elif schema is not None:
            written = LLMatcher.grammar_from_json_schema(
                orjson.dumps(schema).decode(), overrides={"whitespace_flexible": False}
            )
        else:
            return None
        matcher = LLMatcher(self._tokenizer, written, log_level=0)
        if matcher.is_error():
            raise UsageError(f"The grammar cannot be used: {matcher.get_error()}.", "Simplify it.")
        return Matcher(matcher)


class Matcher:
    """Where a text stands in its grammar."""

    def __init__(self, matcher: LLMatcher) -> None:
        self._matcher = matcher

    def allowed(self, size: int) -> NDArray[np.bool_]:
        """Which of `size` tokens may come next."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        allowed = np.zeros(size, np.bool_)
        found = np.unpackbits(bits, bitorder="little")[:size]
        allowed[: len(found)] = found
        return allowed

    def take(self, token: int) -> bool:
        """Accept a token; False where nothing may follow it."""
        return self._matcher.consume_token(token) and not self._matcher.is_stopped()


class Chooser:
    """The next token of a row of logits: the likeliest at temperature 0, else drawn by `seed`."""

    def __init__(self, temperature: float, seed: int, matcher: Matcher | None) -> None:
        self._temperature = temperature
        self._random = np.random.default_rng(seed)
        self._matcher = matcher

    def choose(self, logits: NDArray[np.float32]) -> tuple[int, bool]:
        """A token, and whether any may follow it."""
        if self._matcher is not None:
            logits = np.where(self._matcher.allowed(len(logits)), logits, -np.inf)
        token = int(logits.argmax()) if self._temperature <= 0 else self._draw(logits)
        return token, self._matcher is None or self._matcher.take(token)

    def _draw(self, logits: NDArray[np.float32]) -> int:
        scaled = (logits.astype(np.float64) - float(logits.max())) / self._temperature
        odds = np.exp(scaled)
        return int(self._random.choice(len(odds), p=odds / odds.sum()))


class Guesser:
    """Guess the next tokens by what followed the same two or three tokens before: answers copy the posts."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self._tokens: list[int] = []
        self._after: dict[tuple[int, ...], int] = {}
        for token in tokens:
            self.add(token)

    def add(self, token: int) -> None:
        """The text goes on with `token`."""
        for size in _MATCHES:
            if len(self._tokens) >= size:
                self._after[tuple(self._tokens[-size:])] = len(self._tokens)
        self._tokens.append(token)

    def guess(self, most: int = _GUESS) -> list[int]:
        """At most `most` tokens, none where the last ones are new."""
        for size in _MATCHES:
            at = self._after.get(tuple(self._tokens[-size:]))
            if at is not None:
                return self._tokens[at : at + min(most, _GUESS if size == max(_MATCHES) else 2)]
        return []


class Writer:
    """Bytes of tokens to text that is safe to show: whole characters, and nothing of a stop string."""

    def __init__(self, stop: Sequence[str]) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stop = tuple(s for s in stop if s)
        self._held = ""
        self.stopped = False

    def write(self, data: bytes, *, last: bool = False) -> str:
        """What can be shown now; the rest is held until it cannot become a stop string."""
        self._held += self._decoder.decode(data, last)
        ends = [at for s in self._stop if (at := self._held.find(s)) >= 0]
        if ends:
            self.stopped = True
            shown, self._held = self._held[: min(ends)], ""
            return shown
        held = 0 if last else max((_overlap(self._held, s) for s in self._stop), default=0)
        cut = len(self._held) - held
        shown, self._held = self._held[:cut], self._held[cut:]
        return shown


def _overlap(text: str, stop: str) -> int:
    """How many last characters of `text` may begin `stop`."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)


class _Tokens:
    """A vocabulary in the form that llguidance asks for."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.eos_token_id = min(vocabulary.end_tokens)
        self.bos_token_id = None
        self.tokens = vocabulary.bytes_of
        self.special_token_ids = sorted(vocabulary.special.values())
        self._vocabulary = vocabulary

    def __call__(self, text: bytes | str) -> list[int]:
        if isinstance(text, bytes):
            text = text.decode("utf-8", "replace")
        return self._vocabulary.encode(text)
