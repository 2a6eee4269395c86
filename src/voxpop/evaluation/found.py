"""Is the post that a question was written about among those that an answer would be given? It judges no answer."""

from collections.abc import Sequence

from voxpop import app
from voxpop.evaluation.bench import Bench
from voxpop.evaluation.datasets import Asked, Row, tweetqa
from voxpop.evaluation.measures import Goal, Measure, Miss, share
from voxpop.messages import Message, Request
from voxpop.retrieval import plan, retrieve
from voxpop.text import fingerprint

_TOLD = "a copy of the tweet counts as the tweet; every tweet of the file is in the store"
_FIRST, _TEN = Goal(">=", 0.60), Goal(">=", 0.80)


async def run(bench: Bench) -> list[Measure]:
    """TweetQA through the assistant's own plan and retrieval: the tweet first, and among the first ten."""
    (path,) = bench.public("qa/tweetqa_train.jsonl.gz")
    ranked = await _ranks(bench, *tweetqa(path), "tweetqa")
    ranks = [rank for _, rank in ranked]
    missed = tuple(Miss(f"tweetqa:{one.id}", "not found") for one, rank in ranked if rank is None)
    bare = [rank for _, rank in await _ranks(bench, *tweetqa(path, bare=True), "tweetqa-bare")]
    return [
        share(
            "retrieval.first", "the post asked about comes first", ranks.count(0), len(ranks), _FIRST, told=_TOLD
        ),
        share(
            "retrieval.ten",
            "the post asked about is among ten",
            _ten(ranks),
            len(ranks),
            _TEN,
            misses=missed,
            told=_TOLD,
        ),
        share("retrieval.bare_first", "it comes first, its author cut off its text", bare.count(0), len(bare)),
        share("retrieval.bare_ten", "it is among ten, its author cut off its text", _ten(bare), len(bare)),
    ]


def _ten(ranks: Sequence[int | None]) -> int:
    return sum(rank is not None and rank < 10 for rank in ranks)


async def _ranks(
    bench: Bench, asked: Sequence[Asked], rows: Sequence[Row], name: str
) -> list[tuple[Asked, int | None]]:
    texts = {f"x:{row['id']}": fingerprint(row["text"]) for row in rows}
    store = await bench.rows(name, rows)
    now = (await store.totals())["newest"]
    authorities = app.authorities(bench.config)
    ranks: list[tuple[Asked, int | None]] = []
    for one in bench.steps(bench.some(asked)):
        found = await retrieve(store, plan(Request((Message("user", one.question),)), now), now, authorities)
        marks = [fingerprint(p.post.text) for p in found.passages]
        ranks.append((one, next((i for i, mark in enumerate(marks) if mark == texts[one.posts[0]]), None)))
    return ranks
