"""The whole program in a real browser: the page, the answer, its posts, the stop, on the simulated stream.

`VOXPOP_SHOTS` names a folder for pictures of what the tests see.
"""

import asyncio
import os
import re
import shutil
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from conftest import Program, Up

sync_api = pytest.importorskip("playwright.sync_api", reason="the Python package 'playwright' is not installed")
expect = sync_api.expect

CHROMIUM = os.environ.get("VOXPOP_CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
pytestmark = pytest.mark.skipif(
    not Path(CHROMIUM).exists(), reason="no Chromium: install it or set VOXPOP_CHROMIUM to its executable"
)
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SHOTS = os.environ.get("VOXPOP_SHOTS")
BURNED = "Did a ballot box burn in Dornick?"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser: Any) -> Iterator[Any]:
    """Opens an address; a script error or a breach of the page's policy fails the test."""
    contexts, faults = [], []

    def at(url: str, **options: Any) -> Any:
        context = browser.new_context(**({"locale": "en-GB"} | options))
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(8000)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda line: faults.append(line.text) if "Security Policy" in line.text else None)
        page.goto(url)
        return page

    yield at
    for context in contexts:
        context.close()
    assert faults == []


def shot(page: Any, name: str) -> None:
    if SHOTS:
        page.screenshot(path=str(Path(SHOTS) / f"{name}.png"), animations="disabled")


def test_an_example_is_answered_with_posts_that_open(opened: Any, up: Up) -> None:
    page = opened(up.url, color_scheme="light")
    expect(page.locator("#banners")).to_contain_text("Simulated stream")
    expect(page.locator("#banners p")).to_have_count(1)
    expect(page.locator("#meter")).to_contain_text(re.compile(r"posts/min.*posts", re.DOTALL))
    shot(page, "light-empty")
    page.get_by_role("button", name=BURNED).click()
    turn = page.locator(".turn").last
    expect(turn).to_have_attribute("data-state", "done")
    expect(turn.locator(".sentence").first).to_contain_text("Dornick")
    expect(turn.locator(".notice").first).to_contain_text("invented")
    expect(turn.locator(".receipt")).to_contain_text("engine quote")
    turn.locator(".chip").first.click()
    card = page.locator("#card")
    expect(card).to_be_visible()
    expect(card.locator(".said")).to_contain_text("Dornick")
    shot(page, "light-answer")
    page.keyboard.press("Escape")
    expect(card).to_be_hidden()


def test_the_fun_voice_speaks_and_follows_up_on_a_dark_phone(opened: Any, up: Up) -> None:
    page = opened(
        up.url, color_scheme="dark", viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )
    page.locator("#voice").select_option("fun")
    for question in (BURNED, "Who won the election?"):
        page.get_by_role("textbox").fill(question)
        page.keyboard.press("Enter")
        turn = page.locator(".turn").last
        expect(turn.locator(".question")).to_have_text(question)
        expect(turn).to_have_attribute("data-state", "done")
        expect(turn.locator(".receipt")).to_contain_text("voice fun")
        shot(page, f"phone-dark-{question.split()[0].lower()}")
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0


class Endless:
    """A server that speaks OpenAI's API and never stops by itself; `left` says that its client has gone."""

    def __init__(self) -> None:
        self.left = threading.Event()
        app = Starlette(routes=[Route("/v1/chat/completions", self.answer, methods=["POST"])])
        config = uvicorn.Config(app, port=0, log_level="critical", ws="none", lifespan="off")
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)

    async def answer(self, request: Request) -> Response:
        return StreamingResponse(self.say(), media_type="text/event-stream")

    async def say(self) -> AsyncIterator[str]:
        try:
            while True:
                yield 'data: {"choices":[{"delta":{"content":"and again "}}]}\n\n'
                await asyncio.sleep(0.05)
        finally:
            self.left.set()

    def __enter__(self) -> Self:
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.thread.join(10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.servers[0].sockets[0].getsockname()[1]}/v1"


def test_stop_reaches_the_engine_and_a_server_that_is_gone_is_told(opened: Any, tmp_path: Path) -> None:
    arguments = ("up", "--source", "simulated", "--engine", "openai", "--port", "0", "--data", str(tmp_path))
    with Endless() as engine:
        program = Program(tmp_path / "log", *arguments, VOXPOP_ENGINE_URL=engine.url)
        try:
            page = opened(program.until(r"open (http://127\.0\.0\.1:\d+)")[1], color_scheme="dark")
            page.get_by_role("textbox").fill("Hello")
            page.keyboard.press("Enter")
            turn = page.locator(".turn").last
            expect(turn.locator(".chat")).to_contain_text("and again and again")
            assert not engine.left.is_set()
            page.get_by_role("button", name="Stop").click()
            expect(turn.locator(".receipt")).to_have_text("stopped")
            assert engine.left.wait(4)
            shot(page, "dark-stopped")
            program.stop()
            expect(page.locator("#banners")).to_contain_text("cannot be reached")
        finally:
            program.stop()
