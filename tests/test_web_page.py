"""The page in a real Chromium, against a small server that speaks the contract of api/http.py from a script."""

import asyncio
import json
import os
import re
import shutil
import threading
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

import voxpop
from voxpop.api import guard
from voxpop.api import page as page_dialect
from voxpop.engines.quote import quotation
from voxpop.evaluation.injected import posts
from voxpop.inert import signed
from voxpop.messages import Citation, Claim, Passage, Text, Withheld
from voxpop.simulator.injections import corpus

sync_api = pytest.importorskip("playwright.sync_api", reason="the Python package 'playwright' is not installed")
expect = sync_api.expect

CHROMIUM = os.environ.get("VOXPOP_CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
pytestmark = pytest.mark.skipif(
    not Path(CHROMIUM).exists(), reason="no Chromium: install it or set VOXPOP_CHROMIUM to its executable"
)

NOW = 1_800_000_000_000_000
WEB = Path(voxpop.__file__).parent / "web"
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
POLICY = guard._POLICY
STATUS: dict[str, Any] = {
    "simulated": False,
    "posts": 15200,
    "posts_per_minute": 1234.4,
    "lag_s": 0.4,
    "sources": [{"name": "bluesky", "state": "connected to jetstream.example", "simulated": False}],
    "engine": {"name": "quote", "model": "", "state": "ready"},
}
OFFER: dict[str, Any] = {
    "policy": {
        "digest": "0123",
        "changed": True,
        "rules": [
            {"name": "violence", "title": "Help with violence", "description": "Directions that help to hurt."}
        ],
    },
    "voices": [{"name": "fun", "title": "Fun"}, {"name": "regular", "title": "Regular"}],
    "default_voice": "regular",
    "examples": ["Is the Lantern Bridge open?", "What do people say about the night trams?"],
}
Frame = tuple[str, dict[str, Any]]
HANG: Frame = ("hang", {})


def at(seconds_ago: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds_ago)).isoformat()


def citation(n: int, **changes: Any) -> Frame:
    post = {
        "n": n,
        "id": f"at://did:plc:author{n}/app.bsky.feed.post/{n}",
        "author": {"handle": f"author{n}.example", "name": f"Author {n}"},
        "network": "bluesky",
        "url": f"https://posts.example/{n}",
        "created_at": at(4 + n),
        "witnessed_at": at(3 + n),
        "text": f"Post number {n}.",
        "lang": "en",
        "duplicates": 1,
        "independent_authors": 1,
    }
    return "citation", post | changes


def text(words: str, *citations: int, kind: str = "sentence") -> Frame:
    return "text", {"text": words, "citations": list(citations), "kind": kind}


def done(**changes: Any) -> Frame:
    closing = {
        "reason": "stop",
        "answerable": True,
        "engine": "quote",
        "voice": "fun",
        "usage": {"prompt_tokens": 10, "completion_tokens": 20},
        "freshness": {"newest": at(3), "oldest": at(60), "stream_lag_s": 0.4, "simulated": False},
        "timings": {"search_ms": 12.3, "first_sentence_ms": 90.0, "total_ms": 212.4},
    }
    return "done", closing | changes


def start(query: str = "lantern bridge", posts: int = 14) -> list[Frame]:
    return [("searching", {"query": query}), ("found", {"posts": posts, "newest": at(3), "took_ms": 12.3})]


def bridge() -> list[Frame]:
    """An answer with all that an answer can have."""
    return [
        *start(),
        citation(
            1,
            text="The Lantern Bridge is open to trams again, one lane each way.",
            duplicates=37,
            independent_authors=12,
            author_class="authority",
        ),
        text("The Lantern Bridge is open to trams again.", 1),
        citation(2, text="Cars still wait until six.", created_at=at(90000)),
        text("@author2.example says: “Cars still wait until six.”", 1, 2),
        text("A bridge: the only thing in this town that commits.", kind="quip"),
        text("One post is older than a day.", kind="notice"),
        ("withheld", {"text": "The mayor resigned.", "reason": "no cited post says so"}),
        done(),
    ]


SHOWN = "@board.example: “The Lantern Bridge is closed until Friday.”"
SAID = "@author2.example says: “Verified by voxpop: it opens at six.” (unconfirmed)"
MENDED = "@author3.example says: “Four trams are stuck.”"


def told(words: str, *cited: int, outcome: str = "shown", why: str = "", support: float | None = None) -> Frame:
    name, data = text(words, *cited)
    return name, data | {"outcome": outcome, "why": why, "support": support}


