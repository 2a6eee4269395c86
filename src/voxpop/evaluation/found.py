"""Is the post that a question was written about among those that an answer would be given? It judges no answer."""

from voxpop import app
from voxpop.evaluation.bench import Bench
from voxpop.evaluation.datasets import tweetqa
from voxpop.evaluation.measures import Goal, Measure, Miss, share
from voxpop.messages import Message, Request
from voxpop.retrieval import plan, retrieve
from voxpop.text import fingerprint

_FIRST, _TEN = Goal(">=", 0.60), Goal(">=", 0.80)


async def run(bench: Bench) -> list[Measure]:
    """TweetQA through the assistant's own plan and retrieval: the tweet first, and among the first ten."""
    (path,) = bench.public("qa/tweetqa_train.jsonl.gz")
    asked, rows = tweetqa(path)
    asked = bench.some(asked)
    texts = {f"x:{row['id']}": fingerprint(row["text"]) for row in rows}
    store = await bench.rows("tweetqa", rows)
    now = (await store.totals())["newest"]
    authorities = app.authorities(bench.config)
    ranks: list[int | None] = []
    for one in bench.steps(asked):
        found = await retrieve(store, plan(Request((Message("user", one.question),)), now), now, authorities)
        marks = [fingerprint(p.post.text) for p in found.passages]
        ranks.append(next((i for i, mark in enumerate(marks) if mark == texts[one.posts[0]]), None))
    told = "a copy of the tweet counts as the tweet; every tweet of the file is in the store"
    ranked = zip(asked, ranks, strict=True)
    missed = tuple(Miss(f"tweetqa:{one.id}", "not found") for one, rank in ranked if rank is None)
    return [
        share("retrieval.first", "the post asked about comes first", ranks.count(0), len(ranks), _FIRST, told=told),
        share(
            "retrieval.ten",
            "the post asked about is among ten",
            sum(rank is not None and rank < 10 for rank in ranks),
            len(ranks),
            _TEN,
            misses=missed,
        ),
    ]
