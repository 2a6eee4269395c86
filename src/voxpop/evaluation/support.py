"""Count the sentences shown that their cited posts do not carry, for the engine at hand and for engines that lie.

Judged by `judge`, by the night's facts, by gold answers, and, for a liar, by what it knows to have made up.
"""

from collections.abc import Iterable

from voxpop.evaluation import abstention, corpora, facts
from voxpop.evaluation.bench import Bench
from voxpop.evaluation.judge import lacks
from voxpop.evaluation.liars import KINDS, Liar
from voxpop.evaluation.measures import Goal, Measure, Miss, share, tabled
from voxpop.evaluation.told import Told
from voxpop.simulator import world

_GOAL = Goal("<=", 0.01)
_JUDGED = (
    "a sentence fails where its numbers, names, quotations, denial or most of its words are in no cited post, "
    "where the night's facts call it false, or where it holds the gold answer and no cited post does"
)
Shown = tuple[str, bool, Miss]  # set, unsupported, the case


async def run(bench: Bench, liars: Iterable[str] = tuple(KINDS)) -> list[Measure]:
    """The engine's own sentences, its citations, and what each kind of liar brought through."""
    answered = await facts.answers(bench)
    shown = [row for a in answered for row in _night(a)]
    citations = [row for a in answered for row in _citations("night", a.told)]
    for cases in await abstention.public(bench):
        for case in cases:
            shown += _public(case)
            citations += _citations(case.set, case.told)
    return [
        _unsupported("support.unsupported", "sentences shown that their posts do not support", shown, _JUDGED),
        share(
            "support.precision",
            "citations whose post carries the sentence",
            sum(carried for _, carried in citations),
            len(citations),
            table=tabled(citations),
        ),
        await _lied(bench, liars),
    ]


def _night(answered: facts.Answered) -> Iterable[Shown]:
    """Where the answer is wrong by the facts, the sentence that makes it so is not known: all of it counts."""
    wrong = answered.verdict == "wrong"
    for text in answered.told.sentences:
        why = lacks(text.text, answered.told.posts(text)) or ("wrong by the night's facts" if wrong else "")
        yield "night", bool(why), Miss(answered.id, why, text.text)


def _public(case: corpora.Case) -> Iterable[Shown]:
    for text in case.told.sentences:
        posts = case.told.posts(text)
        why = lacks(text.text, posts)
        if not why and case.golden(text.text) and not case.golden("\n".join(p.text for p in posts)):
            why = "holds the answer, but no cited post does"
        yield case.set, bool(why), Miss(case.id, why, text.text)


def _citations(name: str, told: Told) -> Iterable[tuple[str, bool]]:
    for text in told.sentences:
        for post in told.posts(text):
            yield name, not lacks(text.text, [post])


async def _lied(bench: Bench, kinds: Iterable[str]) -> Measure:
    """Every kind of lie told to every question of the night: of the sentences shown, how many are lies."""
    rows: list[Shown] = []
    told = 0
    for kind in kinds:
        liar = Liar(kind)
        for answered in await facts.ask_all(bench, bench.some(world.FACTS), engine=lambda liar=liar: liar):  # type: ignore[misc]
            for text in answered.told.sentences:
                rows.append((kind, liar.wrote(text.text), Miss(f"{kind}: {answered.id}", "a lie", text.text)))
        told += len(liar.lies)
    how = f"{told} lies were told, of {len(KINDS)} kinds; the rest of what is shown are quotes in their place"
    return _unsupported("support.liars", "sentences shown of engines that lie", rows, how)


def _unsupported(name: str, title: str, rows: list[Shown], told: str) -> Measure:
    bad = [case for _, failed, case in rows if failed]
    table = tabled((set_, failed) for set_, failed, _ in rows)
    return share(name, title, len(bad), len(rows), _GOAL, table=table, misses=tuple(bad), told=told)