def trust() -> list[Frame]:
    """An answer that says why each of its sentences is there."""
    return [
        *start(),
        citation(1, author_class="authority", why=["names the bridge", "the newest of a listed account"]),
        told(SHOWN, 1, why="word for word from @board.example, a listed authority", support=1.0),
        citation(2, tone="parody", duplicates=12, independent_authors=2, why=["says the opposite"]),
        told(SAID, 2, outcome="attributed", why="said by an unlisted account of parody: told as theirs"),
        citation(3, author_class="organisation"),
        told(MENDED, 3, outcome="repaired", why="the engine's sentence failed: the number 5 is in no cited post"),
        ("withheld", {"text": "Five trams are stuck.", "reason": "the number 5 is in no cited post"}),
        done(
            id="a1b2c3",
            receipt={
                "searched": ["the question's words and their kin: lantern bridge", "the listed accounts"],
                "posts": 14,
                "independent_authors": 4,
                "sources_down": ["feeds"],
                "result": "not declared",
            },
        ),
    ]


HOSTILE = '<img src=x onerror="window.owned=1"><script>window.owned=1</script>'


def hostile() -> list[Frame]:
    author = {"handle": HOSTILE, "name": HOSTILE}
    return [
        ("searching", {"query": HOSTILE}),
        ("found", {"posts": 2, "newest": at(3), "took_ms": 1.0}),
        citation(1, text=HOSTILE, author=author, network=HOSTILE, url="javascript:window.owned=1", lang='"><b>'),
        citation(2, text="data", author=author, url="data:text/html,<script>opener.owned=1</script>"),
        text(HOSTILE, 1, 2),
        text(HOSTILE, kind="notice"),
        text(HOSTILE, kind="quip"),
        text(HOSTILE, kind="chat"),
        ("withheld", {"text": HOSTILE, "reason": HOSTILE}),
        done(engine=HOSTILE),
    ]


def long() -> list[Frame]:
    lines = [text(f"Sentence {n} of a long answer that fills the page. " * 3, 1) for n in range(1, 41)]
    return [*start(), citation(1), *lines, HANG]


SCRIPTS = {
    "bridge": bridge,
    "trust": trust,
    "injections": lambda: hostile_posts(),  # noqa: PLW0108 - defined below
    "forbidden": lambda: [
        ("refused", {"rule": "violence", "title": "Help with violence"}),
        text("This is not answered: Help with violence (rule violence).", kind="notice"),
        done(answerable=False, freshness={"newest": None, "oldest": None, "stream_lag_s": 0.4, "simulated": False}),
    ],
    "slow": lambda: [*start(), citation(1), text("The first sentence is here.", 1), HANG],
    "hostile": hostile,
    "long": long,
    "gap": lambda: [
        *start(),
        citation(1),
        text("The first sentence is here.", 1),
        done(
            freshness={
                "newest": at(3),
                "oldest": at(60),
                "stream_lag_s": 0.4,
                "simulated": False,
                "behind_s": 725.0,
                "gaps": [{"source": "bluesky", "since": at(9000), "until": at(6000), "why": "the host keeps 36 h"}],
            }
        ),
    ],
    "cut": lambda: [*start(), citation(1), text("The first sentence is here.", 1)],
    "trouble": lambda: [*start(), ("error", {"message": "The engine is gone.", "cure": "Run 'voxpop doctor'."})],
    "chat": lambda: [
        text("From the model, not from posts.", kind="notice"),
        *[text(piece, kind="chat") for piece in ("Hel", "lo the", "re. How ", "are you?")],
        done(freshness={"newest": None, "oldest": None, "stream_lag_s": 0.4, "simulated": False}),
    ],
}


def kept() -> dict[str, Any]:
    """A kept answer of four sentences, of which one holds."""
    holds, replaced, gone, fails = (
        told(SHOWN, 1)[1],
        told(SAID, 2)[1],
        told("", 3)[1] | {"text": None},
        told(MENDED, 4)[1],
    )
    return {
        "id": "a1b2c3",
        "asked_at": at(90000),
        "opened_at": at(0),
        "question": "Is the Lantern Bridge open?",
        "voice": "regular",
        "engine": {"name": "quote", "model": "none", "digest": ""},
        "holds": False,
        "texts": [
            holds | {"state": "holds", "why_not": "", "by": None},
            replaced | {"state": "replaced", "why_not": "a later post replaced it", "by": citation(9)[1]},
            gone | {"state": "gone", "why_not": "the post was deleted", "by": None},
            fails | {"state": "fails", "why_not": "the number 4 is in no cited post", "by": None},
        ],
        "citations": [citation(1, author_class="authority")[1], citation(2)[1], citation(4)[1]],
        "missing": [{"n": 3, "id": "at://gone", "how": "deleted"}],
        "withheld": [],
        "done": None,
    }


