"""The simulated Mastodon answers as a real one does: its shapes were recorded, and Mastodon.py reads it."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest

from voxpop.simulator.mastodon import Faults, Mastodon
from voxpop.simulator.mastodon_wire import Toot, View, html, instance, status
from voxpop.simulator.world import keys

DATA = Path(os.environ.get("VOXPOP_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")
WIRE = DATA / "wire" / "mastodon"
RECORDED = pytest.mark.skipif(not WIRE.is_dir(), reason="the recorded payloads are not here")
OWN = {"favourited", "reblogged", "muted", "bookmarked", "pinned", "filtered"}  # only for whoever is signed in


@pytest.fixture
async def server() -> AsyncIterator[Mastodon]:
    started = Mastodon(apart=True, faults=Faults(beat_s=0.1))
    await started.start()
    yield started
    await started.stop()


def recorded(wanted: Callable[[str], bool]) -> list[Any]:
    """The JSON that a real server answered at some addresses."""
    return [
        exchange["json"]
        for path in sorted(WIRE.glob("*.json"))
        for exchange in json.loads(path.read_bytes())
        if exchange["method"] == "GET" and "json" in exchange and wanted(exchange["uri"])
    ]


def kinds(entities: list[dict[str, Any]]) -> dict[str, set[str]]:
    """Which types each field has."""
    found: dict[str, set[str]] = {}
    for entity in entities:
        for name, value in entity.items():
            found.setdefault(name, set()).add(type(value).__name__)
    return found


def fits(ours: dict[str, Any], theirs: list[dict[str, Any]], but: set[str] = frozenset()) -> None:
    """The same fields as theirs, each of a type that theirs has."""
    known = kinds(theirs)
    assert set(ours) == set(known) - but
    for name, value in ours.items():
        assert type(value).__name__ in known[name] | {"NoneType", "str"} & {type(value).__name__}, name


# -- shapes ---------------------------------------------------------------------------------------------------


@RECORDED
def test_a_status_has_the_shape_of_a_recorded_one():
    pages = recorded(lambda uri: uri.startswith("http://localhost:3000/api/v1/timelines/public"))
    theirs = [entity for page in pages for entity in page]
    assert len(theirs) > 20
    ours = status(Toot("a", "ana", "murmur.example", 1_900_000_000_000_000, "Hello"), View("murmur.example", {}))
    fits(ours, theirs, OWN)
    assert list(ours) == [name for name in theirs[-1] if name not in OWN]
    fits(ours["account"], [entity["account"] for entity in theirs])
    assert ours["content"] == "<p>Hello</p>"


@RECORDED
def test_pictures_cards_tags_and_mentions_have_recorded_shapes():
    everything = [json.loads(path.read_bytes()) for path in sorted(WIRE.glob("*.json"))]
    parts: dict[str, list[dict[str, Any]]] = {"card": [], "tags": [], "mentions": []}

    def walk(value: object) -> None:
        if isinstance(value, list):
            for inner in value:
                walk(inner)
        elif isinstance(value, dict):
            if "visibility" in value and "uri" in value:
                parts["tags"] += value["tags"]
                parts["mentions"] += value["mentions"]
                parts["card"] += [value["card"]] if value["card"] else []
            for inner in value.values():
                walk(inner)

    walk(everything)
    toot = Toot("a", "ana", "m.example", 1_900_000_000_000_000, "#x @bo", card=("https://x.example", "T", "D"))
    ours = status(toot, View("m.example", {}))
    fits(ours["card"], parts["card"])
    fits(ours["tags"][0], parts["tags"])
    fits(ours["mentions"][0], parts["mentions"])


@RECORDED
def test_a_text_is_formatted_as_recorded():
    (page,) = recorded(lambda uri: uri.startswith("http://localhost:3000/api/v1/timelines/tag/"))
    content = page[0]["content"].replace("http://localhost:3000", "https://m.example")
    assert html("#hoot (hashtag toot)", "m.example") == content


@RECORDED
def test_the_server_describes_itself_as_a_recorded_one_does():
    theirs = recorded(lambda uri: uri.startswith("http://localhost:3000/api/v2/instance"))
    ours = instance("m.example", "https://m.example", "wss://m.example")
    assert set(ours) == set(theirs[0])
    assert set(ours["configuration"]) == set(theirs[0]["configuration"])
    assert set(ours["configuration"]["urls"]) == set(theirs[0]["configuration"]["urls"])


# -- behaviour ------------------------------------------------------------------------------------------------


async def test_timelines_are_paged_as_mastodon_pages_them(server: Mastodon):
    made = sorted(
        (server.post(f"p{n}", f"Post {n}", at=1_900_000_000_000_000 + n * 1000)["id"] for n in range(9)), key=int
    )
    async with httpx.AsyncClient(base_url=server.url, params={"limit": 3}) as client:

        async def page(**bounds: str) -> tuple[list[str], str]:
            answer = await client.get("/api/v1/timelines/public", params={"limit": "3", **bounds})
            assert answer.headers["x-ratelimit-limit"] == "300"
            return [entity["id"] for entity in answer.json()], answer.headers.get("link", "")

        newest, link = await page()
        assert newest == made[:-4:-1]
        assert f'max_id={newest[-1]}>; rel="next"' in link
        assert f'min_id={newest[0]}>; rel="prev"' in link
        assert (await page(max_id=made[5]))[0] == [made[4], made[3], made[2]]
        assert (await page(min_id=made[2]))[0] == [made[5], made[4], made[3]]
        assert (await page(since_id=made[2]))[0] == [made[8], made[7], made[6]]
        assert await page(min_id=made[8]) == ([], "")


async def test_requests_are_limited_and_a_new_window_forgives(server: Mastodon):
    server.faults.limit = 1
    async with httpx.AsyncClient(base_url=server.url) as client:
        first, second = [await client.get("/api/v2/instance") for _ in range(2)]
        assert (first.status_code, second.status_code) == (200, 429)
        assert first.headers["x-ratelimit-remaining"] == second.headers["x-ratelimit-remaining"] == "0"
        server.forgive()
        assert (await client.get("/api/v2/instance")).status_code == 200


async def test_the_night_becomes_posts_of_many_servers(server: Mastodon):
    night = Mastodon("tesmar.example")
    url = await night.start(elapsed=7200)
    async with httpx.AsyncClient(base_url=url) as client:
        page = (await client.get("/api/v1/timelines/public", params={"limit": 40})).json()
        local = (await client.get("/api/v1/timelines/public", params={"limit": 40, "local": "true"})).json()
    await night.stop()
    assert len(page) == 40
    assert {entity["account"]["acct"].partition("@")[2] for entity in local} == {""}
    texts = " ".join(event.text for event in keys().values())
    assert any(entity["content"].removeprefix("<p>").partition("<")[0] in texts for entity in local)


# -- the library ----------------------------------------------------------------------------------------------


class Enough(Exception):
    """Ends the listening: closing Mastodon.py's stream from outside blocks."""


