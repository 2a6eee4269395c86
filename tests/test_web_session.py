"""The page of a server with accounts, in a real Chromium against the real program: in, asked, limits, keys, out."""

import asyncio
import json
import os
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from conftest import CHEAP, Program, Up, voxpop
from test_web_page import ARGUMENTS, CHROMIUM
from voxpop.accounts import people
from voxpop.accounts.audit import By
from voxpop.accounts.people import Wish
from voxpop.records import Database

sync_api = pytest.importorskip("playwright.sync_api", reason="the Python package 'playwright' is not installed")
expect = sync_api.expect
pytestmark = pytest.mark.skipif(
    not Path(CHROMIUM).exists(), reason="no Chromium: install it or set VOXPOP_CHROMIUM to its executable"
)
WORD = "correct horse battery"
TIERS = """
[tier.tiny]
title = "Tiny"
[tier.tiny.buckets.chat]
requests_per_day = 2
[tier.tiny.buckets.other]
[tier.gold]
title = "Gold"
[tier.gold.buckets.other]
[tier.gold.rollout]
share = 0.0
meanwhile = "tiny"
"""
TIER_OF = {"bob": "tiny", "dora": "gold", "eli": "gold"}


async def settle(data: Path) -> None:
    """Ann, an admin, bob, whose tier is small, and two who wait for theirs."""
    async with Database.beside(data) as database:
        by, hashed = By("test", time.time_ns() // 1000), CHEAP.hash(WORD)
        for who, rank, tier in (("ann", "admin", None), *((n, None, t) for n, t in TIER_OF.items())):
            wish = Wish(name=who, rank=rank, tier=tier, password=hashed)
            await database.run(lambda s, w=wish: people.add_user(s, by, w).id)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """The real program on the simulated stream, with accounts."""
    folder = tmp_path_factory.mktemp("house")
    (folder / "tiers.toml").write_text(TIERS)
    given = {"VOXPOP_ACCOUNTS_TIERS": str(folder / "tiers.toml"), "VOXPOP_ACCOUNTS_SIGN_UP": "open"}
    with ThreadPoolExecutor(1) as beside:  # in this thread the browser has its loop
        beside.submit(lambda: asyncio.run(settle(folder))).result()
    arguments = ("--source", "simulated", "--engine", "quote", "--port", "0", "--data", str(folder))
    program = Program(folder / "log", "up", *arguments, **given)
    try:
        url = program.until(r"open (http://127\.0\.0\.1:\d+)")[1]
        end = time.monotonic() + 20
        while httpx.get(f"{url}/readyz", trust_env=False).status_code != 200 and time.monotonic() < end:
            time.sleep(0.1)
        yield Up(program, url, folder)
    finally:
        program.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any, house: Up) -> Iterator[Any]:
    context = browser.new_context(locale="en-GB", viewport={"width": 900, "height": 900})
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=house.url)
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda line: faults.append(line.text) if "Security Policy" in line.text else None)
    page.goto(house.url)
    yield page
    context.close()
    assert faults == []


def sign_in(page: Any, name: str, word: str = WORD) -> None:
    page.get_by_label("Name or e-mail address").fill(name)
    page.get_by_label("Password", exact=True).fill(word)
    page.get_by_role("button", name="Sign in", exact=True).click()


def shot(page: Any, name: str) -> None:
    """A picture for who looks at the page, where VOXPOP_TEST_DATA names a folder for it."""
    if folder := os.environ.get("VOXPOP_TEST_DATA"):
        page.screenshot(path=f"{folder}/{name}.png")


def test_nobody_sees_anything_before_signing_in(page: Any) -> None:
    expect(page.get_by_role("dialog", name="Sign in")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Sign in")).to_be_visible()
    expect(page.locator("#name")).to_be_focused()
    shot(page, "sign-in")
    sign_in(page, "bob", "wrong password")
    expect(page.get_by_role("alert")).to_have_text(re.compile("The name or the password is not right"))
    assert page.locator("#examples").is_hidden()
    sign_in(page, "bob")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.locator("#examples")).to_be_visible()
    assert page.evaluate("document.cookie") == ""


def test_limits_that_cannot_be_told_say_why_in_the_servers_words(page: Any) -> None:
    sign_in(page, "bob")
    expect(page.get_by_role("dialog")).to_be_hidden()
    error = {"message": "Usage cannot be counted now.", "code": "limits_failed", "cure": "Try again in a moment."}
    page.route("**/v1/limits", lambda route: route.fulfill(status=503, json={"error": error}))
    page.get_by_role("button", name="Your account").click()
    expect(page.locator("#limits")).to_have_text("Usage cannot be counted now. Try again in a moment.")


