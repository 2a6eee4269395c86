"""A GGUF model on this machine's processor, as an engine; it opens no port and computes nothing unawaited."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voxpop.engines import EngineInfo
from voxpop.engines.gguf_file import Card, Template, Vocabulary
from voxpop.engines.openvino_graph import converted, digest, group
from voxpop.engines.openvino_session import Session
from voxpop.engines.sampling import Chooser, Grammars, Guesser, Writer
from voxpop.errors import UsageError, VoxpopError
from voxpop.messages import Delta, Message, Prompt, Usage

_Send = Callable[[Delta | None], None]


@dataclass(frozen=True, slots=True)
class _Tokens:
    """A prompt in tokens; the first `fixed` are the instruction, the same for every question."""

    all: list[int]
    fixed: int


class LocalEngine:
    """One model, one request at a time, the others in the order of their coming. `open` makes it."""

    def __init__(
        self,
        name: str,
        vocabulary: Vocabulary,
        template: Template,
        session: Session,
        context: int,
        digest: str = "",
    ) -> None:
        self._name, self._context, self._digest = name, context, digest
        self._vocabulary, self._template, self._session = vocabulary, template, session
        self._grammars = Grammars(vocabulary)
        self._worker = ThreadPoolExecutor(1, f"voxpop-{name}")

    @classmethod
    def open(cls, path: Path, *, name: str = "", threads: int = 0, context: int = 8192) -> "LocalEngine":
        """Load the GGUF file at `path`; slow (seconds; tens of seconds the first time), so call it in a thread.

        `threads` 0 takes every physical core; `context` is in tokens, never more than the model's own.
        Raises VoxpopError where the file is missing or is not a model that this engine can run.
        """
        name = name or path.stem
        if not path.is_file():
            raise VoxpopError(
                f"Model '{name}' is not on this machine.", f"Run 'voxpop models pull {name}'.", code="no_model"
            )
        folder = converted(path)
        card = Card.read(folder / "card.json")
        session = Session(folder / "model.xml", threads=threads, group=group(card.shape))
        return cls(name, Vocabulary(card), Template(card), session, min(context, card.shape.context), digest(path))

    def warm(self, instructions: Iterable[str]) -> None:
        """Compute these system messages now and keep their keys and values; returns when that is done."""
        for text in instructions:
            self._worker.submit(self._warm, text).result()

    def close(self) -> None:
        """Let the queue end and the thread go."""
        self._worker.shutdown(cancel_futures=True)

    async def generate(self, prompt: Prompt, schema: Mapping[str, Any] | None = None) -> AsyncIterator[Delta]:
        """Stream the continuation; closing the stream stops the computation within a token or 256 of the prompt.

        Raises UsageError where the grammar cannot be read or the prompt is longer than the context.
        """
        loop = asyncio.get_running_loop()
        deltas: asyncio.Queue[Delta | None] = asyncio.Queue()
        stop = threading.Event()

        def send(delta: Delta | None) -> None:
            if not stop.is_set():
                loop.call_soon_threadsafe(deltas.put_nowait, delta)

        done = loop.run_in_executor(self._worker, self._work, prompt, schema, stop, send)
        try:
            while (delta := await deltas.get()) is not None:
                yield delta
            await done
        finally:
            stop.set()
            done.cancel()

    def count(self, text: str) -> int:
        """Tokens of `text`, exactly."""
        return len(self._vocabulary.encode(text))

    def describe(self) -> EngineInfo:
        return EngineInfo("local", self._name, converses=True, context=self._context, digest=self._digest)

    def _work(self, prompt: Prompt, schema: Mapping[str, Any] | None, stop: threading.Event, send: _Send) -> None:
        try:
            if not stop.is_set():
                self._answer(prompt, schema, stop, send)
        finally:
            send(None)

    def _answer(self, prompt: Prompt, schema: Mapping[str, Any] | None, stop: threading.Event, send: _Send) -> None:
        tokens = self._tokens(prompt.messages)
        room = self._context - len(tokens.all)
        if room < 1:
            raise UsageError(
                f"The prompt has {len(tokens.all)} tokens; the model takes {self._context}.",
                "Ask for fewer posts, or set a larger context.",
            )
        sampling = prompt.sampling
        matcher = self._grammars.matcher(prompt.grammar, schema)
        chooser = Chooser(sampling.temperature, sampling.seed, matcher)
        cached = self._session.begin(tokens.all)
        at = cached
        if cached < tokens.fixed < len(tokens.all):
            self._read_instruction(tokens, cached, stop)
            at = tokens.fixed
        logits = self._session.read(tokens.all[at:], stop.is_set)
        if logits is None:
            return
        made = self._write(
            tokens.all, logits, chooser, Writer(sampling.stop), min(sampling.max_tokens, room), stop, send
        )
        send(Delta(usage=Usage(len(tokens.all), made, cached)))

    def _write(
        self,
        tokens: list[int],
        logits: Any,
        chooser: Chooser,
        writer: Writer,
        most: int,
        stop: threading.Event,
        send: _Send,
    ) -> int:
        """Choose, guess ahead, check the guesses in one step; returns how many tokens were made."""
        guesser, guess, made = Guesser(tokens), list[int](), 0
        while most > 0 and not stop.is_set():
            fresh, goes_on = self._accept(logits, guess, chooser, most - made)
            made += len(fresh)
            ended = fresh[-1] in self._vocabulary.end_tokens
            for token in fresh:
                guesser.add(token)
            data = b"".join(self._vocabulary.bytes_of[t] for t in (fresh[:-1] if ended else fresh))
            last = ended or not goes_on or made >= most
            if text := writer.write(data, last=last):
                send(Delta(text))
            if last or writer.stopped:
                break
            self._session.take_back(len(guess) + 1 - len(fresh))
            guess = guesser.guess(most - made - 1)
            logits = self._session.feed([fresh[-1], *guess], 1 + len(guess))
        return made

    def _accept(self, logits: Any, guess: list[int], chooser: Chooser, most: int) -> tuple[list[int], bool]:
        """Tokens chosen row by row for as long as the guess before each was right."""
        fresh: list[int] = []
        goes_on = True
        for row in range(-1 - len(guess), 0):
            token, goes_on = chooser.choose(logits[row])
            fresh.append(token)
            ended = not goes_on or token in self._vocabulary.end_tokens or len(fresh) >= most
            if ended or row == -1 or guess[len(fresh) - 1] != token:
                break
        return fresh, goes_on

    def _tokens(self, messages: tuple[Message, ...]) -> _Tokens:
        """Tokens of the whole prompt; all before the second message's text belongs to the instruction."""
        tokens: list[int] = []
        fixed = said = 0
        for text, ours in self._template.pieces(messages):
            if not ours:
                said += 1
                fixed = len(tokens) if said == 2 else fixed
            tokens += self._vocabulary.encode(text, specials=ours)
        return _Tokens(tokens, fixed if messages[0].role == "system" else 0)

    def _read_instruction(self, tokens: _Tokens, cached: int, stop: threading.Event) -> None:
        if self._session.read(tokens.all[cached : tokens.fixed], stop.is_set) is not None:
            self._session.keep_beginning()

    def _warm(self, instruction: str) -> None:
        tokens = self._tokens((Message("system", instruction), Message("user", "?")))
        cached = self._session.begin(tokens.all[: tokens.fixed])
        self._read_instruction(tokens, cached, threading.Event())
