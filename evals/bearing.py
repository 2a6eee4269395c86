"""Learn the weights of `voxpop.bearing` from questions with their posts; one JSON line of how well it tells them.

    python evals/bearing.py --data FOLDER             held-out figures
    python evals/bearing.py --data FOLDER --write     and write src/voxpop/bearing.toml

FOLDER holds tweetqa_train.jsonl.gz (TweetQA, CC BY-SA 4.0), realtimeqa_2022.jsonl.gz and
realtimeqa_news_2022.jsonl.gz (RealTimeQA).

Each question is searched for as an answer would; a sentence of its own post is right, those of other posts are
wrong, and copies of its post are neither. A third of the questions is held out. `right`: of those, how many have a
sentence of their post among the best three, at the bar at which the share `abstains` of them would not be answered
without their post. Needs scipy.
"""

import argparse
import asyncio
import gzip
import json
import random
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize

from voxpop.authorities import Authorities
from voxpop.bearing import around, features
from voxpop.evidence import spoken
from voxpop.messages import Message, Request
from voxpop.posts import Author, Post, Upsert
from voxpop.retrieval import plan, retrieve
from voxpop.store.local import LocalStore
from voxpop.text import fold, words
from voxpop.times import MICROS, micros

TARGET = Path(__file__).parents[1] / "src" / "voxpop" / "bearing.toml"
ABSTAINS = (0.95, 0.9, 0.8)
# More of these can only speak for an answer.
FOR = {"literal", "in_the_sentence", "mass", "pairs", "met"}
QUESTIONS = 1500
NEWS_WEIGHT = 3.0


class Item(NamedTuple):
    """A question, when it is asked, the ids of the posts that answer it, and the answers."""

    ask: str
    at: int
    own: frozenset[str]
    golds: tuple[str, ...]


class Sentence(NamedTuple):
    """A sentence that was found: what the model sees of it, and whether it is of the question's own post."""

    features: dict[str, float]
    own: bool
    holds_answer: bool


def tweets(folder: Path) -> tuple[list[Post], list[Item]]:
    rows = list(lines(folder / "tweetqa_train.jsonl.gz"))
    ids = {text: f"tweet:{i}" for i, text in enumerate(dict.fromkeys(r["tweet"] for r in rows))}
    now = micros("2018-01-01T00:00:00Z")
    posts = [_post(id_, text, now - i * 1000 * MICROS) for i, (text, id_) in enumerate(ids.items())]
    asked = random.Random(5).sample(rows, QUESTIONS)
    return posts, [Item(r["question"], now, frozenset({ids[r["tweet"]]}), tuple(r["answers"])) for r in asked]


def news(folder: Path) -> tuple[list[Post], list[Item]]:
    articles = list(lines(folder / "realtimeqa_news_2022.jsonl.gz"))
    posts, about = [], dict[str, set[str]]()
    for i, article in enumerate(articles):
        day = (article["publish_date"] or "2022/01/01").replace("/", "-")
        posts.append(_post(f"news:{i}", f"{article['title']}\n{article['text']}", micros(f"{day}T12:00:00Z")))
        for id_ in article["question_ids"]:
            about.setdefault(id_, set()).add(f"news:{i}")
    items = []
    for row in lines(folder / "realtimeqa_2022.jsonl.gz"):
        own = about.get(row["question_id"], set())
        if own and row["answer"][0].isdigit():
            at = micros(f"{row['question_date'].replace('/', '-')}T23:00:00Z")
            items.append(
                Item(row["question_sentence"], at, frozenset(own), (row["choices"][int(row["answer"][0])],))
            )
    return posts, items


def _post(id_: str, text: str, at: int) -> Post:
    return Post(id_, "recorded", Author(f"by:{id_}", id_.replace(":", "")), text, at, at, lang="en")


async def pools(posts: Sequence[Post], items: Sequence[Item]) -> list[list[Sentence]]:
    """The sentences that a search finds for each question."""
    by_id = {p.id: p for p in posts}
    found = []
    with tempfile.TemporaryDirectory() as folder:
        async with LocalStore(Path(folder)) as store:
            await store.apply("recorded", [Upsert(p, str(i)) for i, p in enumerate(posts)])
            await store.commit()
            for item in items:
                planned = plan(Request((Message("user", item.ask),), as_of=item.at), item.at)
                got = await retrieve(store, planned, item.at, Authorities.of(), 12)
                mine = [frozenset(words(by_id[i].text)) for i in item.own]
                found.append([s for p in got.passages for s in _sentences(planned.question, p.post, item, mine)])
    return found