def test_the_limits_say_what_is_left_and_a_refusal_when_to_come_back(page: Any) -> None:
    sign_in(page, "bob")
    expect(page.get_by_role("dialog")).to_be_hidden()
    for _ in range(2):
        page.locator("#question").fill("Did a ballot box burn in Dornick?")
        page.keyboard.press("Enter")
        expect(page.locator("#send")).to_have_attribute("data-state", "send")
        expect(page.locator(".actions").last).to_be_visible()
    page.locator("#question").fill("Who won the election?")
    page.keyboard.press("Enter")
    expect(page.locator("#thread")).to_contain_text(re.compile(r"You can ask again at .*, in \d+"))
    shot(page, "refused")
    page.get_by_role("button", name="Your account").click()
    panel = page.get_by_role("region", name=re.compile("bob"))
    expect(panel).to_contain_text("Tiny")
    row = panel.locator("#limits li").first
    expect(row).to_contain_text("requests a day")
    expect(row).to_contain_text("0 of 2 left")
    expect(row).to_contain_text(re.compile("full again at .*, in "))
    assert panel.locator("progress").first.get_attribute("aria-label") == "requests a day: 0 of 2 left"
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    expect(page.locator("#me")).to_be_focused()


def test_a_key_is_made_shown_once_used_and_revoked(page: Any, house: Up) -> None:
    sign_in(page, "ann")
    page.get_by_role("button", name="Your account").click()
    page.get_by_label("Name of the key").fill("newsroom")
    page.get_by_role("button", name="Create").click()
    key = page.locator("#secret code").inner_text()
    assert re.fullmatch(r"vx-\S+", key)
    page.locator("#secret").get_by_role("button", name="Copy").click()
    assert page.evaluate("navigator.clipboard.readText()") == key
    asked = {"headers": {"authorization": f"Bearer {key}"}, "trust_env": False}
    assert httpx.get(f"{house.url}/v1/limits", **asked).status_code == 200
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Your account").click()
    expect(page.locator("#keys")).to_contain_text("newsroom")
    assert key not in page.content()
    revoke = page.get_by_role("button", name="Revoke the key newsroom")
    revoke.click()
    page.get_by_role("button", name="Really? newsroom").click()
    expect(page.locator("#keys")).not_to_contain_text("newsroom")
    time.sleep(1)
    assert httpx.get(f"{house.url}/v1/limits", **asked).status_code == 401


def test_the_command_line_watches_with_a_key(house: Up) -> None:
    port = ("--port", house.url.rpartition(":")[2])
    refused = voxpop("watch", "--list", *port)
    assert (refused.returncode, "VOXPOP_KEY" in refused.stderr) == (2, True)
    made = voxpop("keys", "create", "bob", "--data", str(house.data), "--json")
    key = json.loads(made.stdout)["key"]
    listed = voxpop("watch", "--list", "--json", *port, VOXPOP_KEY=key)
    assert json.loads(listed.stdout) == {"watches": []}
    asked = {"headers": {"authorization": f"Bearer {key}"}, "trust_env": False}
    question = {"question": "Who won the election?"}
    added = httpx.post(f"{house.url}/v1/watches", json=question, **asked).raise_for_status().json()
    everybodys = ("watch", "--list", "--all", "--data", str(house.data))
    [row] = json.loads(voxpop(*everybodys, "--json").stdout)["watches"]
    assert (row["id"], row["owner"]["name"]) == (added["id"], "bob")
    assert "bob: Who won the election?" in voxpop(*everybodys).stdout
    httpx.delete(f"{house.url}/v1/watches/{added['id']}", **asked).raise_for_status()


def test_a_session_that_ends_asks_again_and_keeps_what_was_typed(page: Any) -> None:
    sign_in(page, "ann")
    expect(page.locator("#examples")).to_be_visible()
    page.locator("#question").fill("Is the tram strike over?")
    page.context.clear_cookies()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="Sign in")).to_be_visible()
    sign_in(page, "ann")
    expect(page.locator("#thread .question")).to_have_text("Is the tram strike over?")
    expect(page.locator("#thread")).to_contain_text("@lirrentransit.example says")


def test_signing_out_leaves_nothing_on_the_page(page: Any) -> None:
    sign_in(page, "ann")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.locator("#question").fill("Did a ballot box burn in Dornick?")
    page.keyboard.press("Enter")
    expect(page.locator("#send")).to_have_attribute("data-state", "send")
    page.get_by_role("button", name="Your account").click()
    page.get_by_role("button", name="Sign out", exact=True).click()
    expect(page.get_by_role("dialog", name="Sign in")).to_be_visible()
    assert "ballot" not in page.locator("#thread").inner_text()
    page.reload()
    expect(page.get_by_role("dialog", name="Sign in")).to_be_visible()


