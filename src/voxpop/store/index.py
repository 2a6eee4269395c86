"""A tantivy index in partitions that ranks candidates by BM25; it is never asked what is true, only what may match.

Partitions are cut by arrival: one takes new posts, the older ones only lose posts, so that a whole day can be
dropped as a directory. `seq` is a signed field because deletion by an unsigned term silently deletes nothing.
"""

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from heapq import nlargest
from operator import itemgetter
from pathlib import Path

import orjson
import tantivy

from voxpop.times import MICROS

_TOKENIZER = "posts"
_DAY = 24 * 3600 * MICROS
_FULL = 1_000_000
_WORTH_CUTTING = 50_000
_HEAP = 64_000_000
_FOREVER = 1 << 62


@dataclass(frozen=True, slots=True)
class Entry:
    """What the index reads of a post; `text` is its words between spaces."""

    seq: int
    text: str
    witnessed_at: int
    author_id: str
    lang: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """A search in terms: each group is a word, or a phrase in order; bounds as in `Query`."""

    any_of: tuple[tuple[str, ...], ...]
    all_of: tuple[tuple[str, ...], ...] = ()
    none_of: tuple[tuple[str, ...], ...] = ()
    author_ids: frozenset[str] | None = None
    lang: str = ""
    since: int = 0
    until: int = _FOREVER

    def within(self, since: int, until: int) -> "Wanted":
        """The same search in a narrower time."""
        return replace(self, since=since, until=until)

    def admits(self, entry: Entry) -> bool:
        """Whether an entry lies within the bounds."""
        return (
            self.since <= entry.witnessed_at <= self.until
            and (self.author_ids is None or entry.author_id in self.author_ids)
            and (not self.lang or entry.lang == self.lang)
        )


def _schema() -> tantivy.Schema:
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("text", tokenizer_name=_TOKENIZER, index_option="position")
    builder.add_text_field("author", tokenizer_name="raw", index_option="basic")
    builder.add_text_field("lang", tokenizer_name="raw", index_option="basic")
    builder.add_integer_field("seq", indexed=True, fast=True)
    builder.add_integer_field("at", fast=True)
    return builder.build()


class Partition:
    """One directory of the index: the posts that arrived in one stretch of time."""

    def __init__(self, folder: Path, schema: tantivy.Schema) -> None:
        self.folder = folder
        self._schema = schema
        _sweep(folder)
        self._index = tantivy.Index(schema, path=str(folder))
        self._index.register_tokenizer(
            _TOKENIZER, tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace()).build()
        )
        self._writer: tantivy.IndexWriter | None = None
        self.searcher = self._index.searcher()
        self.oldest, self.newest, self.last_seq = self._bounds()

    def _bounds(self) -> tuple[int, int, int]:
        def edge(field: str, order: tantivy.Order) -> int:
            every = tantivy.Query.all_query()
            hits = self.searcher.search(every, limit=1, order_by_field=field, order=order, count=False).hits
            return int(hits[0][0] or 0)

        if not self.searcher.num_docs:
            return _FOREVER, -1, 0
        return edge("at", tantivy.Order.Asc), edge("at", tantivy.Order.Desc), edge("seq", tantivy.Order.Desc)

    def seqs(self) -> set[int]:
        """The numbers of all posts that the partition holds."""
        count = self.searcher.num_docs
        hits = self.searcher.search(tantivy.Query.all_query(), limit=max(count, 1), count=False).hits
        return {int(s or 0) for s in self.searcher.fast_field_values("seq", [address for _, address in hits])}

    def write(self, entries: Sequence[Entry], removed: Iterable[int]) -> None:
        """Add and remove, commit, and show the result to the next search; on an error nothing of it is kept."""
        try:
            self._commit(entries, removed)
        except BaseException:
            self._writer = None
            raise
        self._index.reload()
        self.searcher = self._index.searcher()
        if entries:
            times = [e.witnessed_at for e in entries]
            self.oldest = min(self.oldest, *times)
            self.newest = max(self.newest, *times)
            self.last_seq = max(self.last_seq, entries[-1].seq)

    def _commit(self, entries: Sequence[Entry], removed: Iterable[int]) -> None:
        if self._writer is None:
            self._writer = self._index.writer(heap_size=_HEAP, num_threads=1)
        writer = self._writer
        for entry in entries:
            document = tantivy.Document()
            document.add_text("text", entry.text)
            document.add_text("author", entry.author_id)
            document.add_text("lang", entry.lang)
            document.add_integer("seq", entry.seq)
            document.add_integer("at", entry.witnessed_at)
            writer.add_document(document)
        for seq in removed:
            writer.delete_documents_by_term("seq", seq)
        writer.commit()

    def rest(self) -> None:
        """Give the writer and its memory back; the next write takes a new one."""
        if self._writer is not None:
            self._writer.wait_merging_threads()
            self._writer = None

    def search(self, wanted: Wanted, limit: int) -> list[tuple[int, float]]:
        """(seq, BM25) of the best `limit` documents, best first."""
        searcher = self.searcher
        hits = searcher.search(self._query(wanted), limit=limit, count=False).hits
        seqs = searcher.fast_field_values("seq", [address for _, address in hits]) if hits else []
        return [(int(seq or 0), float(score or 0.0)) for seq, (score, _) in zip(seqs, hits, strict=True)]

    def _query(self, wanted: Wanted) -> tantivy.Query:
        must, should, must_not = tantivy.Occur.Must, tantivy.Occur.Should, tantivy.Occur.MustNot
        clauses = [(must, self._group(g)) for g in wanted.all_of]
        if wanted.any_of:
            ranked = tantivy.Query.boolean_query([(should, self._group(g)) for g in wanted.any_of])
            clauses.append((must, ranked))
        clauses += [(must_not, self._group(g)) for g in wanted.none_of]
        filters = []
        if wanted.since > self.oldest or wanted.until < self.newest:
            span = (max(wanted.since, 0), wanted.until)
            filters.append(tantivy.Query.range_query(self._schema, "at", tantivy.FieldType.Integer, *span))
        if wanted.author_ids is not None:
            filters.append(tantivy.Query.term_set_query(self._schema, "author", sorted(wanted.author_ids)))
        if wanted.lang:
            filters.append(tantivy.Query.term_query(self._schema, "lang", wanted.lang))
        clauses += [(must, tantivy.Query.const_score_query(f, 0.0)) for f in filters]
        return tantivy.Query.boolean_query(clauses)

    def _group(self, group: tuple[str, ...]) -> tantivy.Query:
        if len(group) == 1:
            return tantivy.Query.term_query(self._schema, "text", group[0])
        return tantivy.Query.phrase_query(self._schema, "text", list(group))


