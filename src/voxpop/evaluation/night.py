"""Ask the invented night its 38 questions at their moments and score the answers; it judges by the world's facts.

    python -m voxpop.evaluation.night          a table of every question
    python -m voxpop.evaluation.night --json   one JSON line

The night comes once over the real wire on loopback. The store is then filled up to each question's moment, so that
a rumour is still there when it is asked about, and a deleted post is gone once its author deleted it.
"""

import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from voxpop import voices
from voxpop.assistant import Assistant
from voxpop.authorities import Authorities
from voxpop.engines import Engine
from voxpop.engines.quote import QuoteEngine
from voxpop.messages import (
    AnswerEvent,
    Citation,
    Done,
    Message,
    Passage,
    Request,
    Text,
    Withheld,
)
from voxpop.posts import AccountGone, Delete, Event, Renamed, Upsert
from voxpop.questions import declares
from voxpop.signs import sign
from voxpop.simulator import world
from voxpop.simulator.jetstream import Jetstream
from voxpop.simulator.night_facts import Fact
from voxpop.sources.auto import Ways, open_source
from voxpop.store.local import LocalStore
from voxpop.text import fold, words
from voxpop.times import MICROS

QUIET_S = 1.0
FRENCH = {
    "What was the turnout at 17:00?": "Quelle était la participation à 17 h ?",
    "Did a ballot box burn in Dornick?": "Est-ce qu'une urne a brûlé à Dornick ?",
    "Who won the Pell Islands?": "Qui a gagné les îles Pell ?",
    "Who won the presidential election?": "Qui a gagné l'élection présidentielle ?",
    "What was the final turnout?": "Quelle est la participation finale ?",
    "What is the price of bread in Dornick?": "Quel est le prix du pain à Dornick ?",
    "Has Dreyl conceded?": "Est-ce que Dreyl a reconnu sa défaite ?",
}


@dataclass(frozen=True)
class Night:
    """The night as it came over the wire, and the moment at which its first second was played."""

    events: tuple[Event, ...]
    began: int
    keys: dict[str, str]  # of a post's address, its key in the plot

    def moment(self, at: float) -> int:
        """Microseconds of UTC of a second of the night."""
        return self.began + int(at * MICROS)


@dataclass(frozen=True)
class Answered:
    """One question's answer: its sentences with the keys that they cite, and what became of it."""

    fact: Fact
    question: str
    sentences: tuple[tuple[str, tuple[str, ...]], ...]
    notices: tuple[str, ...]
    withheld: tuple[Withheld, ...]
    first_ms: float | None
    verdict: str


async def listen() -> Night:
    """The whole night from a Jetstream on loopback."""
    server = Jetstream()

    async def simulate(seed: int, speed: float) -> str:
        return await server.start(elapsed=world.END + 60.0, speed=speed)

    heard: list[Event] = []
    try:
        source = await open_source("simulated", Ways(lookback_s=world.END + 120.0, simulator=simulate))
        listening = asyncio.create_task(_listen(source.events(None), heard))
        before = -1
        while not heard or before != len(heard):
            before = len(heard)
            await asyncio.wait([listening], timeout=QUIET_S)
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening
    finally:
        await server.stop()
    keys = {server.uri(event): key for key, event in world.keys().items()}
    return Night(tuple(heard), server.time_of(0), keys)


async def _listen(events: AsyncIterator[Event], heard: list[Event]) -> None:
    async with aclosing(events):  # type: ignore[type-var]
        async for event in events:
            heard.append(event)


def upto(events: Sequence[Event], moment: int) -> Iterable[Event]:
    """Events up to a moment; who is called what is known from the start."""
    for event in events:
        match event:
            case Renamed():
                yield event
            case Upsert(post) if post.witnessed_at <= moment:
                yield event
            case Delete(at=at) | AccountGone(at=at) if at <= moment:
                yield event


def listed() -> Authorities:
    """The accounts of the night that may be believed."""
    return Authorities.of(
        (a.did for a in world.authorities("authority")), (a.did for a in world.authorities("press"))
    )


@asynccontextmanager
async def opened(night: Night, at: float = world.END) -> AsyncIterator[LocalStore]:
    """A store of the night up to a second of it."""
    with tempfile.TemporaryDirectory(prefix="voxpop-world-") as folder:
        async with LocalStore(Path(folder)) as store:
            await store.apply("simulated", list(upto(night.events, night.moment(at))))
            await store.commit()  # the same ranks whenever the index would have committed by itself
            yield store


def assistant(store: LocalStore, now: int, engine: Callable[[], Engine] = QuoteEngine) -> Assistant:
    """An assistant that lives at that moment of the night."""
    return Assistant(store, engine, voices.load(), authorities=listed(), clock=lambda: now)


async def ask(assistant: Assistant, question: str) -> list[AnswerEvent]:
    """All events of one answer."""
    return [event async for event in assistant.answer(Request((Message("user", question),)))]


