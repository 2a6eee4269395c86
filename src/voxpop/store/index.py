"""A tantivy index for each partition ranks candidates by BM25; it is never asked what is true, only what may match.

It holds codes of words, never words. `seq` is a signed field because deletion by an unsigned term silently deletes
nothing.
"""

import logging
import shutil
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from heapq import nlargest
from operator import itemgetter
from pathlib import Path
from typing import TypeVar

import orjson
import tantivy

from voxpop.store.codes import Codes
from voxpop.store.partition import FOREVER, Extent, folder_of
from voxpop.store.rows import Stored
from voxpop.text import indexed

T = TypeVar("T")
_log = logging.getLogger(__name__)
_TOKENIZER = "posts"
_HEAP = 64_000_000
_MAGIC = 1337
KIN, LIGHT = 0.7, 0.3  # what a word's kin and a light word count for, beside the word itself


@dataclass(frozen=True, slots=True)
class Entry:
    """What the index reads of a post; `text` is its words between spaces."""

    seq: int
    text: str
    witnessed_at: int
    author: int
    lang: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """A search in terms: each group is a word, or a phrase in order; bounds, `kin` and `light` as in `Query`."""

    any_of: tuple[tuple[str, ...], ...]
    kin: tuple[tuple[tuple[str, ...], ...], ...] = ()
    light: tuple[tuple[str, ...], ...] = ()
    all_of: tuple[tuple[str, ...], ...] = ()
    none_of: tuple[tuple[str, ...], ...] = ()
    authors: frozenset[int] | None = None
    others: frozenset[int] = frozenset()  # accounts of which nothing is wanted
    lang: str = ""
    since: int = 0
    until: int = FOREVER

    def within(self, since: int, until: int) -> "Wanted":
        """The same search in a narrower time."""
        return replace(self, since=since, until=until)

    def admits(self, entry: Entry) -> bool:
        """Whether an entry lies within the bounds."""
        return (
            self.since <= entry.witnessed_at <= self.until
            and (self.authors is None or entry.author in self.authors)
            and entry.author not in self.others
            and (not self.lang or entry.lang == self.lang)
        )


def _schema() -> tantivy.Schema:
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("text", tokenizer_name=_TOKENIZER, index_option="position")
    builder.add_integer_field("author", indexed=True)
    builder.add_text_field("lang", tokenizer_name="raw", index_option="basic")
    builder.add_integer_field("seq", indexed=True, fast=True)
    builder.add_integer_field("at", fast=True)
    return builder.build()


class PartitionIndex:
    """The index of one partition, in a folder of its own that can be made again from the truth."""

    def __init__(self, folder: Path, codes: Codes) -> None:
        folder.mkdir(exist_ok=True)  # not its parent: a partition that was dropped stays so
        self.folder = folder
        self.damage = ""  # why it is searched no more until it is made anew
        self._codes = codes
        self._schema = schema = _schema()
        self._index = tantivy.Index(schema, path=str(folder))
        self._index.register_tokenizer(
            _TOKENIZER, tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace()).build()
        )
        self._writer: tantivy.IndexWriter | None = None
        self.searcher = self._index.searcher()

    @property
    def documents(self) -> int:
        """How many posts its last commit holds."""
        return int(self.searcher.num_docs)

    def last_seq(self) -> int:
        """The highest number that its last commit holds."""
        every = tantivy.Query.all_query()
        hits = self.searcher.search(
            every, limit=1, order_by_field="seq", order=tantivy.Order.Desc, count=False
        ).hits
        return int(hits[0][0] or 0) if hits else 0

    def holding(self, word: str) -> int:
        """How many posts hold a word."""
        return int(self.searcher.doc_freq("text", self._codes[word]))

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

    def _commit(self, entries: Sequence[Entry], removed: Iterable[int]) -> None:
        if self._writer is None:
            _sweep(self.folder)  # not earlier: a reader must not touch what another process is writing
            self._writer = self._index.writer(heap_size=_HEAP, num_threads=1)
        writer = self._writer
        for entry in entries:
            document = tantivy.Document()
            document.add_text("text", self._codes.text(entry.text))
            document.add_integer("author", entry.author)
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

    def search(self, wanted: Wanted, limit: int, *, within: bool) -> list[tuple[int, float]]:
        """(seq, BM25) of the best `limit` documents, best first; `within`: all its posts lie in the wanted time."""
        searcher = self.searcher
        hits = searcher.search(self._query(wanted, within), limit=limit, count=False).hits
        seqs = searcher.fast_field_values("seq", [address for _, address in hits]) if hits else []
        return [(int(seq or 0), float(score or 0.0)) for seq, (score, _) in zip(seqs, hits, strict=True)]

    def _query(self, wanted: Wanted, within: bool) -> tantivy.Query:
        must, should, must_not = tantivy.Occur.Must, tantivy.Occur.Should, tantivy.Occur.MustNot
        clauses = [(must, self._group(g)) for g in wanted.all_of]
        if wanted.any_of or wanted.kin:
            ranked = [self._group(g) for g in wanted.any_of] + [self._best(groups) for groups in wanted.kin]
            clauses.append((must, tantivy.Query.boolean_query([(should, one) for one in ranked])))
        clauses += [(must_not, self._group(g)) for g in wanted.none_of]
        if wanted.others:
            clauses.append((must_not, tantivy.Query.term_set_query(self._schema, "author", sorted(wanted.others))))
        filters = []
        if not within:
            span = (max(wanted.since, 0), wanted.until)
            filters.append(tantivy.Query.range_query(self._schema, "at", tantivy.FieldType.Integer, *span))
        if wanted.authors is not None:
            filters.append(tantivy.Query.term_set_query(self._schema, "author", sorted(wanted.authors)))
        if wanted.lang:
            filters.append(tantivy.Query.term_query(self._schema, "lang", wanted.lang))
        clauses += [(must, tantivy.Query.const_score_query(f, 0.0)) for f in filters]
        return tantivy.Query.boolean_query(clauses)

    def _best(self, groups: Sequence[tuple[str, ...]]) -> tantivy.Query:
        first, *others = map(self._group, groups)
        return tantivy.Query.disjunction_max_query([first, *(tantivy.Query.boost_query(o, KIN) for o in others)])

    def _group(self, group: tuple[str, ...]) -> tantivy.Query:
        terms = [self._codes[word] for word in group]
        if len(terms) == 1:
            return tantivy.Query.term_query(self._schema, "text", terms[0])
        return tantivy.Query.phrase_query(self._schema, "text", list(terms))