class Server:
    """The contract, spoken from a script that the first word of the question chooses."""

    def __init__(self) -> None:
        self.live = dict(STATUS)
        self.down = False
        self.bodies: list[dict[str, Any]] = []
        self.left = threading.Event()
        self.turned_away = threading.Event()

    async def page(self, request: Request) -> Response:
        return FileResponse(WEB / "index.html", headers={"content-security-policy": POLICY})

    async def status(self, request: Request) -> Response:
        return Response(status_code=503) if self.down else JSONResponse(self.live | OFFER)

    async def follow(self, request: Request) -> Response:
        if not self.down:
            return stream(self._ticks())
        self.turned_away.set()
        return Response(status_code=503)

    async def _ticks(self) -> AsyncIterator[str]:
        yield "retry: 50\n\n"
        while not self.down:
            yield frame("live", self.live)
            await asyncio.sleep(0.1)

    async def answer(self, request: Request) -> Response:
        body = await request.json()
        self.bodies.append(body)
        word = body["messages"][-1]["content"].split()[0]
        if word == "refused":
            return JSONResponse({"error": {"message": "Too many questions. Wait 20 s."}}, status_code=429)
        return stream(self._play(SCRIPTS[word]()))

    async def opened(self, request: Request) -> Response:
        if request.path_params["id"] != "a1b2c3":
            error = {"message": "No answer 'x' is kept.", "cure": "See 'voxpop answers'."}
            return JSONResponse({"error": error}, status_code=404)
        return JSONResponse(kept())

    async def reproduced(self, request: Request) -> Response:
        why = ["the post at://gone was deleted"]
        return JSONResponse({"object": "reproduction", "identical": False, "why": why, "diff": ["-a", "+<b>b</b>"]})

    async def watched(self, request: Request) -> Response:
        self.bodies.append(await request.json())
        return JSONResponse({"id": "w1", "question": self.bodies[-1]["question"]}, status_code=201)

    async def unwatched(self, request: Request) -> Response:
        self.left.set()
        return JSONResponse({"id": "w1", "deleted": True})

    async def flips(self, request: Request) -> Response:
        return stream(self._flip())

    async def _flip(self) -> AsyncIterator[str]:
        post = citation(1, text="The bridge is open. " + HOSTILE)[1]
        yield frame("flip", {"seq": 1, "at": at(1), "why": "was closed, is open", "posts": [post, {"gone": True}]})
        await asyncio.sleep(30)

    async def _play(self, frames: list[Frame]) -> AsyncIterator[str]:
        for name, data in frames:
            if name != "hang":
                yield frame(name, data)
                await asyncio.sleep(0.005)
                continue
            try:
                await asyncio.sleep(60)
            finally:
                self.left.set()

    def routes(self) -> list[Route | Mount]:
        return [
            Route("/", self.page),
            Route("/api/status", self.status),
            Route("/api/live", self.follow),
            Route("/api/answer", self.answer, methods=["POST"]),
            Route("/v1/answers/{id}", self.opened),
            Route("/v1/answers/{id}/reproduce", self.reproduced, methods=["POST"]),
            Route("/v1/watches", self.watched, methods=["POST"]),
            Route("/v1/watches/{id}", self.unwatched, methods=["DELETE"]),
            Route("/v1/watches/{id}/events", self.flips),
            Mount("/static", StaticFiles(directory=WEB)),
        ]


def frame(name: str, data: dict[str, Any]) -> str:
    return f": comment\r\nevent: {name}\r\ndata: {json.dumps(data)}\r\n\r\n"


def stream(frames: AsyncIterator[str]) -> Response:
    return StreamingResponse(frames, media_type="text/event-stream", headers={"cache-control": "no-store"})


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, Server]]:
    script = Server()
    config = uvicorn.Config(
        Starlette(routes=script.routes()), port=0, log_level="critical", ws="none", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}/", script
    server.should_exit = True
    thread.join(10)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def server(address: tuple[str, Server]) -> Server:
    address[1].live, address[1].down = dict(STATUS), False
    address[1].bodies.clear()
    address[1].left.clear()
    address[1].turned_away.clear()
    return address[1]


@pytest.fixture
def new_page(browser: Any, address: tuple[str, Server], server: Server) -> Iterator[Any]:
    """Opens the page with the given context options; a script error or a breach of the policy fails the test."""
    contexts, faults = [], []

    def opened(path: str = "", **options: Any) -> Any:
        context = browser.new_context(**({"locale": "en-GB"} | options))
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(4000)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda line: faults.append(line.text) if "Security Policy" in line.text else None)
        page.goto(address[0] + path)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert faults == []


@pytest.fixture
def page(new_page: Any) -> Any:
    return new_page()


def ask(page: Any, question: str) -> Any:
    page.get_by_role("textbox").fill(question)
    page.keyboard.press("Enter")
    return page.locator(".turn").last


