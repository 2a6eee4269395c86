"""What is measured while voxpop runs, as Prometheus metrics; it changes nothing that it measures.

`METERS` names every metric once: the exported families and the table of docs/watching.md are made from it.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from voxpop.messages import Done
from voxpop.posts import Event, Post, Upsert
from voxpop.store import Applied, Hit, Query, Store

MINUTES = 60
_MOST_REASONS = 40
_LONGEST_REASON = 60
_NOT_SERVED = (401, 404, 405)


class Meter(NamedTuple):
    """One metric: its name without the `_total` that a counter's samples carry, and what it says."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    doc: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def exported(self) -> str:
        """The name as it stands in a query."""
        return f"{self.name}_total" if self.kind == "counter" else self.name


_SOURCE = ("source",)
_ASKED = ("endpoint", "status")
_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_SLOW = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
_SIZES = (1.0, 10.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2000.0, 5000.0)
METERS = (
    Meter("voxpop_source_up", "gauge", "1 while the source is well or on its way there, else 0.", _SOURCE),
    Meter("voxpop_events", "counter", "Events stored: posts, edits, deletions, names, counts.", _SOURCE),
    Meter("voxpop_posts", "counter", "Posts among them.", _SOURCE),
    Meter("voxpop_deleted", "counter", "Posts that deletions and departed accounts removed.", _SOURCE),
    Meter("voxpop_refused", "counter", "Posts that came again after their deletion, and were refused.", _SOURCE),
    Meter("voxpop_engaged", "counter", "Sums of likes, reposts and replies that were stored.", _SOURCE),
    Meter("voxpop_missed", "counter", "Stretches of time of which nothing could be had.", _SOURCE),
    Meter("voxpop_posts_per_second", "gauge", "Posts stored in the last minute, a second.", _SOURCE),
    Meter("voxpop_lag_seconds", "gauge", "Age of the newest post.", _SOURCE),
    Meter("voxpop_behind_seconds", "gauge", "How far a source that catches up lies behind its stream.", _SOURCE),
    Meter("voxpop_dropped", "counter", "Input that could not be used.", ("source", "reason")),
    Meter("voxpop_shed", "counter", "Events let go because the store was too slow.", ("source", "kind")),
    Meter("voxpop_queue_events", "gauge", "Events that wait to be stored.", _SOURCE),
    Meter("voxpop_restarts", "counter", "Times the source failed and was begun again.", _SOURCE),
    Meter("voxpop_reconnects", "counter", "Connections lost.", _SOURCE),
    Meter("voxpop_crashes", "counter", "Faults of ours in a source; the log has the place.", _SOURCE),
    Meter("voxpop_batch_events", "histogram", "Events a batch.", _SOURCE, _SIZES),
    Meter("voxpop_apply_seconds", "histogram", "Time to store a batch.", _SOURCE, _FAST),
    Meter("voxpop_apply_failures", "counter", "Batches that could not be stored.", _SOURCE),
    Meter("voxpop_stored_posts", "gauge", "Posts in the store."),
    Meter("voxpop_tail_posts", "gauge", "Posts that are searchable and not yet in the committed index."),
    Meter("voxpop_partitions", "gauge", "Partitions of the index."),
    Meter("voxpop_partitions_dropped", "counter", "Partitions that grew too old, or for which there was no room."),
    Meter("voxpop_disk_bytes", "gauge", "Bytes of the data folder."),
    Meter("voxpop_removals_waiting", "gauge", "Removed posts that the index has still to let go."),
    Meter("voxpop_commits", "counter", "Commits of the index."),
    Meter("voxpop_commit_seconds", "counter", "Time that they took, in all."),
    Meter("voxpop_purges", "counter", "Times that removed texts were wiped from the files."),
    Meter("voxpop_purge_seconds", "gauge", "Time that the last purge took."),
    Meter("voxpop_search_seconds", "histogram", "Time of a search in the store.", (), _FAST),
    Meter("voxpop_answer_seconds", "histogram", "Time since the question until a step was done.", ("step",), _SLOW),
    Meter("voxpop_requests", "counter", "Requests over HTTP, by what follows `/v1/`, and their status.", _ASKED),
    Meter("voxpop_answers", "counter", "Answers given."),
    Meter("voxpop_sentences", "counter", "Sentences shown after verification."),
    Meter("voxpop_withheld", "counter", "Sentences withheld by verification."),
    Meter("voxpop_engine_failures", "counter", "Engines that broke off or stalled in an answer."),
    Meter("voxpop_spend_usd", "gauge", "US dollars that reads cost this calendar month (UTC).", _SOURCE),
    Meter("voxpop_budget_usd", "gauge", "US dollars that reads may cost a calendar month.", _SOURCE),
)  # fmt: skip
_BY_NAME = {m.name: m for m in METERS}
Sample = tuple[str, tuple[str, ...], float]