def test_somebody_new_makes_an_account(page: Any) -> None:
    page.get_by_role("button", name="Make an account").click()
    page.get_by_label("Name or e-mail address").fill("cleo")
    page.get_by_label("Password", exact=True).fill("short")
    page.locator("#enter").click()
    expect(page.get_by_role("alert")).to_have_text(re.compile("10 to 1000 characters"))
    page.get_by_label("Password", exact=True).fill(WORD)
    page.locator("#enter").click()
    page.get_by_role("button", name="Your account").click()
    expect(page.locator("#account-title")).to_have_text(re.compile("cleo Free"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_it_all_without_sideways_scroll(browser: Any, house: Up, scheme: str) -> None:
    context = browser.new_context(viewport={"width": 320, "height": 640}, color_scheme=scheme, locale="en-GB")
    page = context.new_page()
    page.goto(house.url)
    expect(page.get_by_role("dialog", name="Sign in")).to_be_visible()
    shot(page, f"sign-in-320-{scheme}")
    sign_in(page, "bob")
    page.get_by_role("button", name="Your account").click()
    expect(page.locator("#limits progress").first).to_be_visible()
    shot(page, f"limits-320-{scheme}")
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    assert page.evaluate(
        "document.querySelector('#account').scrollWidth <= document.querySelector('#account').clientWidth"
    )
    context.close()


def test_a_password_is_changed_and_opens_the_door_from_then_on(page: Any) -> None:
    sign_in(page, "eli")
    page.get_by_role("button", name="Your account").click()
    page.get_by_text("Change the password").click()
    now, new = page.get_by_label("Password of now"), page.get_by_label("New password")
    for old, chosen, told in (
        ("not my password", "another horse battery", "not right"),
        (WORD, "short", "10 to 1000 characters"),
        (WORD, "another horse battery", "It is changed"),
    ):
        now.fill(old)
        new.fill(chosen)
        page.get_by_role("button", name="Change", exact=True).click()
        expect(page.locator("#change-told")).to_contain_text(told)
        assert (now.input_value(), new.input_value()) == ("", "")
    shot(page, "password-changed")
    page.get_by_role("button", name="Sign out", exact=True).click()
    sign_in(page, "eli")
    expect(page.get_by_role("alert")).to_be_visible()
    sign_in(page, "eli", "another horse battery")
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_who_waits_for_a_tier_is_told_their_place(page: Any, house: Up) -> None:
    made = json.loads(voxpop("keys", "create", "eli", "--data", str(house.data), "--json").stdout)
    asked = {"headers": {"authorization": f"Bearer {made['key']}"}, "trust_env": False}
    counted = {"model": "voxpop", "text": "Hello"}
    httpx.post(f"{house.url}/v1/tokenize-text", json=counted, **asked).raise_for_status()
    sign_in(page, "dora")
    page.get_by_role("button", name="Your account").click()
    waits = page.locator("#limits .waits")
    expect(waits).to_have_text(
        re.compile(r"Gold: you are 2 of 2 on the waiting list: it is open to 0% of accounts so far\.")
    )
    expect(page.locator("#account-tier")).to_have_text("Tiny")
    shot(page, "waiting")


def test_a_narrow_header_cuts_nothing(browser: Any, house: Up) -> None:
    context = browser.new_context(viewport={"width": 320, "height": 640}, locale="en-GB")
    page = context.new_page()
    page.goto(house.url)
    sign_in(page, "ann")
    expect(page.get_by_role("dialog")).to_be_hidden()
    for ask in (False, True):
        if ask:
            page.locator("#question").fill("Did a ballot box burn in Dornick?")
            page.keyboard.press("Enter")
            expect(page.locator(".actions").last).to_be_visible()
        expect(page.locator("#live-rate")).to_have_text(re.compile("min"))
        shot(page, f"header-320-{ask}")
        cut_off = page.evaluate(
            """() => [...document.querySelectorAll(".bar, .bar *")]
              .filter((e) => e.checkVisibility() && !e.closest("svg"))
              .filter((e) => e.scrollWidth > e.clientWidth + 1 && e.clientWidth
                || e.getBoundingClientRect().right > innerWidth || e.getBoundingClientRect().left < 0)
              .map((e) => `${e.id || e.className || e.tagName}: ${e.scrollWidth} in ${e.clientWidth}`)"""
        )
        assert cut_off == []
    context.close()
