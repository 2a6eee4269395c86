"""A GGUF model on this machine's processor, as an engine; it opens no port and computes nothing unawaited."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxpop.engines import EngineInfo
from voxpop.engines.pieces import Piece
from voxpop.engines.runtimes import Runtime, Wish, opened
from voxpop.engines.sampling import Chooser, Chosen, Grammars, Guesser, Writer
from voxpop.engines.seats import Seats
from voxpop.engines.sessions import Session
from voxpop.engines.template import Template
from voxpop.engines.vocabulary import Vocabulary
from voxpop.errors import UsageError, VoxpopError
from voxpop.messages import Asker, Delta, Message, Prompt, Token, Usage

_Send = Callable[[Delta | None], None]


@dataclass(frozen=True, slots=True)
class _Tokens:
    """A prompt in tokens; the first `fixed` are the instruction, the same for every question."""

    all: list[int]
    fixed: int


class LocalEngine:
    """One model for several requests at once, a step of each in turn. `open` makes it."""

    def __init__(self, name: str, runtime: Runtime) -> None:
        self._name, self._context, self._digest = name, runtime.context, runtime.digest
        self._piece = runtime.piece
        self._vocabulary, self._template = Vocabulary(runtime.card), Template(runtime.card)
        self._grammars = Grammars(self._vocabulary)
        self._seats = Seats(runtime.sessions, runtime.held, f"voxpop-{name}")

    @classmethod
    def open(cls, path: Path, wish: Wish | None = None, *, name: str = "") -> "LocalEngine":
        """Load the GGUF file at `path`; slow (seconds; tens of seconds the first time), so call it in a thread.

        Raises VoxpopError where the file is missing or is not a model that this machine can run.
        """
        name = name or path.stem
        if not path.is_file():
            raise VoxpopError(
                f"Model '{name}' is not on this machine.", f"Run 'voxpop models pull {name}'.", code="no_model"
            )
        return cls(name, opened(path, wish or Wish()))

    def warm(self, instructions: Iterable[str]) -> None:
        """Compute these system messages now and keep their keys and values; returns when that is done."""
        for text in instructions:
            tokens = self._tokens((Message("system", text), Message("user", "?")))
            if not tokens.fixed:  # a template may leave the instruction out
                return
            job = _Warming(tokens.all[: tokens.fixed], self._piece)
            self._seats.put(job)
            job.done.result()

    def close(self) -> None:
        """Break off what is under way and let the thread go."""
        self._seats.close()

    async def generate(self, prompt: Prompt, schema: Mapping[str, Any] | None = None) -> AsyncIterator[Delta]:
        """Stream the continuation; closing the stream stops the computation within one step.

        Raises UsageError where the grammar or schema cannot be followed or the prompt is longer than the context.
        """
        loop = asyncio.get_running_loop()
        deltas: asyncio.Queue[Delta | None] = asyncio.Queue()

        def send(delta: Delta | None) -> None:
            loop.call_soon_threadsafe(deltas.put_nowait, delta)

        job = await asyncio.to_thread(self._answering, prompt, schema, send)
        try:
            self._seats.put(job)
            while (delta := await deltas.get()) is not None:
                yield delta
            if job.error:
                raise job.error
        finally:
            job.stopped.set()

    def check(self, schema: Mapping[str, Any]) -> None:
        """Raises UsageError where no grammar can be made of it."""
        self._grammars.matcher(None, schema)

    def count(self, text: str) -> int:
        """Tokens of `text`, exactly."""
        return len(self._vocabulary.encode(text))

    def pieces(self, text: str) -> list[Piece]:
        """The tokens of `text`, by the model's vocabulary."""
        return [Piece(token, self._vocabulary.bytes_of[token]) for token in self._vocabulary.encode(text)]

    def describe(self) -> EngineInfo:
        return EngineInfo(
            "local", self._name, converses=True, context=self._context, digest=self._digest, shapes=True
        )

    def _answering(self, prompt: Prompt, schema: Mapping[str, Any] | None, send: _Send) -> "_Answering":
        tokens = self._tokens(prompt.messages)
        room = self._context - len(tokens.all)
        if room < 1:
            raise UsageError(
                f"The prompt has {len(tokens.all)} tokens; the model takes {self._context}.",
                "Ask for fewer posts, send less, or set a larger context.",
                code="too_long",
            )
        chooser = Chooser(prompt.sampling, self._grammars.matcher(prompt.grammar, schema))
        writer = Writer((*prompt.sampling.stop, *self._template.stops))
        return _Answering(prompt, tokens, room, chooser, writer, self._vocabulary, self._piece, send)

    def _tokens(self, messages: tuple[Message, ...]) -> _Tokens:
        """Tokens of the whole prompt; all before the second message's text belongs to the instruction."""
        tokens: list[int] = []
        fixed = said = 0
        for text, ours in self._template.pieces(messages):
            if not ours:
                said += 1
                fixed = len(tokens) if said == 2 else fixed
            begins = self._vocabulary.marks.issuperset(tokens)
            tokens += self._vocabulary.encode(text, specials=ours, begins=begins)
        return _Tokens(tokens, fixed if messages[0].role == "system" else 0)


