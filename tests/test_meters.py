"""Metrics: names that follow the conventions, labels that stay few, a store that is timed without being changed."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from voxpop import meters
from voxpop.errors import VoxpopError
from voxpop.messages import Done, Freshness, Timings, Usage
from voxpop.meters import METERS, Measured, Requests, Steps, bounded
from voxpop.posts import Author, Delete, Post, Upsert
from voxpop.store import Query
from voxpop.store.local import LocalStore

UNITS = ("_seconds", "_bytes", "_usd", "_posts", "_events", "_per_second")


def test_the_names_follow_prometheus() -> None:
    for meter in METERS:
        assert re.fullmatch(r"voxpop(_[a-z]+)+", meter.name)
        assert meter.doc.endswith(".")
        assert not meter.name.endswith("_total"), "the client adds it to counters"
        assert bool(meter.buckets) == (meter.kind == "histogram")
        if meter.kind == "histogram":
            assert meter.name.endswith(UNITS)
    assert len({m.name for m in METERS}) == len(METERS)


@given(st.dictionaries(st.text(max_size=100), st.integers(0, 1 << 40), max_size=120))
def test_a_label_takes_few_and_short_values_and_loses_no_count(reasons: dict[str, int]) -> None:
    kept = bounded(reasons)
    assert len(kept) <= 41
    assert all(len(name) <= 60 for name in kept)
    assert sum(kept.values()) == sum(reasons.values())


async def test_batches_and_searches_are_timed_and_given_on_unchanged(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    post = Post("x:1", "x", Author("a"), "The tram is late.", 1, 2)
    async with LocalStore(tmp_path) as store:
        measured = Measured(store, registry)
        assert (await measured.apply("s", [Upsert(post, "1"), Delete("x:9", 3, "2")])).added == 1
        assert await measured.cursor("s") == "2"
        assert [h.post.id for h in await measured.search(Query(("tram",)), 10)] == ["x:1"]
        assert await measured.posts(["x:1"]) == [post]

    def sample(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, labels)

    assert sample("voxpop_batch_events_sum", source="s") == 2
    assert sample("voxpop_apply_seconds_count", source="s") == 1
    assert sample("voxpop_search_seconds_count") == measured.searches == 1
    assert 0 < (sample("voxpop_search_seconds_sum") or 0) < 5
    assert measured.last_hour()[-2:].count(1) == 1
    assert len(measured.last_hour()) == 60


async def test_a_batch_that_could_not_be_stored_is_counted_and_its_error_passed_on(tmp_path: Path) -> None:
    async with LocalStore(tmp_path):
        pass
    async with LocalStore(tmp_path, readonly=True) as store:
        measured = Measured(store, CollectorRegistry())
        with pytest.raises(VoxpopError):
            await measured.apply("s", [Delete("x:9", 3, "2")])
    assert measured.failures == {"s": 1}
    assert sum(measured.last_hour()) == 0


def test_an_answers_steps_are_timed() -> None:
    registry = CollectorRegistry()
    steps = Steps(registry)
    for first in (250.0, None):
        steps.done(Done("stop", True, "quote", "regular", Usage(), Freshness(), Timings(20.0, first, 1500.0)))
    for step, count, total in (("search", 2, 0.04), ("first_sentence", 1, 0.25), ("total", 2, 3.0)):
        assert registry.get_sample_value("voxpop_answer_seconds_count", {"step": step}) == count
        assert registry.get_sample_value("voxpop_answer_seconds_sum", {"step": step}) == pytest.approx(total)


def test_the_table_names_each_metric_as_it_is_queried() -> None:
    table = meters.table()
    assert "| `voxpop_posts_total` | counter | `source` |" in table
    assert "| `voxpop_answer_seconds` | histogram | `step` |" in table
    assert table.count("\n") == len(METERS) + 1


def test_requests_are_counted_under_few_names() -> None:
    requests = Requests()
    requests.count("chat", 200)
    requests.count("chat", 429)
    requests.count("no-such-route", 404)
    for n in range(200):
        requests.count(f"name-{n}", 200)
    samples = {labels: count for _, labels, count in requests.samples()}
    assert samples["chat", "200"] == samples["chat", "429"] == samples["other", "404"] == 1
    assert len(samples) <= 45
    assert sum(samples.values()) == 203
