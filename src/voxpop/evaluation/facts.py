"""Ask the invented night its questions at their moments and score the answers by the world's own facts.

python -m voxpop.evaluation.facts     a row a question
"""

import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from voxpop.engines import Engine
from voxpop.evaluation.bench import Bench
from voxpop.evaluation.measures import Goal, Measure, Miss, count, share, tabled, timed
from voxpop.evaluation.told import Told
from voxpop.questions import declares
from voxpop.signs import sign
from voxpop.simulator import world
from voxpop.simulator.night_facts import Fact
from voxpop.text import fold, words

FRENCH = {
    "What was the turnout at 17:00?": "Quelle était la participation à 17 h ?",
    "Did a ballot box burn in Dornick?": "Est-ce qu'une urne a brûlé à Dornick ?",
    "Who won the Pell Islands?": "Qui a gagné les îles Pell ?",
    "Who won the presidential election?": "Qui a gagné l'élection présidentielle ?",
    "What was the final turnout?": "Quelle est la participation finale ?",
    "What is the price of bread in Dornick?": "Quel est le prix du pain à Dornick ?",
    "Has Dreyl conceded?": "Est-ce que Dreyl a reconnu sa défaite ?",
}
DELAYS_S = (0.0, 2.0, 30.0, 300.0, 900.0)


@dataclass(frozen=True)
class Answered:
    """One question's answer: its sentences with the keys of the posts that they cite, and what became of it."""

    fact: Fact
    told: Told
    sentences: tuple[tuple[str, tuple[str, ...]], ...]
    verdict: str

    @property
    def question(self) -> str:
        return self.told.question

    @property
    def id(self) -> str:
        return f"{self.fact.at // 60} min: {self.question}"


async def run(bench: Bench) -> list[Measure]:
    """Right, wrong and abstained at each fact's moment; how soon after the news; how fast the first sentence."""
    facts = bench.some(world.FACTS)
    answered = await answers(bench)
    first = [a.told.done.timings.first_sentence_ms for a in answered if a.told.done]
    wrong = [Miss(a.id, "states what is wrong", a.told.said) for a in answered if a.verdict == "wrong"]
    unanswered = [a for a in answered if a.verdict in ("abstained", "beside")]
    right = sum(a.verdict == "right" for a in answered)
    return [
        count("night.wrong", "false statements, fictional night", wrong, len(answered), Goal("<=", 0)),
        share(
            "night.right",
            "right answers, fictional night",
            right,
            len(answered),
            told="cites a post that carries the answer, or abstains where there is none, by the world's own facts",
            table=tabled((a.fact.kind, a.verdict == "right") for a in answered),
            misses=tuple(Miss(a.id, a.verdict, a.told.said) for a in unanswered),
        ),
        timed("night.first", "first sentence, median", [t for t in first if t is not None]),
        await _soon(bench, facts),
    ]


async def answers(bench: Bench) -> list[Answered]:
    """What the bench's engine answers to the facts, asked once for all suites."""
    if "night" not in bench.kept:
        bench.kept["night"] = await ask_all(bench, bench.some(world.FACTS))
    return list(bench.kept["night"])


async def ask_all(
    bench: Bench,
    facts: Sequence[Fact] = world.FACTS,
    *,
    engine: Callable[[], Engine] | None = None,
) -> list[Answered]:
    """Every fact at its moment, in the order of the night, and in French those that have a French form."""
    answered: list[Answered] = []
    ordered = sorted(facts, key=lambda f: f.at)
    async with bench.playing() as playing:
        assistant = bench.assistant(playing.store, engine)
        for fact in bench.steps(ordered):
            now = await playing.to(fact.at)
            for question in filter(None, (fact.question, FRENCH.get(fact.question))):
                told = await bench.ask(assistant, f"night:{fact.at}:{question}", question, now)
                answered.append(read(fact, told, playing.night.keys))
    return answered


async def _soon(bench: Bench, facts: Sequence[Fact]) -> Measure:
    """How long after the post that carries it a question is answered rightly."""
    at = {key: event.at for key, event in world.keys().items()}
    asks = [
        (born + delay, delay, fact)
        for fact in facts
        if fact.kind in ("answerable", "superseded")
        for born in [min(at[key] for key in fact.evidence)]
        for delay in DELAYS_S
    ]
    right: dict[Fact, float] = {}
    done = 0
    async with bench.playing() as playing:
        assistant = bench.assistant(playing.store)
        for moment, group in groupby(sorted(asks, key=lambda a: a[0]), key=lambda a: a[0]):
            now = await playing.to(moment)
            for _, delay, fact in bench.steps(list(group), done, len(asks)):
                done += 1
                if fact not in right:
                    told = await bench.ask(assistant, f"soon:{moment}:{fact.question}", fact.question, now)
                    if read(fact, told, playing.night.keys).verdict == "right":
                        right[fact] = delay
    asked = dict.fromkeys(f for _, _, f in asks)
    curve = [(delay, sum(d <= delay for d in right.values()) / len(asked)) for delay in DELAYS_S] if asked else []
    return Measure(
        "night.soon",
        "time from the news to the right answer, median",
        sorted(right.values())[len(right) // 2] if right else None,
        len(asked),
        unit="s",
        series={"curve": curve},
        misses=tuple(Miss(f.question, "not answered rightly within 15 minutes") for f in asked if f not in right),
        told="each question is asked at the second of the post that carries its answer, and 2 s to 15 min after it",
    )


def read(fact: Fact, told: Told, keys: dict[str, str]) -> Answered:
    """What an answer says, scored."""
    sentences = tuple((s.text, tuple(keys.get(p.id, "crowd") for p in told.posts(s))) for s in told.sentences)
    return Answered(fact, told, sentences, score(fact, sentences))


def score(fact: Fact, sentences: Sequence[tuple[str, tuple[str, ...]]]) -> str:
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


def table(answered: Iterable[Answered]) -> str:
    """A row a question."""
    rows = []
    for a in answered:
        rows.append(f"{a.verdict:10} {a.fact.at // 60:4} min  {a.fact.kind:12} {a.question}")
        rows += [f"             {text}  <{', '.join(keys)}>" for text, keys in a.sentences]
        rows += [f"             - {t.text}" for t in a.told.texts if t.kind != "sentence"][1:]
    return "\n".join(rows)


async def _main() -> int:
    async with Bench() as bench:
        answered = await ask_all(bench)
    counted = Counter(a.verdict for a in answered)
    print(table(answered), dict(counted), sep="\n")
    return 1 if counted["wrong"] else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(_main()))
