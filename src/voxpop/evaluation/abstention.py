"""Abstain where the posts do not say, and answer where they do: the night, TweetQA and RealTimeQA with its news."""

from collections.abc import Awaitable, Callable

from voxpop.evaluation import corpora, facts
from voxpop.evaluation.bench import Bench, Skipped
from voxpop.evaluation.measures import Goal, Measure, Miss, share, tabled

_ABSTAINS, _ANSWERS = Goal(">=", 0.95), Goal(">=", 0.85)
_JUDGED = "right: cites a post that carries the answer, or holds a gold answer's words"
Row = tuple[str, str, bool, str]  # set, id, counted, said


async def run(bench: Bench) -> list[Measure]:
    """Two shares over all sets that are here, with a row a set."""
    silent, spoken, right = await night(bench)
    for cases in await public(bench):
        for case in cases:
            row = (case.set, case.id)
            if case.expect == "abstain":
                silent.append((*row, not case.told.answered, case.told.said))
            else:
                spoken.append((*row, case.told.answered, case.told.said))
                right.append((*row, case.right, case.told.said))
    return [
        _share("abstention.abstains", "abstains where the posts do not say", silent, _ABSTAINS),
        _share("abstention.answers", "answers what the posts do say", spoken, _ANSWERS),
        _share("abstention.right", "answers it rightly", right, None),
    ]


async def night(bench: Bench) -> tuple[list[Row], list[Row], list[Row]]:
    """What is due to abstain, to answer, and to answer rightly, on the night's facts."""
    answered = await facts.answers(bench)
    silent: list[Row] = []
    spoken: list[Row] = []
    right: list[Row] = []
    for a in answered:
        if a.fact.kind == "unanswerable":
            silent.append(("night", a.id, not a.told.answered, a.told.said))
        elif a.fact.kind in ("answerable", "superseded"):
            spoken.append(("night", a.id, a.told.answered, a.told.said))
            right.append(("night", a.id, a.verdict == "right", a.told.said))
    return silent, spoken, right


async def public(bench: Bench) -> list[list[corpora.Case]]:
    """The cases of each public set that is here."""
    found = []
    sets: tuple[Callable[[Bench], Awaitable[list[corpora.Case]]], ...] = (corpora.tweets, corpora.news)
    for ask in sets:
        try:
            found.append(await ask(bench))
        except Skipped:
            continue
    return found


def _share(name: str, title: str, rows: list[Row], goal: Goal | None) -> Measure:
    return share(
        name,
        title,
        sum(counted for _, _, counted, _ in rows),
        len(rows),
        goal,
        table=tabled((set_, counted) for set_, _, counted, _ in rows),
        misses=tuple(Miss(id_, "not so", said) for _, id_, counted, said in rows if not counted),
        told=_JUDGED,
    )
