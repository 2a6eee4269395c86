"""Choose tokens by a grammar, a temperature and a seed, guessing ahead; never one outside the grammar."""

import codecs
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson
from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper
from llguidance.gbnf_to_lark import gbnf_to_lark
from numpy.typing import NDArray

from voxpop.engines.vocabulary import Vocabulary
from voxpop.errors import UsageError, VoxpopError
from voxpop.messages import Sampling

_GUESS = 4
_MATCHES = (3, 2)
# As most JSON was written that a model has read: without the blanks a small one called nothing in 40 cases of 40.
_LAYOUT: Any = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


class Grammars:
    """Makes the matcher of a GBNF grammar or a JSON schema, over one vocabulary."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._tokenizer = LLTokenizer(TokenizerWrapper(_Tokens(vocabulary)), eos_token=min(vocabulary.end_tokens))
        self._bytes = {token[0] for token in vocabulary.bytes_of if len(token) == 1}

    def matcher(self, grammar: str | None, schema: Mapping[str, Any] | None) -> "Matcher | None":
        """The constraint, or None where there is none. Raises UsageError where it cannot be read."""
        if grammar:
            try:
                written = gbnf_to_lark(grammar)
            except Exception as error:  # the converter raises bare Exceptions
                raise UsageError(f"The grammar cannot be read: {error}.", "Write it as GBNF.") from error
        elif schema is not None:
            written = self._of_schema(schema)
        else:
            return None
        matcher = LLMatcher(self._tokenizer, written, log_level=0)
        if matcher.is_error():
            why = _first_line(matcher.get_error())
            if schema is not None and not grammar:
                raise _unsupported(why)
            raise UsageError(f"The grammar cannot be used: {why}.", "Simplify it.")
        return Matcher(matcher)

    def _of_schema(self, schema: Mapping[str, Any]) -> str:
        try:
            text = orjson.dumps(dict(schema))
            if strange := {byte for byte in text if byte >= 0x80} - self._bytes:
                raise ValueError(f"the model has no token for the byte {min(strange):#x} of a character in it")
            return LLMatcher.grammar_from_json_schema(text.decode(), overrides=_LAYOUT)
        except (TypeError, ValueError) as error:
            raise _unsupported(_first_line(str(error))) from error


def _unsupported(why: str) -> UsageError:
    return UsageError(f"The JSON schema cannot be followed: {why}.", "Simplify it.", code="unsupported")


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0][:200].rstrip(".") if text.strip() else "no reason given"


class Matcher:
    """Where a text stands in its grammar."""

    def __init__(self, matcher: LLMatcher) -> None:
        self._matcher = matcher

    def allowed(self, size: int) -> NDArray[np.bool_]:
        """Which of `size` tokens may come next. Raises VoxpopError where the grammar is too wide to be followed."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        allowed = np.zeros(size, np.bool_)
        found = np.unpackbits(bits, bitorder="little")[:size]
        allowed[: len(found)] = found
        self._sound(bool(allowed.any()))
        return allowed

    def take(self, token: int) -> bool:
        """Accept a token; False where nothing may follow it. Raises VoxpopError as `allowed` does."""
        self._sound(self._matcher.consume_token(token))
        return not self._matcher.is_stopped()

    def _sound(self, well: bool) -> None:
        if not well or self._matcher.is_error():
            raise VoxpopError(
                f"The grammar could not be followed: {self._matcher.get_error() or 'no token fits'}.",
                "Simplify the schema.",
                code="engine_failed",
            )


class Chosen(NamedTuple):
    """A token, whether any may follow it, its natural log probability by the model alone, and the likeliest."""

    token: int
    goes_on: bool
    logprob: float = 0.0
    top: tuple[tuple[int, float], ...] = ()


class Chooser:
    """The next token of a row of logits: the likeliest at temperature 0, else drawn by the seed.

    Penalties lower what was written before, temperature flattens, and of the rest the likeliest `top_p` are drawn
    from. The probabilities that are told are the model's, before all of that and without the grammar.
    """

    def __init__(self, sampling: Sampling, matcher: Matcher | None) -> None:
        self._sampling = sampling
        self._random = np.random.default_rng(abs(sampling.seed) * 2 + (sampling.seed < 0))
        self._matcher = matcher
        self._written: Counter[int] = Counter()
        self.tells = sampling.logprobs is not None

    def choose(self, logits: NDArray[np.float32]) -> Chosen:
        """One token of these logits [vocabulary]."""
        odds = logits
        if self._written and (self._sampling.frequency_penalty or self._sampling.presence_penalty):
            odds = self._penalised(odds)
        if self._matcher is not None:
            odds = np.where(self._matcher.allowed(len(odds)), odds, -np.inf)
        token = int(odds.argmax()) if self._sampling.temperature <= 0 else self._draw(odds)
        self._written[token] += 1
        goes_on = self._matcher is None or self._matcher.take(token)
        if self._sampling.logprobs is None:
            return Chosen(token, goes_on)
        return Chosen(token, goes_on, *_probabilities(logits, token, self._sampling.logprobs))

    def _penalised(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        written = np.fromiter(self._written, np.int64)
        counts = np.fromiter(self._written.values(), np.float32)
        lowered = logits.copy()
        lowered[written] -= self._sampling.frequency_penalty * counts + self._sampling.presence_penalty
        return lowered

    def _draw(self, logits: NDArray[np.float32]) -> int:
        scaled = (logits.astype(np.float64) - float(logits.max())) / self._sampling.temperature
        odds = np.exp(scaled)
        odds /= odds.sum()
        if self._sampling.top_p < 1:
            odds = _nucleus(odds, self._sampling.top_p)
        return int(self._random.choice(len(odds), p=odds))


def _nucleus(odds: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """The fewest likeliest that have `share` of all between them; at least one."""
    order = np.argsort(-odds, kind="stable")
    kept = order[: int(np.searchsorted(np.cumsum(odds[order]), share)) + 1]
    held = np.zeros_like(odds)
    held[kept] = odds[kept]
    held /= held.sum()
    return held


def _probabilities(
    logits: NDArray[np.float32], token: int, most: int
) -> tuple[float, tuple[tuple[int, float], ...]]:
    wide = logits.astype(np.float64)
    wide -= wide.max()
    told = wide - np.log(np.exp(wide).sum())
    likeliest = np.argsort(-told, kind="stable")[:most]
    return float(told[token]), tuple((int(t), float(told[t])) for t in likeliest)


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
        return self._vocabulary.encode(text, begins=False)
