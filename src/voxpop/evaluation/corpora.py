"""Ask the public question sets where their posts say the answer, and where they do not; once for all suites."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from voxpop.evaluation.bench import Bench
from voxpop.evaluation.datasets import Asked, realtimeqa, tweetqa
from voxpop.evaluation.judge import holds
from voxpop.evaluation.told import Told
from voxpop.store.local import LocalStore

Expect = Literal["answer", "abstain"]
_TWEETQA, _REALTIMEQA = 300, 60


@dataclass(frozen=True)
class Case:
    """A question as it was asked: of which set, what was due, and the answer."""

    set: str
    expect: Expect
    asked: Asked
    told: Told

    @property
    def id(self) -> str:
        return f"{self.set}:{self.asked.id}{'' if self.expect == 'answer' else ' (without its post)'}"

    @property
    def right(self) -> bool:
        """Cites a post that carries the answer, or holds a right answer."""
        cites = bool(set(self.asked.posts) & set(self.told.cited))
        return cites or self.golden("\n".join(t.text for t in self.told.sentences))

    def golden(self, text: str) -> bool:
        """Whether a text holds a right answer."""
        return any(holds(text, answer) for answer in self.asked.gold)


async def tweets(bench: Bench) -> list[Case]:
    """TweetQA: asked of all tweets of the file, and of the same without the tweets of the questions asked."""
    (path,) = bench.public("qa/tweetqa_train.jsonl.gz")
    if "tweetqa" not in bench.kept:
        asked, rows = tweetqa(path)
        asked = bench.some(asked, _TWEETQA)
        gone = {id_ for a in asked for id_ in a.posts}
        whole = await bench.rows("tweetqa", rows)
        less = await bench.rows("tweetqa-less", [r for r in rows if f"x:{r['id']}" not in gone])
        bench.kept["tweetqa"] = await _asked(bench, "tweetqa", [(a, a.as_of) for a in asked], whole, "answer")
        bench.kept["tweetqa"] += await _asked(bench, "tweetqa", [(a, a.as_of) for a in asked], less, "abstain")
    return list(bench.kept["tweetqa"])


async def news(bench: Bench) -> list[Case]:
    """RealTimeQA: asked on the evening of its day, and the second before the first article that says it."""
    paths = bench.public("qa/realtimeqa_2022.jsonl.gz", "qa/realtimeqa_news_2022.jsonl.gz")
    if "realtimeqa" not in bench.kept:
        dated, rows = realtimeqa(*paths)
        dated = bench.some(dated, _REALTIMEQA)
        store = await bench.rows("realtimeqa", rows)
        after, before = [(a, a.as_of) for a, _ in dated], [(a, moment) for a, moment in dated]
        bench.kept["realtimeqa"] = await _asked(bench, "realtimeqa", after, store, "answer")
        bench.kept["realtimeqa"] += await _asked(bench, "realtimeqa", before, store, "abstain")
    return list(bench.kept["realtimeqa"])


async def _asked(
    bench: Bench, name: str, asked: Sequence[tuple[Asked, int | None]], store: LocalStore, expect: Expect
) -> list[Case]:
    assistant = bench.assistant(store)
    return [
        Case(name, expect, a, await bench.ask(assistant, f"{name}:{a.id}", a.question, as_of))
        for a, as_of in bench.steps(asked)
    ]
