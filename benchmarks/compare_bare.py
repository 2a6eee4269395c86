"""The store beside bare tantivy at the same commit interval and beside SQLite FTS5 alone, in turns, in one run.

Bare tantivy: the same words, one index, one writer thread. `words` stores and looks up nothing: its search ends
where ours begins to read posts, rank and collapse copies. `posts` is what a store of posts must do at least: a post
that comes again takes the place of the first (delivery is at least once), and a search reads the posts it found.
FTS5: text and times in one table, `unicode61`, one transaction a batch. Commits come every 3,000 posts: half a
second at 6,000 a second. `python compare_bare.py [POSTS]`
"""

import asyncio
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import orjson
import tantivy

from _store import corpus, millis, queries, report
from voxpop.posts import Post, Upsert
from voxpop.store import Query
from voxpop.store.local import LocalStore
from voxpop.text import indexed, words

BATCH, COMMIT_EVERY, ROUNDS, ASKED = 1500, 3000, 3, 200


class Ours:
    name = "ours"

    def __init__(self, folder: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._store = LocalStore(folder, commit_s=3600)
        self._loop.run_until_complete(self._store.__aenter__())

    def add(self, events: Sequence[Upsert]) -> None:
        self._loop.run_until_complete(self._store.apply("s", events))

    def commit(self) -> None:
        self._loop.run_until_complete(self._store.commit())

    def search(self, query: Query, now: int) -> None:
        self._loop.run_until_complete(self._store.search(query, now))

    def close(self) -> None:
        self._loop.run_until_complete(self._store.__aexit__())
        self._loop.close()


def shown(post: Post) -> bytes:
    """What a reader wants to know of a post."""
    return orjson.dumps(
        [post.id, *post.author, post.text, post.created_at, post.witnessed_at, post.url, post.lang, post.reply_to]
    )


class Bare:
    def __init__(self, folder: Path, *, posts: bool) -> None:
        self.name = "tantivy_posts" if posts else "tantivy_words"
        self._posts = posts
        builder = tantivy.SchemaBuilder()
        if posts:
            builder.add_text_field("id", tokenizer_name="raw", index_option="basic")
            builder.add_bytes_field("shown", stored=True)
        builder.add_text_field("text", tokenizer_name="words", index_option="position")
        builder.add_integer_field("at", fast=True)
        builder.add_integer_field("n", fast=True)
        folder.mkdir()
        self._schema = builder.build()
        self._index = tantivy.Index(self._schema, path=str(folder))
        analyzer = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace()).build()
        self._index.register_tokenizer("words", analyzer)
        self._writer = self._index.writer(heap_size=64_000_000, num_threads=1)
        self._count = 0

    def add(self, events: Sequence[Upsert]) -> None:
        for event in events:
            document = tantivy.Document()
            document.add_text("text", indexed(event.post.text))
            document.add_integer("at", event.post.witnessed_at)
            document.add_integer("n", self._count)
            if self._posts:
                self._writer.delete_documents_by_term("id", event.post.id)
                document.add_text("id", event.post.id)
                document.add_bytes("shown", shown(event.post))
            self._writer.add_document(document)
            self._count += 1

    def commit(self) -> None:
        self._writer.commit()
        self._index.reload()

    def search(self, query: Query, now: int) -> None:
        should = tantivy.Occur.Should
        clauses = []
        for asked in query.words:
            terms = words(asked)
            make = tantivy.Query.term_query if len(terms) == 1 else tantivy.Query.phrase_query
            clauses.append((should, make(self._schema, "text", terms[0] if len(terms) == 1 else terms)))
        searcher = self._index.searcher()
        hits = searcher.search(tantivy.Query.boolean_query(clauses), limit=query.limit, count=False).hits
        if self._posts:
            for _, address in hits:
                orjson.loads(bytes(searcher.doc(address)["shown"][0]))
        else:
            searcher.fast_field_values("n", [address for _, address in hits])

    def close(self) -> None:
        self._writer.wait_merging_threads()


class Fts5:
    name = "fts5"

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._con = sqlite3.connect(folder / "fts.db", isolation_level=None)
        self._con.execute("PRAGMA journal_mode=WAL")
        self._con.execute("PRAGMA synchronous=NORMAL")
        self._con.execute("CREATE VIRTUAL TABLE posts USING fts5(text, at UNINDEXED)")

    def add(self, events: Sequence[Upsert]) -> None:
        self._con.execute("BEGIN")
        rows = ((e.post.text, e.post.witnessed_at) for e in events)
        self._con.executemany("INSERT INTO posts VALUES (?, ?)", rows)
        self._con.execute("COMMIT")

    def commit(self) -> None:
        """Each batch was committed."""

    def search(self, query: Query, now: int) -> None:
        asked = " OR ".join('"' + " ".join(words(w)) + '"' for w in query.words)
        sql = "SELECT text, at FROM posts WHERE posts MATCH ? ORDER BY rank LIMIT ?"
        self._con.execute(sql, (asked, query.limit)).fetchall()

    def close(self) -> None:
        self._con.close()


def ingested(engine: Ours | Bare | Fts5, events: Sequence[Upsert]) -> float:
    """Posts a second of CPU, all threads."""
    cpu = time.process_time()
    for start in range(0, len(events), BATCH):
        engine.add(events[start : start + BATCH])
        if (start + BATCH) % COMMIT_EVERY == 0:
            engine.commit()
    engine.commit()
    return len(events) / (time.process_time() - cpu)


def searched(engine: Ours | Bare | Fts5, asked: Sequence[Query], now: int) -> list[float]:
    times = []
    for query in asked:
        start = time.perf_counter()
        engine.search(query, now)
        times.append(time.perf_counter() - start)
    return times


def main(count: int) -> None:
    events = asyncio.run(corpus(count))
    asked = queries(events, ASKED)
    now = max(e.post.witnessed_at for e in events)
    made: list[Callable[[Path], Ours | Bare | Fts5]] = [
        Ours,
        partial(Bare, posts=False),
        partial(Bare, posts=True),
        Fts5,
    ]
    rates: dict[str, list[float]] = {}
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for turn in range(ROUNDS):
            engines = [make(Path(temporary) / f"{turn}{n}") for n, make in enumerate(made)]
            for engine in engines:
                rates.setdefault(engine.name, []).append(ingested(engine, events))
            for engine in engines:
                searched(engine, asked[:20], now)
                times.setdefault(engine.name, []).extend(searched(engine, asked, now))
                engine.close()
    rate = {name: round(median(r)) for name, r in rates.items()}
    spent = {name: dict(zip(("p50", "p99"), millis(t, 0.5, 0.99), strict=True)) for name, t in times.items()}
    report(
        figure="compare_bare",
        posts=len(events),
        commit_every=COMMIT_EVERY,
        posts_per_cpu_s=rate,
        search_ms=spent,
        ingest_ratio={name: round(rate["ours"] / r, 2) for name, r in rate.items()},
        search_time_ratio={name: round(spent["ours"]["p50"] / s["p50"], 2) for name, s in spent.items()},
    )


main(int(sys.argv[1]) if len(sys.argv) > 1 else 225_000)