class Index:
    """All partitions, oldest first. Written from one thread; searched from any.

    A folder that cannot be read as an index raises ValueError or OSError: the truth can rebuild it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._schema = _schema()
        found = sorted((int(p.name), p) for p in folder.glob("*") if p.name.isdigit())
        self.partitions = [Partition(path, self._schema) for _, path in found]

    @property
    def last_seq(self) -> int:
        """The highest sequence number that a commit holds."""
        return max((p.last_seq for p in self.partitions), default=0)

    @property
    def documents(self) -> int:
        """How many posts the commits hold."""
        return sum(p.searcher.num_docs for p in self.partitions)

    def holding(self, term: str) -> int:
        """How many documents hold a term."""
        return sum(p.searcher.doc_freq("text", term) for p in self.partitions)

    def write(self, entries: Sequence[Entry], removed: Sequence[int]) -> None:
        """Commit new entries (in order of `seq`) to the newest partition, and removals to all."""
        if entries and self._cut_here(entries[0]):
            if self.partitions:
                self.partitions[-1].rest()
            path = self._folder / f"{entries[0].seq:012d}"
            path.mkdir(parents=True, exist_ok=True)
            self.partitions = [*self.partitions, Partition(path, self._schema)]
        if not self.partitions or not (entries or removed):
            return
        *older, active = self.partitions
        for partition in older:
            first, last = int(partition.folder.name), partition.last_seq
            if mine := [s for s in removed if first <= s <= last]:
                partition.write([], mine)
                partition.rest()
        fresh = [e for e in entries if e.seq not in gone] if (gone := set(removed)) else entries
        active.write(fresh, [s for s in removed if s >= int(active.folder.name)])

    def _cut_here(self, entry: Entry) -> bool:
        if not self.partitions:
            return True
        active = self.partitions[-1]
        size = active.searcher.num_docs
        spans_a_day = entry.witnessed_at - active.oldest > _DAY
        return size >= _FULL or (spans_a_day and size >= _WORTH_CUTTING)

    def search(self, wanted: Wanted, limit: int) -> list[tuple[int, float]]:
        """(seq, BM25) of the best `limit` over the partitions that overlap the wanted time, best first."""
        found: list[tuple[int, float]] = []
        for partition in self.partitions:
            if partition.oldest <= wanted.until and partition.newest >= wanted.since:
                found += partition.search(wanted, limit)
        return nlargest(limit, found, key=itemgetter(1))

    def seqs(self) -> set[int]:
        """The numbers of all posts that the commits hold."""
        return set().union(*(p.seqs() for p in self.partitions))

    def close(self) -> None:
        """Give back what writing took."""
        for partition in self.partitions:
            partition.rest()


def _sweep(folder: Path) -> None:
    """Remove lists of deletions that no commit names: a killed writer leaves them, and the next fails on one."""
    try:
        segments = orjson.loads((folder / "meta.json").read_bytes())["segments"]
        deletes = {s["segment_id"].replace("-", ""): s["deletes"] for s in segments}
        named = {f"{id_}.{d['opstamp']}.del" for id_, d in deletes.items() if d}
    except (OSError, ValueError, KeyError, TypeError):
        return  # no index of tantivy's yet, or none at all: opening it says so
    for path in folder.glob("*.del"):
        if path.name not in named:
            path.unlink()


def erase(folder: Path) -> None:
    """Remove an index: the truth can rebuild it."""
    if folder.exists():
        shutil.rmtree(folder)