class Measured:
    """A store whose batches and searches are timed and counted.

    `minutes` holds (minute of the epoch, posts that came) of the last hour, whatever their own time.
    """

    def __init__(self, store: Store, registry: CollectorRegistry) -> None:
        self._store = store
        self._batches = _histogram("voxpop_batch_events", registry)
        self._applies = _histogram("voxpop_apply_seconds", registry)
        self._searches = _histogram("voxpop_search_seconds", registry)
        self.searches = 0
        self.failures: dict[str, int] = {}
        self.minutes: deque[tuple[int, int]] = deque(maxlen=MINUTES)

    async def apply(self, source: str, events: Sequence[Event]) -> Applied:
        began = time.perf_counter()
        try:
            applied = await self._store.apply(source, events)
        except Exception:
            self.failures[source] = self.failures.get(source, 0) + 1
            raise
        self._applies.labels(source).observe(time.perf_counter() - began)
        self._batches.labels(source).observe(len(events))
        self._arrived(sum(isinstance(e, Upsert) for e in events))
        return applied

    async def cursor(self, source: str) -> str | None:
        return await self._store.cursor(source)

    async def search(self, query: Query, now: int) -> list[Hit]:
        began = time.perf_counter()
        hits = await self._store.search(query, now)
        self._searches.observe(time.perf_counter() - began)
        self.searches += 1
        return hits

    async def posts(self, ids: Sequence[str]) -> list[Post]:
        return await self._store.posts(ids)

    def _arrived(self, posts: int) -> None:
        minute = int(time.time() // 60)
        if self.minutes and self.minutes[-1][0] >= minute:
            at, count = self.minutes.pop()
            self.minutes.append((at, count + posts))
        else:
            self.minutes.append((minute, posts))

    def last_hour(self) -> list[int]:
        """Posts that came in each of the last 60 minutes, the oldest first, the present one last."""
        now, counts = int(time.time() // 60), dict(self.minutes)
        return [counts.get(now - ago, 0) for ago in reversed(range(MINUTES))]


class Steps:
    """How long answers took, by step: `search`, `first_sentence`, `total`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._steps = _histogram("voxpop_answer_seconds", registry)

    def done(self, done: Done) -> None:
        """Count a finished answer."""
        timings = done.timings
        for step, took in (
            ("search", timings.search_ms),
            ("first_sentence", timings.first_sentence_ms),
            ("total", timings.total_ms),
        ):
            if took:
                self._steps.labels(step).observe(took / 1000)


class Meters(Collector):
    """Gauges and counters, read from the running parts at each scrape by `read`."""

    def __init__(self, registry: CollectorRegistry, read: Callable[[], Iterable[Sample]]) -> None:
        self._read = read
        self._process = ProcessCollector(registry=None)
        registry.register(self._process)
        registry.register(self)

    def describe(self) -> Iterator[Metric]:
        """Nothing is read at registration: what is measured does not run yet."""
        yield from (_family(m) for m in METERS if m.kind != "histogram")

    def collect(self) -> Iterator[Metric]:
        families = {m.name: _family(m) for m in METERS if m.kind != "histogram"}
        for name, labels, value in self._read():
            families[name].add_metric(labels, value)
        yield from families.values()

    def memory_bytes(self) -> int | None:
        """Resident memory of this process; None where the system does not tell."""
        for metric in self._process.collect():
            if metric.name == "process_resident_memory_bytes":
                return int(metric.samples[0].value)
        return None


class Requests:
    """Requests by (endpoint, status), with few names: a stranger may ask for any."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self._named: set[str] = set()

    def count(self, endpoint: str, status: int) -> None:
        """One more. What is not served (404, 405) has no name of its own, nor what comes when there are many."""
        if status in _NOT_SERVED or (endpoint not in self._named and len(self._named) >= _MOST_REASONS):
            endpoint = "other"
        self._named.add(endpoint)
        self.counts[endpoint[:_LONGEST_REASON], str(status)] += 1

    def samples(self) -> Iterator[Sample]:
        """What a scrape reads."""
        for labels, count in list(self.counts.items()):
            yield "voxpop_requests", labels, count


def bounded(reasons: Mapping[str, int]) -> dict[str, int]:
    """Counts by reason with few and short names, the first ones seen: endless labels would fill a Prometheus."""
    kept: dict[str, int] = {}
    for place, (reason, count) in enumerate(list(reasons.items())):
        name = reason[:_LONGEST_REASON] if place < _MOST_REASONS else "other"
        kept[name] = kept.get(name, 0) + count
    return kept


def table() -> str:
    """The table of docs/watching.md."""
    rows = [
        f"| `{m.exported}` | {m.kind} | {', '.join(f'`{label}`' for label in m.labels)} | {m.doc} |" for m in METERS
    ]
    return "| metric | kind | labels | what it says |\n|---|---|---|---|\n" + "\n".join(rows)


def _family(meter: Meter) -> Any:
    made = CounterMetricFamily if meter.kind == "counter" else GaugeMetricFamily
    return made(meter.name, meter.doc, labels=meter.labels)


def _histogram(name: str, registry: CollectorRegistry) -> Histogram:
    meter = _BY_NAME[name]
    return Histogram(name, meter.doc, meter.labels, registry=registry, buckets=meter.buckets)
