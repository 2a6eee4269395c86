"""What one answer takes from the world and has shown so far, and our own labels on it; it decides nothing."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from voxpop.engines import EngineInfo
from voxpop.messages import (
    AnswerEvent,
    Call,
    Called,
    Citation,
    Delta,
    Done,
    Freshness,
    Gap,
    Passage,
    Prompt,
    Receipt,
    Request,
    Result,
    Text,
    TextKind,
    Timings,
    Token,
    Usage,
)
from voxpop.voices import Voice

_NOTICES = {
    "simulated": {
        "en": "Simulated stream: these posts are invented.",
        "fr": "Flux simulé : ces messages sont inventés.",
    },
    "bounded": {
        "en": "Nothing was found within the bounds of this request; outside them nobody looked.",
        "fr": "Rien n'a été trouvé dans les limites de cette demande ; au-delà, personne n'a cherché.",
        "es": "No se encontró nada dentro de los límites de esta petición; fuera de ellos no se buscó.",
        "de": "In den Grenzen dieser Anfrage wurde nichts gefunden; außerhalb davon wurde nicht gesucht.",
        "pt": "Nada foi encontrado dentro dos limites deste pedido; fora deles não se procurou.",
        "ja": "この条件の範囲では何も見つかりませんでした。範囲外は検索していません。",
    },
    "model": {"en": "From the model, not from posts.", "fr": "Du modèle, pas des messages."},
    "unsearched": {
        "en": "Who won is told from posts only, and this request lets me search none.",
        "fr": "Qui a gagné se dit d'après les messages seuls, et cette demande n'en laisse chercher aucun.",
    },
    "broken": {
        "en": "The model stopped before the end; what follows is quoted from the posts.",
        "fr": "Le modèle s'est arrêté avant la fin ; la suite est citée des messages.",
        "es": "El modelo se detuvo antes del final; lo que sigue se cita de los mensajes.",
        "de": "Das Modell brach vor dem Ende ab; was folgt, ist aus den Beiträgen zitiert.",
        "pt": "O modelo parou antes do fim; o que segue é citado das mensagens.",
        "ja": "モデルが途中で止まりました。以下は投稿からの引用です。",
    },
}


@dataclass(frozen=True, slots=True)
class Stream:
    """What the ingest side says of the live stream at one moment; `behind_s` of the source furthest behind.

    `down`: the sources that bring nothing now, by name.
    """

    lag_s: float | None = None
    simulated: bool = False
    behind_s: float | None = None
    down: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Looked:
    """All that an answer takes from the world: how the stream stood, what was searched, and what was found.

    `searched` is told in words; `gaps` is what the search could not look at.
    """

    stream: Stream = field(default_factory=Stream)
    passages: tuple[Passage, ...] = ()
    searched: tuple[str, ...] = ()
    gaps: tuple[Gap, ...] = ()


@dataclass(frozen=True, slots=True)
class Made:
    """A whole answer and all that it was made of: from the same again, the same steps make the same events.

    `now` (microseconds) is when it was asked; `prompt` is what the engine saw, None where none was asked.
    """

    request: Request
    now: int
    voice: Voice
    engine: EngineInfo
    looked: Looked
    prompt: Prompt | None
    events: tuple[AnswerEvent, ...]


@dataclass(slots=True)
class Answer:
    """What one answer has shown so far; `broken` where its engine broke off."""

    request: Request
    now: int
    voice: Voice
    engine: EngineInfo
    began: float = field(default_factory=time.perf_counter)
    looked: Looked = field(default_factory=Looked)
    prompt: Prompt | None = None
    passages: Mapping[int, Passage] = field(default_factory=dict)
    cited: dict[int, Passage] = field(default_factory=dict)
    sentences: list[str] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    search_ms: float = 0.0
    first_ms: float | None = None
    chatted: bool = False
    broken: bool = False
    cut: bool = False
    calls: list[Call] = field(default_factory=list)
    simulated: bool = False
    result: Result = ""
    span: Any = None

    def elapsed_ms(self) -> float:
        return round((time.perf_counter() - self.began) * 1000, 1)

    def show(self, sentence: Text) -> list[AnswerEvent]:
        """The events that show a verified sentence, its new citations first."""
        numbers = sentence.citations
        events: list[AnswerEvent] = [Citation(self.passages[n]) for n in numbers if n not in self.cited]
        self.cited.update((n, self.passages[n]) for n in numbers)
        self.sentences.append(sentence.text)
        if self.first_ms is None:
            self.first_ms = self.elapsed_ms()
        return [*events, sentence]

    def done(self) -> Done:
        """The last event."""
        seen, stream = [p.post.witnessed_at for p in self.cited.values()], self.looked.stream
        return Done(
            reason="tool_calls" if self.calls else "length" if self.cut else "stop",
            answerable=bool(self.sentences or self.calls) or self.chatted,
            engine=self.engine.name,
            voice=self.voice.name,
            usage=self.usage,
            freshness=Freshness(
                max(seen, default=None),
                min(seen, default=None),
                stream.lag_s,
                self.simulated,
                stream.behind_s,
                self.looked.gaps,
            ),
            timings=Timings(self.search_ms, self.first_ms, self.elapsed_ms()),
            receipt=self._receipt(),
        )

    def made(self, events: Iterable[AnswerEvent]) -> Made:
        """The whole answer, of these events."""
        return Made(self.request, self.now, self.voice, self.engine, self.looked, self.prompt, tuple(events))

    def _receipt(self) -> Receipt:
        """What it rests on: the cited posts with their near-equal copies, the searches, the sources that are down.

        Of copies only the number of their authors is known: who copied two of the cited posts counts twice.
        """
        cited = self.cited.values()
        known = {p.post.author.id or p.post.id for p in cited}
        return Receipt(
            searched=self.looked.searched,
            posts=sum(p.duplicates for p in cited),
            independent_authors=len(known) + sum(p.independent_authors - 1 for p in cited),
            sources_down=self.looked.stream.down,
            result=self.result,
        )

    def chat(self, text: str, tokens: tuple[Token, ...] = (), kind: TextKind = "chat") -> Text:
        """The event that shows a piece of a model's own text."""
        self.chatted = True
        if self.first_ms is None:
            self.first_ms = self.elapsed_ms()
        return Text(text, kind=kind, tokens=tokens)

    def call(self, call: Call) -> Called:
        """The event that asks for a function to be run."""
        self.calls.append(call)
        return Called(call)

    def take(self, delta: Delta) -> None:
        """What a piece of an engine's text says of its computing."""
        if delta.usage:
            self.usage += delta.usage
        self.cut = delta.cut or (self.cut and not delta.usage)


LABELS = frozenset(text for said in _NOTICES.values() for text in said.values())


def notice(kind: str, lang: str) -> Text:
    """One of our labels, in English where the language lacks it."""
    return Text(_NOTICES[kind].get(lang, _NOTICES[kind]["en"]), kind="notice")
