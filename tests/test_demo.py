"""The demo: the same questions as the invented night goes on, and what was known by then."""

import asyncio
from contextlib import suppress
from typing import Any

import orjson
import pytest

from voxpop import app
from voxpop.config import Answers, Config
from voxpop.demo import play
from voxpop.errors import UsageError
from voxpop.ingest import Progress, ingest
from voxpop.sources import Source
from voxpop.store.local import LocalStore


async def until_all_posts(source: Source, store: LocalStore) -> int:
    """As the program's own, but without waiting for the handles of thousands of invented accounts."""
    progress = Progress(source.name, source.network, source.simulated)
    running = asyncio.create_task(ingest(source, store, progress))
    before = -1
    while progress.posts != before:
        before = progress.posts if progress.posts else -1
        await asyncio.sleep(0.6)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    return progress.posts


async def played(monkeypatch: pytest.MonkeyPatch, *, as_json: bool) -> list[str]:
    monkeypatch.setattr(app, "ingest_until_quiet", until_all_posts)
    said: list[str] = []
    await play(Config(answers=Answers(voice="fun")), as_json, said.append)
    return said


async def test_the_night_is_told_as_it_was_known(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Any] = [orjson.loads(line) for line in await played(monkeypatch, as_json=True)]
    times = [a["local_time"] for a in answers]
    assert times == sorted(times)
    for answer in answers:
        assert answer["voice"] == "fun"
        assert answer["freshness"]["simulated"] is True
        assert all(c["witnessed_at"] <= answer["as_of"] for c in answer["citations"])
    by_time = {a["local_time"]: a for a in answers}
    before, after = by_time["19:50"], by_time["22:58"]
    assert before["question"] == after["question"] == "Who won the election?"
    assert after["answerable"] is True


async def test_for_people_it_says_whose_posts_these_are(monkeypatch: pytest.MonkeyPatch) -> None:
    first, count, *answers = await played(monkeypatch, as_json=False)
    assert "posts" in count
    assert first.startswith("An invented election night")
    assert all("invent" in answer and "engine quote" in answer for answer in answers)


async def test_an_unknown_voice_is_refused_before_anything_is_played() -> None:
    with pytest.raises(UsageError, match="opera"):
        await asyncio.wait_for(play(Config(answers=Answers(voice="opera")), True, print), 0.5)
