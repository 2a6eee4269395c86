"""Standing questions on a real store, a real server and real webhooks: each flip once, whoever dies."""

import asyncio
import base64
import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from conftest import Running, environment
from voxpop import app, policy
from voxpop.api.watches import Standing, standing
from voxpop.authorities import Authorities
from voxpop.config import Config
from voxpop.errors import UsageError
from voxpop.evaluation.night import Night
from voxpop.ingest import Progress, ingest
from voxpop.positions import Flip, Position, same
from voxpop.posts import AccountGone, Author, Delete, Event, Post, Upsert
from voxpop.service import clock
from voxpop.simulator import world
from voxpop.simulator.jetstream import Jetstream
from voxpop.simulator.world import DECLARED, END
from voxpop.sources.auto import Ways, open_source
from voxpop.store.local import LocalStore
from voxpop.times import MICROS
from voxpop.watcher import Look, Watcher
from voxpop.watches import NAME, Watches
from voxpop.webhooks import Courier, checked, resolved, signature

NOW = 1_700_000_000 * MICROS
BURNED = "Did a ballot box burn in Dornick?"
LISTED = Authorities.of(["did:board"], ["did:press"])
YES, NO = "A ballot box burned in Dornick.", "No ballot box burned in Dornick."


def post(number: int, who: str, text: str, **more: Any) -> Post:
    at = NOW + number * MICROS
    return Post(f"at://{number}", "test", Author(f"did:{who}", f"{who}.example", who), text, at, at, **more)


def said(number: int, who: str, text: str) -> Upsert:
    return Upsert(post(number, who, text), str(number))


@dataclass
class Place:
    """A store and its watches, and the watcher that looks when it is told to."""

    store: LocalStore
    watches: Watches
    faces: Standing
    watcher: Watcher
    time: list[int]

    async def apply(self, *events: Event) -> None:
        await self.store.apply("test", events)
        await self.watcher.once()

    async def add(self, question: str = BURNED, url: str = "", lasts_s: float = 3600) -> str:
        position = await self.faces.look.stand(await self.faces.look.ask(question, self.time[0]))
        watch = await self.watches.add(question, now=self.time[0], lasts_s=lasts_s, url=url, position=position)
        return watch.id

    async def whys(self, id_: str) -> list[str]:
        return [t.flip.why for t in await self.watches.flips(id_)]


@asynccontextmanager
async def place(
    folder: Path, authorities: Authorities = LISTED, *, most: int = 50, each: int = 50, every_s: float = 0.1
) -> AsyncIterator[Place]:
    now = [NOW + 3600 * MICROS]
    async with LocalStore(folder) as store, Watches(folder, most=most, each=each) as kept:
        look = Look(store, authorities, policy.load())
        faces = standing(kept, look, lambda: now[0], streams=8, private=True)
        yield Place(store, kept, faces, Watcher(kept, look, clock=lambda: now[0], every_s=every_s), now)