class Index:
    """The indexes of all partitions, oldest first. Changed from one thread; searched from any.

    A folder that cannot be read as an index raises ValueError or OSError: the truth can rebuild it.
    """

    def __init__(self, root: Path, key: bytes) -> None:
        self._root = root
        self._codes = Codes(key)
        self._parts: dict[int, tuple[Extent, PartitionIndex]] = {}

    def open(self, extent: Extent) -> PartitionIndex:
        """Take a partition's index as it is on the disk."""
        part = PartitionIndex(index_of(self._root, extent.first), self._codes)
        self._parts = dict(sorted({**self._parts, extent.first: (extent, part)}.items()))
        return part

    def at(self, first: int) -> PartitionIndex:
        return self._parts[first][1]

    @property
    def firsts(self) -> list[int]:
        """The partitions that are open."""
        return list(self._parts)

    @property
    def documents(self) -> int:
        """How many posts the commits hold."""
        return sum(part.documents for _, part in self._parts.values())

    def holding(self, word: str) -> int:
        """How many posts hold a word."""
        return sum(_asked(part, lambda p: p.holding(word), 0) for _, part in self._parts.values())

    def damaged(self) -> list[int]:
        """The partitions whose index failed a search: they are left out until they are made anew."""
        return [first for first, (_, part) in self._parts.items() if part.damage]

    def write(
        self, extents: Mapping[int, Extent], entries: Mapping[int, Sequence[Entry]], removed: Iterable[int]
    ) -> None:
        """Commit entries (in order of `seq`) to their partitions, and removals; `extents` are what is left."""
        self.keep(extents.keys())
        left = set(removed)
        for first in sorted({**self._parts, **entries}, reverse=True):
            mine = {seq for seq in left if seq >= first}
            left -= mine
            fresh = [e for e in entries.get(first, ()) if e.seq not in mine]
            if first not in extents or not (fresh or mine):
                continue
            part = self.at(first) if first in self._parts else self.open(extents[first])
            part.write(fresh, mine)
            self._parts = {**self._parts, first: (extents[first], part)}
            if first != max(extents):
                part.rest()

    def keep(self, firsts: Set[int]) -> None:
        """Let go of partitions that were dropped."""
        self._parts = {first: part for first, part in self._parts.items() if first in firsts}

    def search(self, wanted: Wanted, limit: int) -> list[tuple[int, float]]:
        """(seq, BM25) of the best `limit` over the partitions that overlap the wanted time, best first."""
        found: list[tuple[int, float]] = []
        for extent, part in self._parts.values():
            if extent.oldest <= wanted.until and extent.newest >= wanted.since:
                within = wanted.since <= extent.oldest and extent.newest <= wanted.until
                found += _asked(part, lambda p: p.search(wanted, limit, within=within), [])  # noqa: B023
        return nlargest(limit, found, key=itemgetter(1))

    def swap(self, first: int, folder: Path) -> None:
        """Put an index that was made anew in a partition's place; searches under way end on the old one."""
        extent, old = self._parts[first]
        if not old.damage:
            old.rest()
        aside = old.folder.with_name("index.old")
        old.folder.rename(aside)
        folder.rename(old.folder)
        self.open(extent)
        erase(aside)

    def made(self, folder: Path) -> PartitionIndex:
        """An index that is to take a partition's place."""
        return PartitionIndex(folder, self._codes)

    def close(self) -> None:
        """Give back what writing took."""
        for _, part in self._parts.values():
            part.rest()