async def ask_all(night: Night, engine: Callable[[], Engine] = QuoteEngine) -> list[Answered]:
    """Every fact at its moment, in the order of the night, and in French those that have a French form."""
    answered: list[Answered] = []
    with tempfile.TemporaryDirectory(prefix="voxpop-world-") as folder:
        async with LocalStore(Path(folder)) as store:
            before = 0
            for fact in sorted(world.FACTS, key=lambda f: f.at):
                now = night.moment(fact.at)
                news = [e for e in upto(night.events, now) if isinstance(e, Renamed) or _at(e) > before]
                before = now
                await store.apply("simulated", news)
                for question in filter(None, (fact.question, FRENCH.get(fact.question))):
                    events = await ask(assistant(store, now, engine), question)
                    answered.append(read(fact, question, events, night))
    return answered


def _at(event: Event) -> int:
    return event.post.witnessed_at if isinstance(event, Upsert) else getattr(event, "at", 0)


def read(fact: Fact, question: str, events: Sequence[AnswerEvent], night: Night) -> Answered:
    """What an answer says, scored."""
    passages = {e.passage.number: e.passage for e in events if isinstance(e, Citation)}
    shown = [e for e in events if isinstance(e, Text) and e.kind == "sentence"]
    done = next(e for e in events if isinstance(e, Done))
    sentences = tuple((s.text, tuple(_key(passages[n], night) for n in s.citations)) for s in shown)
    return Answered(
        fact,
        question,
        sentences,
        tuple(e.text for e in events if isinstance(e, Text) and e.kind != "sentence"),
        tuple(e for e in events if isinstance(e, Withheld)),
        done.timings.first_sentence_ms,
        score(fact, sentences, [p.post.lang for p in passages.values()]),
    )


def _key(passage: Passage, night: Night) -> str:
    return night.keys.get(passage.post.id, "crowd")


def score(fact: Fact, sentences: Sequence[tuple[str, tuple[str, ...]]], langs: Sequence[str] = ()) -> str:
    """`right`, `wrong`, `abstained`, or `beside`: says something true that does not answer."""
    if any(stated_as_fact(text) and any(n.lower() in text.lower() for n in fact.never) for text, _ in sentences):
        return "wrong"
    cited = {key for _, keys in sentences for key in keys}
    if cited & set(fact.wrong) and not any(_answers(fact, text, keys) for text, keys in sentences):
        return "wrong"
    if fact.kind == "unanswerable":
        return "beside" if sentences else "right"
    if any(_answers(fact, text, keys) for text, keys in sentences):
        return "right"
    if fact.kind == "undeclared" and (not sentences or any(_denies(text) for text, _ in sentences)):
        return "right"
    return "beside" if sentences else "abstained"


def _answers(fact: Fact, text: str, keys: tuple[str, ...]) -> bool:
    if not set(keys) & set(fact.evidence):
        return False
    return fold(fact.answer) in fold(text).replace(" %", "%") or not _latin_english(keys)


def _denies(text: str) -> bool:
    return bool(sign("negation").search(fold(text))) and declares(frozenset(words(text)))


def _latin_english(keys: tuple[str, ...]) -> bool:
    return not any(key.rsplit("-", 1)[-1] in ("fr", "es", "de", "pt", "ja") for key in keys)


def stated_as_fact(text: str) -> bool:
    """Whether a sentence says a thing as its own, and not as somebody's words."""
    return not (sign("says").search(fold(text)) or "@" in text)


def table(answered: Sequence[Answered]) -> str:
    """A row a question."""
    rows = []
    for a in answered:
        rows.append(f"{a.verdict:10} {a.fact.at // 60:4} min  {a.fact.kind:12} {a.question}")
        rows += [f"             {text}  <{', '.join(keys)}>" for text, keys in a.sentences]
        rows += [f"             - {line}" for line in a.notices[1:]]
    return "\n".join([*rows, json.dumps(summary(answered))])


def summary(answered: Sequence[Answered]) -> dict[str, float]:
    """How many of each verdict, and how fast the first sentence came."""
    counts = Counter(a.verdict for a in answered)
    first = sorted(a.first_ms for a in answered if a.first_ms is not None)
    return {
        "asked": len(answered),
        **{v: counts[v] for v in ("right", "wrong", "abstained", "beside")},
        "first_sentence_ms_median": first[len(first) // 2],
        "first_sentence_ms_worst": first[-1],
    }


async def main() -> int:
    began = time.perf_counter()
    night = await listen()
    answered = await ask_all(night)
    print(json.dumps(summary(answered)) if "--json" in sys.argv else table(answered))
    print(f"{time.perf_counter() - began:.1f} s", file=sys.stderr)
    return 1 if any(a.verdict == "wrong" for a in answered) else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