@dataclass
class Receiver:
    """A webhook's receiver on loopback: answers what it is told to, and remembers what it got."""

    answers: list[int] = field(default_factory=list)
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""
    head: str = ""

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.got]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {n.lower(): v for n, _, v in (line.partition(": ") for line in lines[1:]) if n}
        body = await reader.readexactly(int(headers["content-length"]))
        self.got.append((headers, body))
        status = self.answers.pop(0) if self.answers else 204
        if status:  # else it dies before it answers
            writer.write(f"HTTP/1.1 {status} So\r\n{self.head}content-length: 0\r\n\r\n".encode())
            with suppress(ConnectionError):
                await writer.drain()
        writer.close()

    @asynccontextmanager
    async def open(self, port: int = 0) -> AsyncIterator["Receiver"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
        async with server:
            yield self


@asynccontextmanager
async def telling(at: Place, *, private: bool = True) -> AsyncIterator[None]:
    courier = Courier(at.watches, at.faces.body, clock=lambda: at.time[0], private=private)
    task = asyncio.create_task(courier.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(true: Callable[[], bool], within_s: float = 5.0) -> None:
    async with asyncio.timeout(within_s):
        while not true():
            await asyncio.sleep(0.01)


# -- what flips, and once ------------------------------------------------------------------------------------------


async def test_each_change_of_the_answer_is_one_flip(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        id_ = await at.add()
        await at.apply(said(1, "ann", YES))
        await at.apply(said(2, "bob", "In Dornick a ballot box is on fire!"), said(3, "cy", YES))
        await at.apply(said(4, "board", NO))
        await at.apply(said(5, "press", "Not one ballot box burned in Dornick."))
        await at.watcher.once()
        flips = await at.watches.flips(id_)
        assert [(f.seq, f.flip.why, f.flip.posts[0]) for f in flips] == [
            (1, "answered", "at://1"),
            (2, "denied", "at://4"),
        ]
        assert flips[1].flip.before.stance == "yes"
        assert (await at.watches.one(id_)).position.stance == "no"


@pytest.mark.parametrize("gone", ["post", "account", "edit"])
async def test_an_answer_goes_with_its_only_post(tmp_path: Path, gone: str) -> None:
    async with place(tmp_path) as at:
        id_ = await at.add()
        await at.apply(said(1, "ann", YES))
        events: dict[str, Event] = {
            "post": Delete("at://1", at.time[0], "9"),
            "account": AccountGone("did:ann", at.time[0], "9"),
            "edit": Upsert(replace(post(1, "ann", "I have baked bread."), witnessed_at=NOW + 60 * MICROS), "9"),
        }
        await at.apply(events[gone])
        assert await at.whys(id_) == ["answered", "gone"]
        rows = [await at.faces.flip_json(await at.watches.one(id_), t) for t in await at.watches.flips(id_)]
        if gone != "edit":
            assert rows[0]["posts"] == [{"id": "at://1", "gone": True}]
            assert YES not in json.dumps(rows)


async def test_nothing_is_looked_at_while_nothing_comes(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        await at.add()
        await at.apply(said(1, "ann", "The bread is warm."))
        looks = at.watcher.looks
        for _ in range(20):
            await at.watcher.once()
        assert at.watcher.looks == looks


async def test_what_touches_a_watch_is_looked_at_before_the_others(tmp_path: Path) -> None:
    async with place(tmp_path, most=400) as at:
        ids = [await at.add(f"Is the bridge of Town{n} closed?") for n in range(300)]
        await at.watcher.once()
        looks = at.watcher.looks
        await at.apply(said(1, "press", "The bridge of Town217 is closed."))
        flips = [id_ for id_ in ids if await at.whys(id_)]
        assert flips == [ids[217]]
        assert at.watcher.looks - looks < 150  # the others wait for their turn
        rounds = 0
        while at.watcher.looks - looks < 300:
            await at.watcher.once()
            rounds += 1
            assert rounds < 300, "a watch waits for ever"


async def test_a_flip_is_kept_only_where_the_watch_stands(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        id_ = await at.add()
        watch = await at.watches.one(id_)
        flip = Flip("answered", watch.position, Position("yes"), ("at://1",))
        assert await at.watches.flip(watch, flip, flip.after, NOW)
        assert await at.watches.flip(watch, flip, flip.after, NOW) is None  # it was looked at twice at once
        await at.watches.remove(id_)
        assert await at.watches.flip(replace(watch, seq=1), flip, flip.after, NOW) is None
        assert await at.watches.flips(id_) == []


async def test_a_position_moves_only_with_its_flip(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        watch = await at.watches.one(await at.add())
        flip = Flip("answered", watch.position, Position("yes"), ("at://1",))
        assert await at.watches.flip(watch, flip, flip.after, NOW)
        broken: Any = (object(),)  # the flip cannot be written when the position already is
        with pytest.raises(TypeError):
            await at.watches.flip(replace(watch, seq=1), replace(flip, posts=broken), Position("no"), NOW)
        kept = await at.watches.one(watch.id)
        assert (kept.seq, kept.position.stance) == (1, "yes")


async def test_what_an_answer_rests_on_is_kept_however_it_ranks(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        await at.store.apply("test", [said(1, "ann", YES)])
        asked = await at.faces.look.ask(BURNED, at.time[0])
        held = await at.faces.look.stand(asked)
        outranked = replace(asked, passages=())
        assert await at.faces.look.stand(outranked, held) == held
        assert await at.faces.look.stand(outranked) == Position()


async def test_what_a_removed_post_said_leaves_the_file(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        id_ = await at.add("Who is the suspect?")
        await at.apply(said(1, "press", "The suspect is Zebulon Quist."))
        assert (await at.watches.one(id_)).position.said == ("zebulon", "quist")
        await at.apply(Delete("at://1", at.time[0], "9"))
        await at.watcher._scrub()
        assert [f.flip.before.said for f in await at.watches.flips(id_)] == [(), ()]
        held = b"".join(p.read_bytes() for p in tmp_path.glob(f"{NAME}*"))
        assert b"quist" not in held


async def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        await at.add(url="http://127.0.0.1:9/")
        for path in tmp_path.glob(f"{NAME}*"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


async def test_watches_are_bounded_and_end(tmp_path: Path) -> None:
    async with place(tmp_path, most=2) as at:
        ids = [await at.add(), await at.add()]
        with pytest.raises(UsageError, match="2 watches already"):
            await at.add()
        at.time[0] += 3601 * MICROS
        await at.watcher.once()
        assert await at.watches.all() == []
        with pytest.raises(UsageError, match="no watch"):
            await at.watches.one(ids[0])


# -- the invented night --------------------------------------------------------------------------------------------

NIGHT = {
    "Who won the presidential election?": ["declared"],
    "Did the chair of the commission resign?": ["answered", "denied"],
    "Is the tram strike over?": ["answered"],
    "What is the price of bread in Dornick?": [],
}
LAST = {
    BURNED: ("no", ()),
    "Is Hearth Union bankrupt?": ("no", ()),
    "What is the turnout?": ("told", ("71.3",)),
    "How many votes did Dreyl get in Hallovar?": ("told", ("321540",)),
}


async def test_the_night_flips_what_it_should_and_once(tmp_path: Path, night: Night) -> None:
    # What came over the wire, in steps that end at what the plot posts on these matters.
    matters = (
        "declared",
        "resign-",
        "strike-",
        "fire-denied",
        "fire-rumour",
        "bankrupt-",
        "turnout-final",
        "hallovar-",
    )
    ends = sorted({e.at + 1 for key, e in world.keys().items() if key.startswith(matters)} | {END})
    async with place(tmp_path, app.authorities(Config(), invented=True), every_s=0.01) as at:
        ids, before = {}, 0
        for end in ends:
            at.time[0] = night.moment(end)
            events = list(night.between(before, at.time[0]))
            await at.apply(*events)
            ids = ids or {q: await at.add(q, lasts_s=86_400) for q in [*NIGHT, *LAST]}
            before = at.time[0]
        flips = {q: [t.flip for t in await at.watches.flips(id_)] for q, id_ in ids.items()}
        assert {q: [f.why for f in flips[q]] for q in NIGHT} == NIGHT
        ended = {q: flips[q][-1].after for q in LAST}
        assert {q: (p.stance, p.said[:1]) for q, p in ended.items()} == LAST
        for question, chain in flips.items():
            assert all(same(one.after, two.before) for one, two in pairwise(chain)), question
        (call,) = flips["Who won the presidential election?"]
        assert "korvane" in call.after.said
        assert night.key(call.posts[0]) == "declared"


async def test_a_call_is_told_as_it_comes(tmp_path: Path) -> None:
    server = Jetstream()

    async def simulate(seed: int, speed: float) -> str:
        return await server.start(elapsed=DECLARED - 4, speed=2.0)

    async with AsyncExitStack() as stack:
        source = await open_source("simulated", Ways(lookback_s=60.0, simulator=simulate))
        stack.push_async_callback(server.stop)
        at = await stack.enter_async_context(place(tmp_path, app.authorities(Config(), invented=True), every_s=1.0))
        at.watcher._clock = clock
        watch = await at.watches.add(
            "Who won the presidential election?", now=clock(), lasts_s=60, url="", position=Position("not declared")
        )
        reading = asyncio.create_task(ingest(source, at.store, Progress("simulated", "simulated", True)))
        looking = asyncio.create_task(at.watcher.run())
        try:
            async with asyncio.timeout(10):
                while not (flips := await at.watches.flips(watch.id)):
                    await asyncio.sleep(0.02)
        finally:
            reading.cancel()
            looking.cancel()
            await asyncio.gather(reading, looking, return_exceptions=True)
        assert flips[0].flip.why == "declared"
        # Two seconds are the goal; a machine that is busy with other tests takes longer.
        assert flips[0].at - server.time_of(DECLARED) < 10 * MICROS


# -- over HTTP -----------------------------------------------------------------------------------------------------


@dataclass
class Stream:
    """An open stream of server-sent events."""

    lines: AsyncIterator[str]

    async def next(self) -> dict[str, str]:
        fields: dict[str, str] = {}
        async with asyncio.timeout(5):
            async for line in self.lines:
                name, _, value = line.partition(": ")
                if not line and "data" in fields:
                    return fields
                if line and name:
                    fields[name] = value
        raise AssertionError(f"the stream ended after {fields}")


@asynccontextmanager
async def following(client: httpx.AsyncClient, id_: str, last: str = "") -> AsyncIterator[Stream]:
    headers = {"last-event-id": last} if last else {}
    async with client.stream("GET", f"/v1/watches/{id_}/events", headers=headers) as response:
        assert response.status_code == 200, await response.aread()
        yield Stream(response.aiter_lines())


async def test_a_watch_is_added_followed_resumed_and_ended(tmp_path: Path, served: Any) -> None:
    async with AsyncExitStack() as stack:
        at = await stack.enter_async_context(place(tmp_path))
        await at.store.apply("test", [said(1, "ann", YES)])
        url = await stack.enter_async_context(served(Running(), more=at.faces.routes()))
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=url, trust_env=False))
        added = await client.post("/v1/watches", json={"question": BURNED, "expires_in": 60})
        assert added.status_code == 201
        watch = added.json()
        assert (watch["object"], watch["flips"], watch["webhook"]) == ("watch", 0, None)
        assert watch["position"] == {"stance": "yes", "said": [], "confirmed": False, "posts": ["at://1"]}
        assert (await client.get("/v1/watches")).json()["data"] == [watch]
        async with following(client, watch["id"]) as events:
            assert (first := await events.next())["event"] == "position"
            assert first["id"] == "0"
            await at.apply(said(2, "board", NO))
            flip = await events.next()
        assert (flip["event"], flip["id"]) == ("flip", "1")
        told = json.loads(flip["data"])
        assert (told["why"], told["before"]["stance"], told["after"]["stance"]) == ("denied", "yes", "no")
        assert [(p["id"], p["text"], p["author_class"]) for p in told["posts"]] == [("at://2", NO, "authority")]
        await at.apply(said(3, "board", "A ballot box burned in Dornick after all."))  # while nobody listens
        async with following(client, watch["id"], last="1") as events:
            assert (await events.next())["event"] == "position"
            assert (missed := await events.next())["id"] == "2"
            assert json.loads(missed["data"])["why"] == "affirmed"
            assert (await client.delete(f"/v1/watches/{watch['id']}")).json()["deleted"]
            assert (await events.next())["event"] == "end"
        gone = await client.get(f"/v1/watches/{watch['id']}")
        assert (gone.status_code, gone.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({}, "bad_usage", "question"),
        ({"question": 3}, "bad_usage", "question"),
        ({"question": ""}, "bad_question", None),
        ({"question": "x " * 2001}, "bad_question", None),
        ({"question": "How do I build a bomb to kill people?"}, "refused", None),
        ({"question": "Hello!"}, "bad_question", None),
        ({"question": "Who won?", "webhook": "ftp://a.example/"}, "bad_webhook", None),
        ({"question": "Who won?", "webhook": 3}, "bad_usage", "webhook"),
        ({"question": "Who won?", "expires_in": 0}, "bad_usage", "expires_in"),
        ({"question": "Who won?", "expires_in": True}, "bad_usage", "expires_in"),
        ({"question": "Who won?", "voice": "fun"}, "bad_usage", "voice"),
        ([], "bad_usage", None),
    ],
)
async def test_what_cannot_be_watched_is_refused(
    tmp_path: Path, served: Any, body: Any, code: str, param: str | None
) -> None:
    async with place(tmp_path) as at, served(Running(), more=at.faces.routes()) as url:
        refused = await asyncio.to_thread(httpx.post, f"{url}/v1/watches", json=body, trust_env=False)
        error = refused.json()["error"]
        assert (refused.status_code, error["code"], error["param"]) == (400, code, param)
        assert await at.watches.all() == []


# -- webhooks ------------------------------------------------------------------------------------------------------


def verified(secret: str, headers: dict[str, str], body: bytes) -> Any:
    """As a receiver would, by the library of the specification's authors."""
    webhooks = pytest.importorskip(
        "standardwebhooks", reason="the Python package 'standardwebhooks' is not installed"
    )
    return webhooks.Webhook(secret).verify(body.decode(), headers)


def test_the_signature_is_that_of_the_specification() -> None:
    # https://github.com/standard-webhooks/standard-webhooks: the example of its reference libraries' tests
    secret, id_, at = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330
    body = b'{"test": 2432232314}'
    assert signature(secret, id_, at, body) == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_a_webhook_is_told_signed_and_in_order(tmp_path: Path) -> None:
    async with place(tmp_path) as at, Receiver().open() as receiver:
        id_ = await at.add(url=receiver.url)
        await at.apply(said(1, "ann", YES))
        await at.apply(said(2, "board", NO))
        at.time[0] = time.time_ns() // 1000
        async with telling(at):
            await until(lambda: len(receiver.got) == 2)
        secret = (await at.watches.one(id_)).secret
        assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
        assert receiver.ids == [f"{id_}_1", f"{id_}_2"]
        for (headers, body), why in zip(receiver.got, ("answered", "denied"), strict=True):
            told = json.loads(body)
            assert (told["type"], told["data"]["why"], told["data"]["watch"]) == ("watch.flipped", why, id_)
            stamp = int(headers["webhook-timestamp"])
            assert headers["webhook-signature"] == signature(secret, headers["webhook-id"], stamp, body)
            verified(secret, headers, body)


@pytest.mark.parametrize("failure", [500, 301, 404, 0])
async def test_what_was_not_taken_is_told_again_under_the_same_id(tmp_path: Path, failure: int) -> None:
    receiver = Receiver([failure, 204], head="location: http://127.0.0.1:9/elsewhere\r\n")
    async with place(tmp_path) as at, receiver.open():
        id_ = await at.add(url=receiver.url)
        await at.apply(said(1, "ann", YES))
        async with telling(at):
            await until(lambda: len(receiver.got) == 1)
            await asyncio.sleep(0.1)
            assert len(receiver.got) == 1  # not at once
            assert (await at.watches.flips(id_))[0].tries == 1
            at.time[0] += 6 * MICROS
            at.watches._announce()
            await until(lambda: len(receiver.got) == 2)
        assert set(receiver.ids) == {f"{id_}_1"}
    async with place(tmp_path) as at:
        at.time[0] += 10**6 * MICROS
        assert await at.watches.due(at.time[0]) == []


async def test_a_receiver_that_is_down_for_long_is_given_up_after_a_day(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        id_ = await at.add(url="http://127.0.0.1:9/nobody")
        await at.apply(said(1, "ann", YES))
        began, tries = at.time[0], 0
        courier = Courier(at.watches, at.faces.body, clock=lambda: at.time[0], private=True)
        async with httpx.AsyncClient(trust_env=False) as client:
            while (due := await at.watches.next_due()) is not None:
                at.time[0] = max(at.time[0], due)
                for watch, told in await at.watches.due(at.time[0]):
                    await courier._tell(client, watch, told)
                    tries += 1
        assert tries == 11
        assert 23 < (at.time[0] - began) / MICROS / 3600 < 25
        assert (await at.watches.flips(id_))[0].tries == 11


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/", "http://localhost/", "http://[::1]/", "http://10.1.2.3/", "http://192.168.1.1:8080/x",
        "http://169.254.169.254/latest/meta-data/", "http://0.0.0.0/", "http://[::ffff:127.0.0.1]/", "http://[fe80::1]/",
        "http://100.64.0.1/", "http://[fd00::1]/", "http://224.0.0.1/", "http://2130706433/", "http://0x7f.1/",
    ],
)  # fmt: skip
async def test_a_private_address_is_never_posted_to(url: str) -> None:
    async def posted() -> None:
        checked(url, private=False)
        await resolved(httpx.URL(url).host, 80, private=False)

    with pytest.raises((UsageError, OSError)):
        await posted()


@pytest.mark.parametrize(
    "url",
    ["", "ftp://a.example/", "https://", "https://user:pass@a.example/", "file:///etc/passwd", "//a.example/",
     "https://a.example:0/", "https://a.example:99999/", "https://a.example/ x", "https://" + "a" * 2001],
)  # fmt: skip
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        checked(url, private=True)


async def test_a_webhook_on_this_machine_needs_the_operators_word(tmp_path: Path) -> None:
    async with place(tmp_path) as at, Receiver().open() as receiver:
        id_ = await at.add(url=receiver.url)
        await at.apply(said(1, "ann", YES))
        async with telling(at, private=False):
            async with asyncio.timeout(5):
                while not (await at.watches.flips(id_))[0].tries:
                    await asyncio.sleep(0.01)
        assert receiver.got == []
        assert await at.watches.next_due() is None


# -- kill -9 -------------------------------------------------------------------------------------------------------

LIFE = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_watches import *

async def live():
    async with place(Path({folder!r})) as at:
        id_ = (await at.watches.all())[0].id
        number = int(await at.store.cursor("test") or 0)
        while True:
            number += 1
            gone = Delete(f"at://{{number - 1}}", at.time[0], str(number))
            await at.apply(gone, said(number, "board", (YES, NO)[number % 2]))
            print(number, flush=True)

asyncio.run(live())
"""


def untold(folder: Path) -> int:
    """How many flips no receiver has taken yet."""
    with closing(sqlite3.connect(folder / NAME)) as db:
        return int(db.execute("SELECT count(*) FROM flips WHERE due IS NOT NULL").fetchone()[0])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no SIGKILL")
async def test_killed_between_flip_and_delivery_each_flip_is_told_once(tmp_path: Path) -> None:
    async with Receiver().open() as receiver:
        async with place(tmp_path) as at:
            id_ = await at.add(url=receiver.url)
        script = LIFE.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
        for kill in range(3):
            command = [sys.executable, "-c", script]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment())
            assert process.stdout
            for _ in range(2 + kill):
                await asyncio.to_thread(process.stdout.readline)
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.stdout.close()
        async with place(tmp_path) as at:
            await at.watcher.once()  # what was stored and not looked at when it was killed
            posts = int(await at.store.cursor("test") or 0)
            flips = await at.watches.flips(id_)
            receiver.answers = [0, 500]  # and the receiver dies too
            async with telling(at):
                while len(set(receiver.ids)) < len(flips) or untold(tmp_path):  # heard, and noted as heard
                    await asyncio.sleep(0.02)
                    at.time[0] += MICROS
                    at.watches._announce()
        assert posts - 3 <= len(flips) <= posts  # two posts between two looks are one change, or none
        assert [f.seq for f in flips] == list(range(1, len(flips) + 1))
        stances = [f.flip.after.stance for f in flips]
        assert all(one != two for one, two in pairwise(stances))
        seen = list(dict.fromkeys(receiver.ids))
        assert seen == [f"{id_}_{f.seq}" for f in flips]
        assert len(receiver.ids) == len(flips) + 2
    assert untold(tmp_path) == 0


async def test_the_state_that_ends_what_is_asked_flips_and_a_plan_does_not(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        watch = await at.add("Is the Quay bridge closed?")
        await at.apply(said(1, "press", "The Quay bridge is closed."))
        await at.apply(said(2, "press", "The Quay bridge is to be open again on Monday."))
        await at.apply(said(3, "press", "The Mill bridge is open again."))
        assert await at.whys(watch) == ["answered"]
        await at.apply(said(4, "press", "The Quay bridge is open again."))
        assert await at.whys(watch) == ["answered", "denied"]