def ears() -> Any:
    """A listener of Mastodon.py that keeps what it hears, until the first delete."""
    library = pytest.importorskip("mastodon", reason="Mastodon.py is not installed")

    class Ears(library.StreamListener):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            self.heard: list[tuple[str, str]] = []
            self.open = Event()

        def handle_heartbeat(self) -> None:
            self.open.set()

        def on_update(self, status: Any) -> None:
            self.heard.append(("update", status.content))

        def on_status_update(self, status: Any) -> None:
            self.heard.append(("edit", status.content))

        def on_delete(self, status_id: Any) -> None:
            self.heard.append(("delete", str(status_id)))
            raise Enough

    return Ears()


async def test_mastodon_py_reads_its_timelines_and_hears_its_stream(server: Mastodon):
    server.faults.token = "sesame"
    server.post("a", "First #boats")
    server.post("b", "Second", "bo@quay.example")
    library, heard = pytest.importorskip("mastodon", reason="Mastodon.py is not installed"), ears()

    def listen() -> None:
        client = library.Mastodon(api_base_url=server.url, access_token="sesame", ratelimit_method="throw")
        assert client.retrieve_mastodon_version() == "4.6.4"
        assert [entity.account.acct for entity in client.timeline_local()] == ["ana"]
        (tagged,) = client.timeline_hashtag("boats")
        assert "#<span>boats</span>" in tagged.content
        newest = client.timeline_public(limit=1)
        older = client.fetch_next(newest)
        assert {entity.account.acct for entity in newest + older} == {"ana", "bo@quay.example"}
        with suppress(Enough):
            client.stream_public(heard)

    listening = asyncio.create_task(asyncio.to_thread(listen))
    assert await asyncio.to_thread(heard.open.wait, 5)
    number = server.post("c", "Third")["id"]
    server.edit("c", "Third!")
    server.delete("c")
    await asyncio.wait_for(listening, 5)
    assert heard.heard == [("update", "<p>Third</p>"), ("edit", "<p>Third!</p>"), ("delete", number)]