def is_damage(error: BaseException) -> bool:
    """Whether tantivy failed on its own files: it raises ValueError or OSError, or panics."""
    return isinstance(error, ValueError | OSError) or type(error).__name__ == "PanicException"


def _asked(part: PartitionIndex, work: Callable[[PartitionIndex], T], nothing: T) -> T:
    """What a partition's index says; `nothing` from the first moment that it fails."""
    if part.damage:
        return nothing
    try:
        return work(part)
    except BaseException as error:
        if not is_damage(error) or not (damage := unsound(part.folder)):
            raise
        part.damage = damage
        said = "The index %s is damaged (%s): searches do without it until 'voxpop up' or 'rebuild' makes it anew."
        _log.error(said, part.folder, damage)
        return nothing


def unsound(folder: Path) -> str:
    """What is wrong with the checksum of a file that an index's last commit names; empty where all are right.

    A file of a segment ends with a footer: JSON that holds the CRC-32 of what stands before it, the length of that
    JSON and a magic number, both of 32 bits (tantivy 0.27, directory/footer.rs).
    """
    named = _named(folder) or set()
    for path in sorted(folder.glob("*.*")):
        if path.name.partition(".")[0] not in named or (path.suffix == ".del" and path.name not in named):
            continue
        try:
            data = path.read_bytes()
        except FileNotFoundError:  # a commit took it away
            continue
        size, magic = int.from_bytes(data[-8:-4], "little"), int.from_bytes(data[-4:], "little")
        try:
            right = magic == _MAGIC and orjson.loads(data[-8 - size : -8])["crc"] == zlib.crc32(data[: -8 - size])
        except (ValueError, KeyError, TypeError):
            right = False
        if not right:
            return f"the checksum of {path.name} is wrong"
    return ""


def index_of(root: Path, first: int) -> Path:
    """Where a partition's index lives."""
    return folder_of(root, first) / "index"


def entry(stored: Stored) -> Entry:
    """What the index reads of a post."""
    post = stored.post
    text = indexed(post.text, [m.alt for m in post.media if m.alt])
    return Entry(stored.seq, text, post.witnessed_at, stored.author, post.lang)


def tidy(root: Path, first: int) -> None:
    """Remove what a crash left of making an index anew; the old one goes back where the new one did not get."""
    folder = index_of(root, first)
    aside = folder.with_name("index.old")
    if aside.exists() and not folder.exists():
        aside.rename(folder)
    for left in folder.parent.glob("index.*"):
        shutil.rmtree(left, ignore_errors=True)  # a process that made it may be ending only now


def begin(root: Path, first: int) -> None:
    """Make the empty index of a new partition, so that one that is missing later was lost."""
    PartitionIndex(index_of(root, first), Codes(b""))


def exists(root: Path, first: int) -> bool:
    """Whether there is something to open."""
    return (index_of(root, first) / "meta.json").exists()


def _sweep(folder: Path) -> None:
    """Remove lists of deletions that no commit names: a killed writer leaves them, and the next fails on one."""
    if (named := _named(folder)) is None:
        return
    for path in folder.glob("*.del"):
        if path.name not in named:
            path.unlink()


def _named(folder: Path) -> set[str] | None:
    """The segments and lists of deletions that the last commit names; None for no index of tantivy's."""
    try:
        segments = orjson.loads((folder / "meta.json").read_bytes())["segments"]
        deletes = {s["segment_id"].replace("-", ""): s["deletes"] for s in segments}
        return deletes.keys() | {f"{id_}.{d['opstamp']}.del" for id_, d in deletes.items() if d}
    except (OSError, ValueError, KeyError, TypeError):
        return None  # opening it says so


def erase(folder: Path) -> None:
    """Remove an index: the truth can rebuild it. A process that still writes there is given time to end."""
    for wait_s in (0.01, 0.1, 0.5):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(wait_s)
    shutil.rmtree(folder)