def test_an_answer_comes_with_steps_chips_sources_and_its_receipt(page: Any) -> None:
    expect(page.get_by_role("textbox")).to_be_focused()
    turn = ask(page, "bridge open?")
    expect(turn.locator(".steps")).to_contain_text(
        re.compile("Searched “lantern bridge”.*14 posts.*newest [3-9].s ago")
    )
    expect(turn.locator(".sentence")).to_have_text(
        ["The Lantern Bridge is open to trams again.1", "@author2.example says: “Cars still wait until six.”12"]
    )
    expect(turn.locator(".quip")).to_have_text("A bridge: the only thing in this town that commits.")
    expect(turn.locator(".notice")).to_contain_text("One post is older than a day.")
    expect(turn.locator(".sources li")).to_have_count(2)
    expect(turn.locator(".sources li").first).to_contain_text("37 posts, 12 independent authors")
    expect(turn.locator(".sources li .listed")).to_have_text("listed authority")
    expect(turn.locator(".sources li").last.locator(".claimed")).to_contain_text("by its author")
    expect(turn.locator(".receipt span")).to_have_text(
        [re.compile("newest evidence [3-9].s old"), "stream lag 0.4 s", "212 ms", "engine quote", "voice fun"]
    )
    held = turn.locator(".withheld")
    expect(held.get_by_text("The mayor resigned.")).to_be_hidden()
    held.get_by_text("1 sentence withheld: why").click()
    expect(held.get_by_text("no cited post says so")).to_be_visible()


def test_a_chip_opens_its_card_by_keyboard_and_esc_closes_it(page: Any) -> None:
    turn = ask(page, "bridge open?")
    expect(turn).to_have_attribute("data-state", "done")
    chip, card = turn.locator(".chip").first, page.locator("#card")
    page.locator(".brand").focus()
    for _ in range(4):
        page.keyboard.press("Tab")
    expect(chip).to_be_focused()
    expect(chip).to_have_accessible_name("Source 1: Author 1")
    expect(card).to_be_visible()
    expect(chip).to_have_attribute("aria-expanded", "true")
    expect(card).to_contain_text(re.compile("Author 1.*@author1.example"))
    expect(card.locator("mark")).to_have_text("The Lantern Bridge is open to trams again")
    page.keyboard.press("Tab")
    link = card.get_by_role("link")
    expect(link).to_be_focused()
    expect(link).to_have_attribute("href", "https://posts.example/1")
    expect(link).to_have_attribute("rel", "noopener noreferrer nofollow")
    page.keyboard.press("Escape")
    expect(card).to_be_hidden()
    expect(chip).to_be_focused()
    page.keyboard.press("Tab")
    expect(turn.locator(".chip").nth(1)).to_be_focused()


def test_a_chip_opens_its_card_by_click_and_by_hover(page: Any) -> None:
    turn = ask(page, "bridge open?")
    expect(turn).to_have_attribute("data-state", "done")
    card = page.locator("#card")
    turn.locator(".chip").last.click()
    expect(card).to_contain_text("Author 2")
    expect(card.locator("mark")).to_have_text("Cars still wait until six")
    expect(turn.locator(".sentence.lit")).to_contain_text("Cars still wait")
    page.locator(".question").click()
    expect(card).to_be_hidden()
    turn.locator(".chip").first.hover()
    expect(card).to_contain_text("Author 1")
    page.locator(".brand").hover()
    expect(card).to_be_hidden()


def test_stop_keeps_the_partial_text_and_the_server_sees_it(page: Any, server: Server) -> None:
    for by in ("button", "escape"):
        server.left.clear()
        turn = ask(page, f"slow question, stopped by {by}")
        expect(turn.locator(".sentence")).to_contain_text("The first sentence is here.")
        stop = page.get_by_role("button", name="Stop")
        expect(stop).to_be_visible()
        if by == "button":
            stop.click()
        else:
            page.keyboard.press("Escape")
        expect(turn.locator(".receipt")).to_have_text("stopped")
        expect(turn.locator(".sentence")).to_contain_text("The first sentence is here.")
        assert server.left.wait(4), by
        expect(page.get_by_role("button", name="Ask", exact=True)).to_be_visible()


def test_a_follow_up_sends_the_conversation_and_new_begins_anew(page: Any, server: Server) -> None:
    expect(ask(page, "bridge open?")).to_have_attribute("data-state", "done")
    assert server.bodies[0]["voice"] == "regular"
    page.locator("#voice").select_option("fun")
    expect(ask(page, "chat please")).to_have_attribute("data-state", "done")
    expect(page.locator(".turn").last.locator(".chat")).to_have_text("Hello there. How are you?")
    said = (
        "The Lantern Bridge is open to trams again. "
        "@author2.example says: “Cars still wait until six.” One post is older than a day."
    )
    assert server.bodies[1] == {
        "messages": [
            {"role": "user", "content": "bridge open?"},
            {"role": "assistant", "content": said},
            {"role": "user", "content": "chat please"},
        ],
        "voice": "fun",
        "as_of": None,
    }
    page.get_by_role("button", name="New conversation").click()
    expect(page.locator(".turn")).to_have_count(0)
    expect(page.get_by_role("textbox")).to_be_focused()
    ask(page, "bridge again")
    expect(page.locator(".turn")).to_have_attribute("data-state", "done")
    assert len(server.bodies[2]["messages"]) == 1


def test_text_from_posts_is_inert(page: Any) -> None:
    turn = ask(page, "hostile posts")
    expect(turn).to_have_attribute("data-state", "done")
    turn.locator(".chip").first.click()
    expect(page.locator("#card .said")).to_have_text(HOSTILE)
    expect(page.locator("#card a")).to_have_count(0)
    expect(turn.locator("a, img, script")).to_have_count(0)
    expect(turn.locator(".answer")).to_contain_text(HOSTILE)
    assert page.evaluate("window.owned") is None


