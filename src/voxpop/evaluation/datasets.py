"""Read public question sets by their path; a row that lacks what it needs is dropped, and nothing is fetched.

Where the files come from, and their licences: docs/evaluation.md. Texts stay on this machine: a report names a
question by its id.
"""

import gzip
import io
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import orjson
import zstandard

from voxpop.times import MICROS, micros

DAY = 24 * 3600 * MICROS
_LONGEST_LINE = 1 << 20
Row = dict[str, Any]
_SIGNED = re.compile(r"\s*[—–-]*\s*[^—–]{0,60}?\s*\(@\w+\)\s+\w+ \d{1,2}, \d{4}\s*$")


class Asked(NamedTuple):
    """A question of a set. `gold`: short answers, any of them right; `posts`: ids of the posts that carry one."""

    id: str
    question: str
    gold: tuple[str, ...]
    posts: tuple[str, ...]
    as_of: int | None = None


class Rumour(NamedTuple):
    """A post whose claim was labelled; `before` is a moment ahead of its first denial (microseconds of UTC)."""

    id: str
    veracity: str
    text: str
    at: int
    before: int
    event: str


def lines(path: Path) -> Iterator[Row]:
    """The objects of a JSONL file (.gz, .zst)."""
    with path.open("rb") as raw:
        file: Any = raw
        if path.suffix == ".gz":
            file = gzip.GzipFile(fileobj=raw)
        elif path.suffix == ".zst":
            unpacked = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
            file = io.BufferedReader(unpacked)
        while line := file.readline(_LONGEST_LINE):
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError:
                continue
            if isinstance(row, dict):
                yield row


def tweetqa(path: Path, *, bare: bool = False) -> tuple[list[Asked], list[Row]]:
    """Questions on one tweet each, and the tweets as rows of a recording.

    The file gives a tweet with its author's name, handle and date behind it; `bare` cuts them off.
    """
    asked: list[Asked] = []
    tweets: dict[str, Row] = {}
    for row in lines(path):
        text, question, gold = row.get("tweet"), row.get("question"), row.get("answers")
        if not (text and question and isinstance(gold, list) and row.get("qid")):
            continue
        tweet = tweets.setdefault(str(text), _tweet(row, len(tweets), bare))
        asked.append(Asked(str(row["qid"]), str(question), tuple(map(str, gold)), (f"x:{tweet['id']}",)))
    return asked, list(tweets.values())


def _tweet(row: Row, number: int, bare: bool) -> Row:
    day, text = row.get("date") or "2016-01-01", row["tweet"]
    signed = _SIGNED.search(text) if bare else None
    return {
        "id": f"tweetqa-{number}",
        "platform": "x",
        "author": row.get("author") or None,
        "created_at": f"{day}T12:00:00Z",
        "text": text[: signed.start()] if signed and signed.start() else text,
        "lang": "en",
    }


def realtimeqa(questions: Path, news: Path) -> tuple[list[tuple[Asked, int]], list[Row]]:
    """Questions on the news that an article of the time answers, each with a moment before any such article.

    The articles come as posts of their site's feed, with their title, at noon of their day.
    """
    rows: list[Row] = []
    linked: dict[str, list[Row]] = defaultdict(list)
    for number, article in enumerate(lines(news)):
        if (row := _article(article, number)) is None:
            continue
        rows.append(row)
        for id_ in article.get("question_ids") or ():
            linked[str(id_)].append(row)
    asked = []
    for item in lines(questions):
        gold = _gold(item)
        carrying = [r for r in linked[str(item.get("question_id"))] if gold and _says(r["text"], gold)]
        if not carrying:
            continue
        at = micros(f"{str(item['question_date']).replace('/', '-')}T23:59:59Z")
        born = [micros(r["created_at"]) for r in carrying]
        if min(born) <= at:
            posts = tuple(f"rss:{r['id']}" for r in carrying)
            one = Asked(str(item["question_id"]), str(item["question_sentence"]), (gold,), posts, at)
            asked.append((one, min(born) - MICROS))
    return asked, rows


def _article(article: Row, number: int) -> Row | None:
    day, text = article.get("publish_date"), article.get("text")
    if not (text and isinstance(day, str) and re.fullmatch(r"\d{4}/\d\d/\d\d", day)):
        return None
    site = urlsplit(str(article.get("url", ""))).netloc.removeprefix("www.")
    return {
        "id": f"news-{number}",
        "platform": "rss",
        "author": site,
        "created_at": f"{day.replace('/', '-')}T12:00:00Z",
        "text": f"{article.get('title', '')}\n{text}",
        "url": article.get("url", ""),
        "lang": "en",
    }


def _gold(item: Row) -> str:
    try:
        return str(item["choices"][int(item["answer"][0])])
    except (KeyError, IndexError, ValueError, TypeError):
        return ""


def _says(text: str, gold: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(gold.lower())}(?!\w)", text.lower()) is not None


def rumours(labels: Path, posts: Path) -> tuple[list[Rumour], dict[str, list[Row]]]:
    """Labelled sources that the posts hold, and by event the rows of all posts around them.

    `before` is ten minutes after the post, or the moment of the first reply labelled a denial if that is sooner.
    """
    veracity = {str(r.get("source_tweet_id")): str(r.get("veracity")) for r in lines(labels)}
    found: dict[str, Row] = {}
    denied: dict[str, int] = {}
    by_event: dict[str, list[Row]] = defaultdict(list)
    for row in lines(posts):
        marks = row.get("labels") or {}
        if row.get("id") in veracity:
            found.setdefault(row["id"], row)
        if marks.get("stance") == "deny" and row.get("in_reply_to_id"):
            at, id_ = micros(row["created_at"]), str(row["in_reply_to_id"])
            denied[id_] = min(at, denied.get(id_, at))
        by_event[str(row.get("event"))].append(row)
    wanted = [_rumour(row, veracity[id_], denied) for id_, row in found.items()]
    events = {r.event for r in wanted}
    return wanted, {event: rows for event, rows in by_event.items() if event in events}


def _rumour(row: Row, veracity: str, denied: Mapping[str, int]) -> Rumour:
    at = micros(row["created_at"])
    before = min(at + 600 * MICROS, denied.get(row["id"], at + 600 * MICROS) - 1)
    return Rumour(f"x:{row['id']}", veracity, row["text"], at, max(before, at), str(row.get("event")))
