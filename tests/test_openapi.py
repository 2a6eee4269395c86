"""The description against what is served: every route and method stands in it, and nothing else does."""

import re
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Mount, Route

from conftest import Running
from test_api_http import Serve
from test_web_page import ARGUMENTS, CHROMIUM
from voxpop.api.batches import BatchFaces
from voxpop.api.files import FileFaces
from voxpop.api.http import application
from voxpop.api.keys import KeyFaces
from voxpop.api.openapi import document
from voxpop.api.people import PeopleFaces
from voxpop.api.usage import UsageFaces
from voxpop.api.watches import Standing

_PLAIN = {"GET", "POST", "DELETE", "PATCH", "PUT"}


def served() -> set[tuple[str, str]]:
    """(method, path) of every route of the application, as OpenAPI writes paths."""
    nothing: Any = None
    watches = Standing(nothing, nothing, nothing, nothing, False)
    people = [*PeopleFaces(nothing, nothing).routes(), *KeyFaces(nothing, nothing).routes()]
    stored = [*FileFaces(nothing, nothing, nothing).routes(), *BatchFaces(nothing, nothing, nothing).routes()]
    more = [*watches.routes(), *people, *UsageFaces(nothing).routes(), *stored]
    app = application(Running(), more=more, posts=lambda ids: nothing)
    found = set()
    for route in app.routes:
        assert isinstance(route, Route | Mount)
        if isinstance(route, Route):
            path = route.path.replace(":path}", "}")
            found |= {(m, path) for m in route.methods or () if m in _PLAIN}
    return found


def described() -> set[tuple[str, str]]:
    return {(m.upper(), p) for p, methods in document()["paths"].items() for m in methods if m != "parameters"}


def test_every_route_is_described() -> None:
    assert served() - described() == set()


def test_nothing_else_is_described() -> None:
    assert described() - served() == set()


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        here = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return here.union(*map(references, value.values()))
    return set().union(*map(references, value)) if isinstance(value, list) else set()


def test_every_reference_leads_somewhere() -> None:
    whole = document()
    for name in references(whole):
        at: Any = whole
        for key in name.removeprefix("#/").split("/"):
            assert key in at, name
            at = at[key]


@pytest.mark.parametrize(("path", "methods"), document()["paths"].items())
def test_every_route_says_what_it_gives(path: str, methods: dict[str, Any]) -> None:
    named = set(re.findall(r"{(\w+)}", path))
    for method, operation in methods.items():
        if method == "parameters":
            continue
        assert operation["summary"], f"{method} {path}"
        assert operation["tags"][0] in {t["name"] for t in document()["tags"]}, f"{method} {path}"
        given = [*methods.get("parameters", []), *operation.get("parameters", [])]
        assert {p["name"] for p in given if p.get("in") == "path"} == named, f"{method} {path}"


async def test_the_reference_shows_every_route(served: Serve) -> None:
    sync_api = pytest.importorskip("playwright.async_api", reason="'playwright' is not installed")
    if not Path(CHROMIUM).exists():
        pytest.skip("no Chromium: install it or set VOXPOP_CHROMIUM to its executable")
    async with served(Running()) as url, sync_api.async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = await browser.new_page()
        wrong: list[str] = []
        page.on("console", lambda said: wrong.append(said.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        await page.goto(f"{url}/reference")
        await page.wait_for_selector(".route")
        shown = await page.locator(".route summary").all_inner_texts()
        await page.locator("#find").fill("keep watches")
        assert await page.locator(".route:visible").count() == 0
        await page.locator("#find").fill("post /v1/watches")
        assert await page.locator(".route:visible").count() == 1
        await browser.close()
    assert {tuple(s.split()[:2]) for s in shown} == described()
    assert wrong == []