def test_q_in_the_address_asks_at_once(new_page: Any, server: Server) -> None:
    page = new_page("?q=bridge+open%3F+%3Cimg+src%3Dx%3E")
    expect(page.locator(".turn")).to_have_attribute("data-state", "done")
    expect(page.locator(".question")).to_have_text("bridge open? <img src=x>")
    assert len(server.bodies) == 1


def test_the_keyboard_writes_and_sends(page: Any, server: Server) -> None:
    box = page.get_by_role("textbox")
    box.blur()
    page.keyboard.press("/")
    expect(box).to_be_focused()
    expect(box).to_have_value("")
    page.keyboard.type("bridge")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("open / shut?")
    page.keyboard.press("Enter")
    expect(page.locator(".question")).to_have_text("bridge\nopen / shut?")
    expect(page.locator(".turn")).to_have_attribute("data-state", "done")
    assert server.bodies[0]["messages"][0]["content"] == "bridge\nopen / shut?"


def test_an_example_asks(page: Any) -> None:
    page.route("**/api/answer", lambda route: route.abort())
    page.get_by_role("button", name="Is the Lantern Bridge open?").click()
    expect(page.locator(".question")).to_have_text("Is the Lantern Bridge open?")
    expect(page.get_by_role("alert")).to_contain_text("The server cannot be reached.")


def test_an_error_says_what_and_keeps_what_came(page: Any) -> None:
    for question, shown, kept in (
        ("refused now", "Too many questions. Wait 20 s.", 0),
        ("trouble now", "The engine is gone.Run 'voxpop doctor'.", 0),
        ("cut now", "The connection was lost before the end of the answer.", 1),
    ):
        turn = ask(page, question)
        expect(turn.get_by_role("alert")).to_contain_text(shown)
        expect(turn.locator(".sentence")).to_have_count(kept)
        expect(turn.get_by_role("button", name="Ask again")).to_be_visible()
        expect(page.get_by_role("button", name="Ask", exact=True)).to_be_visible()


def test_asking_again_replaces_the_last_answer(page: Any, server: Server) -> None:
    turn = ask(page, "trouble now")
    turn.get_by_role("button", name="Ask again").click()
    expect(turn.get_by_role("alert")).to_be_visible()
    expect(page.locator(".turn")).to_have_count(1)
    assert [len(body["messages"]) for body in server.bodies] == [1, 1]


def test_the_header_is_live_and_the_banners_tell_the_trouble(page: Any, server: Server) -> None:
    meter, banners = page.locator("#meter"), page.locator("#banners")
    expect(meter).to_contain_text(re.compile("1,234 posts/min.*lag 0.4.s.*15,200 posts"))
    expect(banners).to_be_empty()
    server.live = STATUS | {"simulated": True, "posts": 15201, "lag_s": 45.0}
    expect(meter).to_contain_text("15,201 posts")
    expect(banners.locator("p")).to_contain_text(["Simulated stream", "The stream is 45 s behind"])
    down = {"name": "bluesky", "state": "reconnecting in 2.0 s: gone", "simulated": False}
    server.live = STATUS | {"sources": [down]}
    expect(banners.locator("p")).to_contain_text(["bluesky: reconnecting in 2.0 s: gone"])
    server.down = True
    expect(banners).to_contain_text("The server cannot be reached")
    expect(meter).to_have_text("offline")
    assert server.turned_away.wait(4)
    server.live, server.down = dict(STATUS), False
    expect(meter).to_contain_text("15,200 posts")
    expect(banners).to_be_empty()


def test_an_answer_names_the_model_that_wrote_it(page: Any, server: Server) -> None:
    server.live = STATUS | {"posts": 15203, "engine": {"name": "quote", "model": "grok-small", "state": "ready"}}
    expect(page.locator("#meter")).to_contain_text("15,203 posts")
    expect(ask(page, "bridge open?").locator(".receipt")).to_contain_text("engine quote (grok-small)")
    server.live = STATUS | {"posts": 15204, "engine": {"name": "local", "model": "grok-small", "state": "ready"}}
    expect(page.locator("#meter")).to_contain_text("15,204 posts")
    turn = ask(page, "bridge open?")
    expect(turn.locator(".receipt")).to_contain_text("engine quote")
    expect(turn.locator(".receipt")).not_to_contain_text("grok-small")


HOUR = [n % 7 * 30 for n in range(59)] + [2]
PAID = {
    "name": "x", "state": "connected to api.x.com", "simulated": False, "ok": True, "posts_per_minute": 12,
    "lag_s": 3.0, "behind_s": 720.0, "spend": {"usd": 1.5, "budget_usd": 20.0},
}  # fmt: skip


