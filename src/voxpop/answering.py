"""What one answer has shown so far, and our own labels on it; it decides nothing."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from voxpop.messages import AnswerEvent, Citation, Gap, Passage, Receipt, Result, Text, Usage

_NOTICES = {
    "simulated": {
        "en": "Simulated stream: these posts are invented.",
        "fr": "Flux simulé : ces messages sont inventés.",
    },
    "model": {"en": "From the model, not from posts.", "fr": "Du modèle, pas des messages."},
    "broken": {
        "en": "The model stopped before the end; what follows is quoted from the posts.",
        "fr": "Le modèle s'est arrêté avant la fin ; la suite est citée des messages.",
    },
}


@dataclass(slots=True)
class Answer:
    """What one answer has shown so far; `searched` is told in words, `broken` where its engine broke off."""

    began: float
    searched: tuple[str, ...] = ()
    passages: Mapping[int, Passage] = field(default_factory=dict)
    cited: dict[int, Passage] = field(default_factory=dict)
    sentences: list[str] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    search_ms: float = 0.0
    first_ms: float | None = None
    chatted: bool = False
    broken: bool = False
    simulated: bool = False
    gaps: tuple[Gap, ...] = ()
    searched: tuple[str, ...] = ()
    result: Result = ""
    span: Any = None

    def elapsed_ms(self) -> float:
        return round((time.perf_counter() - self.began) * 1000, 1)

    def show(self, text: str, numbers: tuple[int, ...]) -> list[AnswerEvent]:
        """The events that show a verified sentence, its new citations first."""
        events: list[AnswerEvent] = [Citation(self.passages[n]) for n in numbers if n not in self.cited]
        self.cited.update((n, self.passages[n]) for n in numbers)
        self.sentences.append(text)
        if self.first_ms is None:
            self.first_ms = self.elapsed_ms()
        return [*events, Text(text, numbers)]

    def receipt(self, down: tuple[str, ...]) -> Receipt:
        """What it rests on: the cited posts with their near-equal copies, the searches, the sources that are down.

        Of copies only the number of their authors is known: who copied two of the cited posts counts twice.
        """
        cited = self.cited.values()
        known = {p.post.author.id or p.post.id for p in cited}
        return Receipt(
            searched=self.searched,
            posts=sum(p.duplicates for p in cited),
            independent_authors=len(known) + sum(p.independent_authors - 1 for p in cited),
            sources_down=down,
            result=self.result,
        )

    def chat(self, text: str) -> Text:
        """The event that shows a piece of a model's own text."""
        self.chatted = True
        if self.first_ms is None:
            self.first_ms = self.elapsed_ms()
        return Text(text, kind="chat")


def notice(kind: str, lang: str) -> Text:
    """One of our labels, in English where the language lacks it."""
    return Text(_NOTICES[kind].get(lang, _NOTICES[kind]["en"]), kind="notice")