def _sentences(question: Any, post: Post, item: Item, mine: Sequence[frozenset[str]]) -> Iterator[Sentence]:
    own, terms = post.id in item.own, frozenset(words(post.text))
    if not own and any(len(terms & m) > 0.7 * min(len(terms), len(m)) for m in mine):
        return
    said = list(spoken(question, post.text))
    for i, text in enumerate(said):
        held = any(set(words(fold(g))) <= set(words(text)) for g in item.golds)
        yield Sentence(dict(features(question, text, around(said, i))), own, held)


def fit(pools: Sequence[tuple[list[Sentence], float]], names: Sequence[str]) -> np.ndarray:
    """Bias and weights by logistic regression; those of FOR are not negative."""
    rows = [
        (s, w)
        for pool, w in pools
        for s in pool
        if not s.own or s.holds_answer or not any(o.holds_answer for o in pool)
    ]
    x = np.array([[s.features[n] for n in names] for s, _ in rows])
    y = np.array([s.own for s, _ in rows], dtype=float)
    weight = np.array([w for _, w in rows]) * np.where(y > 0, 0.5 + 0.5 * (y == 0).sum() / y.sum(), 1.0)
    mean, deviation = x.mean(0), x.std(0) + 1e-9
    z = (x - mean) / deviation

    def loss(v: np.ndarray) -> tuple[float, np.ndarray]:
        p = 1 / (1 + np.exp(-np.clip(z @ v[1:] + v[0], -30, 30)))
        told = (
            -(weight * (y * np.log(p + 1e-12) + (1 - y) * np.log(1 - p + 1e-12))).mean() + 1e-3 * (v[1:] ** 2).sum()
        )
        slope = weight * (p - y) / len(y)
        return told, np.concatenate([[slope.sum()], z.T @ slope + 2e-3 * v[1:]])

    bounds = [(None, None)] + [(0, None) if n in FOR else (None, None) for n in names]
    v = minimize(loss, np.zeros(len(names) + 1), jac=True, bounds=bounds, method="L-BFGS-B").x
    weights = v[1:] / deviation
    return np.concatenate([[v[0] - weights @ mean], weights])


def measured(pools: Sequence[list[Sentence]], names: Sequence[str], model: np.ndarray) -> dict[str, Any]:
    """`right` at each share of `abstains`, with the bar."""
    with_own, without, right = [], [], []
    for pool in pools:
        scored = sorted(((_probability(s, names, model), s.own) for s in pool), reverse=True)
        with_own.append(scored[0][0] if scored else 0.0)
        without.append(next((p for p, own in scored if not own), 0.0))
        right.append(any(own for _, own in scored[:3]))
    out = {}
    for share in ABSTAINS:
        bar = float(np.quantile(without, share))
        out[str(share)] = {
            "bar": round(bar, 3),
            "right": round(float(np.mean((np.array(with_own) > bar) & right)), 3),
        }
    return {
        "questions": len(pools),
        "found": round(float(np.mean([any(s.own for s in p) for p in pools])), 3),
        **out,
    }


def _probability(sentence: Sentence, names: Sequence[str], model: np.ndarray) -> float:
    total = model[0] + sum(model[i] * sentence.features[n] for i, n in enumerate(names, 1))
    return float(1 / (1 + np.exp(-np.clip(total, -30, 30))))


def lines(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    found = {
        name: asyncio.run(pools(*read(options.data))) for name, read in (("tweetqa", tweets), ("realtimeqa", news))
    }
    names = list(next(p for p in found["tweetqa"] if p)[0].features)
    train = [
        (p, w)
        for name, w in (("tweetqa", 1.0), ("realtimeqa", NEWS_WEIGHT))
        for i, p in enumerate(found[name])
        if i % 3
    ]
    model = fit(train, names)
    report = {name: measured([p for i, p in enumerate(found[name]) if i % 3 == 0], names, model) for name in found}
    print(json.dumps(report))
    if options.write:
        write(names, model, report)


def write(names: Sequence[str], model: np.ndarray, report: dict[str, Any]) -> None:
    weights = "\n".join(f"{n} = {w:.4f}" for n, w in zip(names, model[1:], strict=True))
    bar = report["tweetqa"]["0.95"]["bar"]
    said = "\n".join(f"# {name}: {json.dumps(r)}" for name, r in report.items())
    TARGET.write_text(
        f"# Weights of voxpop.bearing, written by evals/bearing.py. Questions held out:\n{said}\n"
        f"bias = {model[0]:.4f}\nthreshold = {bar}\n\n[weights]\n{weights}\n"
    )


if __name__ == "__main__":
    main()