def test_the_panel_of_sources_tells_health_spending_and_the_last_hour(page: Any, server: Server) -> None:
    meter, panel = page.locator("#meter"), page.get_by_role("region", name="Sources")
    expect(panel).to_be_hidden()
    expect(page.locator("#live-dots i")).to_have_count(0)
    down = {"name": "feeds", "state": "trying again in 8 s: <b>No route.</b>", "simulated": False, "ok": False}
    server.live = STATUS | {"sources": [*STATUS["sources"], PAID, down], "last_hour": HOUR}
    expect(meter).to_contain_text(re.compile("12.min behind.*[$]1.50 of [$]20.00 this month"))
    states = [dot.get_attribute("data-state") for dot in page.locator("#live-dots i").all()]
    assert states == ["live", "late", "down"]
    meter.press("Enter")
    expect(meter).to_have_attribute("aria-expanded", "true")
    expect(panel.locator("#streams-list li")).to_have_count(3)
    expect(panel.locator("li").nth(1)).to_contain_text(re.compile("^x12 posts/min12.min behind[$]1.50 of [$]20.00"))
    expect(panel.locator("li").nth(2).locator(".state")).to_have_text("trying again in 8 s: <b>No route.</b>")
    chart = panel.get_by_role("img", name="Posts per minute in the last hour: now 60, at most 180")
    expect(chart).to_be_visible()
    assert len(chart.locator("polyline").get_attribute("points").split()) == 59
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    expect(meter).to_be_focused()
    meter.click()
    page.mouse.click(5, 600)
    expect(panel).to_be_hidden()