class _Warming:
    """An instruction that is read and kept; nobody's, so that it waits for nobody."""

    def __init__(self, tokens: list[int], piece: int) -> None:
        self.asker = Asker()
        self.tokens: Sequence[int] = tokens
        self.most = len(tokens)
        self.stopped = threading.Event()
        self.turn, self.seconds = 0, 0.0
        self.done: Future[None] = Future()
        self._piece = piece

    def steps(self, session: Session) -> Iterator[None]:
        for _ in _read(session, self.tokens, session.begin(self.tokens), self._piece):
            yield
        session.keep_beginning()

    def end(self, error: Exception | None) -> None:
        self.done.set_exception(error) if error else self.done.set_result(None)


class _Answering:
    """A prompt that is read and continued; `send` takes the deltas, and None at the end."""

    def __init__(
        self,
        prompt: Prompt,
        tokens: _Tokens,
        room: int,
        chooser: Chooser,
        writer: Writer,
        vocabulary: Vocabulary,
        piece: int,
        send: _Send,
    ) -> None:
        sampling = prompt.sampling
        self.asker = prompt.asker
        self.tokens: Sequence[int] = tokens.all
        self._most = min(sampling.max_tokens, room)
        self.most = len(tokens.all) + self._most
        self.stopped = threading.Event()
        self.turn, self.seconds = 0, 0.0
        self.error: Exception | None = None
        self._fixed, self._piece = tokens.fixed, piece
        self._chooser, self._vocabulary, self._send = chooser, vocabulary, send
        self._writer = writer
        self._guesser = Guesser(tokens.all)
        self._made = self._cached = 0
        self._over = self._cut = False

    def steps(self, session: Session) -> Iterator[None]:
        at = self._cached = session.begin(self.tokens)
        if at < self._fixed < len(self.tokens):
            yield from _read(session, self.tokens[: self._fixed], at, self._piece)
            session.keep_beginning()
            at = self._fixed
        logits = yield from _read(session, self.tokens, at, self._piece)
        guess: list[int] = []
        while fresh := self._write(logits, guess):
            yield
            session.take_back(len(guess) + 1 - len(fresh))
            guess = self._guesser.guess(self._most - self._made - 1)
            logits = session.feed([fresh[-1], *guess], 1 + len(guess))
        self._over = True

    def end(self, error: Exception | None) -> None:
        self.error = error
        try:
            if self._over:
                used = Usage(len(self.tokens), self._made, self._cached, seconds=round(self.seconds, 4))
                self._send(Delta(usage=used, cut=self._cut))
            self._send(None)
        except RuntimeError:  # the loop of whoever asked is closed
            self.stopped.set()

    def _write(self, logits: NDArray[np.float32], guess: list[int]) -> list[int]:
        """Send what these logits say; the tokens that it goes on from, none where the text is over."""
        chosen = self._accept(logits, guess)
        fresh = [c.token for c in chosen]
        self._made += len(fresh)
        ended = fresh[-1] in self._vocabulary.end_tokens
        for token in fresh:
            self._guesser.add(token)
        said = chosen[:-1] if ended else chosen
        data = b"".join(self._vocabulary.bytes_of[c.token] for c in said)
        self._cut = not ended and chosen[-1].goes_on and self._made >= self._most
        last = ended or not chosen[-1].goes_on or self._cut
        text = self._writer.write(data, last=last)
        tokens = tuple(map(self._told, said)) if self._chooser.tells else ()
        if text or tokens:
            self._send(Delta(text, tokens=tokens))
        self._cut = self._cut and not self._writer.stopped
        return [] if last or self._writer.stopped else fresh

    def _accept(self, logits: NDArray[np.float32], guess: list[int]) -> list[Chosen]:
        """Tokens chosen row by row for as long as the guess before each was right."""
        fresh: list[Chosen] = []
        for row in range(-1 - len(guess), 0):
            fresh.append(chosen := self._chooser.choose(logits[row]))
            full = self._made + len(fresh) >= self._most
            ended = not chosen.goes_on or chosen.token in self._vocabulary.end_tokens or full
            if ended or row == -1 or guess[len(fresh) - 1] != chosen.token:
                break
        return fresh

    def _told(self, chosen: Chosen) -> Token:
        top = tuple((self._text(token), odds) for token, odds in chosen.top)
        return Token(self._text(chosen.token), chosen.logprob, top)

    def _text(self, token: int) -> str:
        return self._vocabulary.bytes_of[token].decode("utf-8", "replace")


def _read(
    session: Session, tokens: Sequence[int], at: int, piece: int
) -> Generator[None, None, NDArray[np.float32]]:
    """Feed the tokens from `at`, a piece a step; the logits after the last of them."""
    while True:
        logits = session.feed(tokens[at : at + piece])
        at += piece
        if at >= len(tokens):
            return logits
        yield