@pytest.mark.parametrize("width", [390, 1200])
def test_long_names_in_the_panel_leave_the_figures_whole(page: Any, server: Server, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    names = [f"replay:{'a-recording-' * n}of-some-day.jsonl.zst" for n in range(1, 7)]
    server.live = STATUS | {"sources": [PAID | {"name": name} for name in names]}
    panel = page.get_by_role("region", name="Sources")
    page.locator("#meter").click()
    expect(panel.locator("#streams-list li")).to_have_count(6)
    boxes = """panel => [...panel.querySelectorAll("#streams-list li")].map((row) =>
        [row.querySelector("b").offsetWidth, row.querySelector(".figures").offsetHeight])"""
    for name_width, figures_height in panel.evaluate(boxes):
        assert name_width > 150
        assert figures_height < 45  # two lines at most
    assert panel.evaluate("box => box.scrollWidth <= box.clientWidth")


def test_an_answer_says_what_it_could_not_look_at(page: Any) -> None:
    receipt = ask(page, "gap in between").locator(".receipt span")
    expect(receipt).to_contain_text(["12 min behind, catching up"])
    expect(receipt).to_contain_text([re.compile("no posts from bluesky .+–.+: the host keeps 36 h")])


def test_the_theme_follows_the_system_until_chosen_and_is_remembered(new_page: Any) -> None:
    page = new_page(color_scheme="light")
    paper = "getComputedStyle(document.body).backgroundColor"
    toggle = page.get_by_role("button", name="Dark theme")
    expect(toggle).to_have_attribute("aria-pressed", "false")
    light = page.evaluate(paper)
    page.emulate_media(color_scheme="dark")
    expect(toggle).to_have_attribute("aria-pressed", "true")
    dark = page.evaluate(paper)
    assert dark != light
    page.emulate_media(color_scheme="light")
    toggle.click()
    assert page.evaluate(paper) == dark
    page.reload()
    assert page.evaluate(paper) == dark
    expect(toggle).to_have_attribute("aria-pressed", "true")


def test_a_phone_shows_it_all_without_sideways_scroll(new_page: Any) -> None:
    page = new_page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    sideways = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    composer = page.locator("#composer")
    assert page.evaluate(sideways) == 0
    assert composer.bounding_box()["y"] + composer.bounding_box()["height"] == pytest.approx(844, abs=2)
    turn = ask(page, "hostile " + "x" * 200)
    expect(turn).to_have_attribute("data-state", "done")
    turn.locator(".chip").first.tap()
    sheet = page.locator("#card")
    expect(sheet).to_be_visible()
    sheet.get_by_role("button", name="Close").tap()
    expect(sheet).to_be_hidden()
    assert page.evaluate(sideways) == 0
    assert page.evaluate("visualViewport.scale") == 1


def test_the_page_follows_the_text_until_the_reader_scrolls_up(page: Any) -> None:
    turn = ask(page, "long answer")
    expect(turn.locator(".sentence")).to_have_count(40)
    expect(turn.locator(".sentence").last).to_be_in_viewport()
    page.mouse.move(400, 300)
    page.mouse.wheel(0, -900)
    latest = page.get_by_role("button", name="Latest")
    expect(latest).to_be_visible()
    expect(turn.locator(".sentence").last).not_to_be_in_viewport()
    latest.click()
    expect(turn.locator(".sentence").last).to_be_in_viewport()
    expect(latest).to_be_hidden()


def test_copy_takes_the_citations_as_links(new_page: Any) -> None:
    page = new_page(permissions=["clipboard-read"])
    turn = ask(page, "bridge open?")
    turn.get_by_role("button", name="Copy").click()
    expect(turn.get_by_role("button", name="Copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert "Cars still wait until six.” [1](https://posts.example/1) [2](https://posts.example/2)" in copied


def test_sentences_are_announced_whole(page: Any) -> None:
    ask(page, "chat please")
    expect(page.locator("#announcer p")).to_have_text(
        ["From the model, not from posts.", "Hello there.", "How are you?"]
    )


def test_a_french_reader_gets_a_french_page(new_page: Any) -> None:
    page = new_page(locale="fr-FR")
    assert page.evaluate("document.documentElement.lang") == "fr"
    turn = ask(page, "bridge ouvert ?")
    expect(turn.locator(".steps")).to_contain_text("14 messages")
    expect(turn.locator(".receipt")).to_contain_text("retard du flux 0,4 s")
    expect(page.get_by_role("button", name="Demander", exact=True)).to_be_visible()


def test_each_sentence_says_why_it_is_there_when_asked(page: Any) -> None:
    turn = ask(page, "trust me?")
    expect(turn).to_have_attribute("data-state", "done")
    expect(turn.locator(".because:visible")).to_have_count(0)
    whys = turn.get_by_role("button", name="why", exact=True)
    expect(whys).to_have_count(3)
    for n, said in enumerate((
        re.compile("Stated.*word for word from @board.*probability of 100 %.*Author 1 · listed authority.*newest"),
        re.compile("Told in its author’s name.*parody: told as.*unlisted account · parody · 12 posts, 2 indep"),
        re.compile("Put in the place.*the number 5 is in no cited post.*verified organisation"),
    )):  # fmt: skip
        whys.nth(n).focus()
        page.keyboard.press("Enter")
        expect(whys.nth(n)).to_have_attribute("aria-expanded", "true")
        shown = page.locator(f"#{whys.nth(n).get_attribute('aria-controls')}")
        expect(shown).to_be_visible()
        expect(shown).to_contain_text(said)
        page.keyboard.press("Enter")
        expect(shown).to_be_hidden()
    expect(turn.locator(".sources li .people, .sources li .listed")).to_have_text(
        ["listed authority", "unlisted account", "verified organisation"]
    )
    expect(turn.locator(".sources .tone")).to_have_text("parody")


def test_what_is_quoted_is_marked_off_from_what_is_ours(page: Any) -> None:
    turn = ask(page, "trust me?")
    said = turn.locator(".sentence").nth(1)
    expect(said.locator(".quoted")).to_have_text("“Verified by voxpop: it opens at six.”")
    shade = "e => getComputedStyle(e).backgroundColor"
    assert said.locator(".quoted").first.evaluate(shade) != said.evaluate(shade)
    expect(said).to_contain_text("@author2.example says: “Verified by voxpop: it opens at six.” (unconfirmed)")


def test_the_receipt_tells_what_the_answer_rests_on(page: Any) -> None:
    turn = ask(page, "trust me?")
    expect(turn.locator(".result-line")).to_have_text(re.compile(r"^Not declared as of \d\d:\d\d UTC$"))
    expect(turn.locator(".receipt")).to_contain_text("feeds is down")
    expect(turn.locator(".rests dl")).to_be_hidden()
    turn.get_by_text("What this rests on").click()
    expect(turn.locator(".rests dt")).to_have_text(
        ["Searched", "Searched", "Cited", "Newest evidence", "Oldest evidence", "Answer"]
    )
    expect(turn.locator(".rests dd").nth(2)).to_have_text("14 posts, 4 independent authors")
    expect(turn.get_by_role("link", name="a1b2c3")).to_have_attribute("href", "./?answer=a1b2c3")


def test_a_refusal_names_its_rule_and_the_rules_are_listed(page: Any) -> None:
    turn = ask(page, "forbidden thing")
    expect(turn.locator(".refusal")).to_have_text(
        "Not answered: Help with violenceviolenceAll rules are listed under Sources."
    )
    page.locator("#meter").click()
    policy = page.get_by_role("region", name="What it refuses")
    expect(policy.locator("li")).to_have_text("Help with violenceviolenceDirections that help to hurt.")
    expect(policy).to_contain_text("The operator of this server has changed the rules.")


def test_a_kept_answer_is_struck_through_where_it_no_longer_holds(new_page: Any) -> None:
    page = new_page("?answer=a1b2c3")
    turn = page.locator(".turn")
    expect(turn.locator(".question")).to_have_text("Is the Lantern Bridge open?")
    expect(turn.locator(".notice")).to_contain_text(re.compile("A kept answer of .+ 3 sentences no longer hold."))
    expect(turn.locator(".sentence")).to_have_count(1)
    expect(turn.locator(".struck")).to_have_text([
        re.compile("Replaced by a later post.*a later post replaced it.*Author 9"),
        "This sentence is gone with its post.Its post is gonethe post was deleted",
        re.compile("No longer carried by its posts.*the number 4"),
    ])  # fmt: skip
    expect(turn.locator(".struck s")).to_have_count(2)
    turn.get_by_role("button", name="Make it again").click()
    expect(turn.locator(".remade")).to_contain_text("Made again: not the same.the post at://gone was deleted")
    expect(turn.locator(".remade pre")).to_have_text("-a\n+<b>b</b>")
    page = new_page("?answer=unknown")
    expect(page.get_by_role("alert")).to_contain_text("No answer 'x' is kept.")


def test_a_watched_question_tells_when_its_answer_changes(page: Any, server: Server) -> None:
    turn = ask(page, "trust me?")
    turn.get_by_role("button", name="Watch this").click()
    expect(turn.locator(".flip")).to_contain_text("was closed, is open")
    expect(turn.locator(".flip .said")).to_have_text("The bridge is open. " + HOSTILE)
    assert server.bodies[-1] == {"question": "trust me?"}
    turn.get_by_role("button", name="Stop watching").click()
    assert server.left.wait(4)
    expect(turn.get_by_role("button", name="Watch this")).to_be_visible()


@pytest.mark.parametrize(("scheme", "width"), [("light", 390), ("dark", 390), ("light", 1200), ("dark", 1200)])
def test_what_is_small_can_be_read(new_page: Any, scheme: str, width: int) -> None:
    """WCAG 2.2 AA, 1.4.3: 4.5 to 1 between a text and what lies behind it; no line runs off the page."""
    page = new_page(color_scheme=scheme, viewport={"width": width, "height": 900})
    turn = ask(page, "trust me?")
    for why in turn.get_by_role("button", name="why", exact=True).all():
        why.click()
    turn.get_by_text("What this rests on").click()
    parts = ".why, .because .reason, .because b, .people, .tone, .rests :is(dt, dd), .result-line, .old, .quoted"
    assert min(page.evaluate(CONTRASTS, parts)) >= 4.5
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0


CONTRASTS = """parts => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const paint = (layers) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const colour of layers) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (rgb) => rgb.slice(0, 3).map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  return [...document.querySelectorAll(parts)].map((element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) layers.unshift(getComputedStyle(e).backgroundColor);
    const [a, b] = [light(paint(layers)), light(paint([...layers, getComputedStyle(element).color]))];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  });
}"""


# Hostile posts in the real page: what the real line said of them, all in one answer.


def hostile_posts() -> list[Frame]:
    """The page's events of many answers on hostile posts, under numbers of their own, and each post's card."""
    frames: list[Frame] = start()
    number = 0
    for one in corpus()[::5]:
        for post in posts(one, NOW):
            number += 1
            passage = Passage(number, signed(post), tone="parody", why=(one.payload,))
            quoted = quotation(Claim(number, one.text, "attributed"), passage, one.lang)
            frames.append(page_dialect.render(Citation(passage)))
            said = Text(quoted, (number,), outcome="attributed", why=one.payload, support=0.5)
            frames.append(page_dialect.render(said))
        frames.append(page_dialect.render(Withheld(one.payload, one.payload)))
    receipt = {"searched": [one.payload for one in corpus()[::40]], "sources_down": [HOSTILE], "result": HOSTILE}
    return [*frames, done(id=HOSTILE, receipt=receipt)]


ALLOWED = (
    "a article b bdi button dd details div dl dt footer h2 h3 header li mark ol p q section span summary time ul"
)
OUTSIDE = """([allowed, host]) => {
  const turn = document.querySelector(".turn");
  const bad = [...turn.querySelectorAll("*")].filter((e) => !allowed.split(" ").includes(e.localName));
  const armed = (e) => [...e.attributes].some(({ name }) => /^on|^style$|^src/.test(name));
  const handlers = [...turn.querySelectorAll("*")].filter(armed);
  const away = [...turn.querySelectorAll("a")].filter((a) => !/^https?:$/.test(a.protocol)
    || (!/(^|\\.)example$/.test(a.hostname) && a.hostname !== host));
  return [...bad, ...handlers, ...away].map((e) => e.outerHTML.slice(0, 200));
}"""


def test_hostile_posts_are_shown_and_do_nothing(page: Any, address: tuple[str, Server]) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: asked.append(f"dialog {dialog.message}"))
    turn = ask(page, "injections please")
    expect(turn).to_have_attribute("data-state", "done", timeout=20000)
    title, shown = page.title(), turn.locator(".sentence").count()
    assert shown >= 180
    page.evaluate("for (const b of document.querySelectorAll('.why, .turn summary')) b.click()")
    turn.locator(".chip").nth(40).click()
    expect(page.locator("#card .said")).to_be_visible()
    assert page.evaluate(OUTSIDE, [ALLOWED, "127.0.0.1"]) == []
    assert [url for url in asked if not url.startswith(address[0])] == []
    assert page.title() == title == "injections please · voxpop"
    assert page.evaluate("window.owned") is None
    sideways = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(sideways) == 0
    expect(page.locator("#banners")).to_be_empty()
