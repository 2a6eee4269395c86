"""Fill a gap of X's stream from recent search, page by page within the budget; the rest is a `Missed`."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import NamedTuple

from voxpop.posts import Missed
from voxpop.sources.spending import Budget
from voxpop.sources.x_api import Api, Refused
from voxpop.sources.x_wire import FIELDS, WORST, Payload, id_at, read
from voxpop.times import MICROS

SEARCH = "/2/tweets/search/recent"
REACH_S = 7 * 86400 - 60
_LONGEST_QUERY = 512
_MOST_POSTS, _FEWEST_POSTS = 100, 10
_MOST_PAGES = 1000
_TRIES = 3
_SHARE = 4


class Gap(NamedTuple):
    """A stretch that the stream did not give, in microseconds."""

    since: int
    until: int


class Way(NamedTuple):
    """What a search goes by. `busy_s` is the first pause after a failure; it doubles."""

    api: Api
    budget: Budget
    rules: Sequence[str]
    now: Callable[[], int]
    busy_s: float = 5.0


def queries(rules: Sequence[str]) -> list[str]:
    """Rules as few searches: a post that fits two of them is paid for once."""
    found: list[str] = []
    for rule in rules:
        joined = f"{found[-1]} OR ({rule})" if found else ""
        if found and len(joined) <= _LONGEST_QUERY:
            found[-1] = joined
        else:
            found.append(f"({rule})")
    return found


async def fill(way: Way, gap: Gap) -> AsyncGenerator[Payload | Missed, None]:
    """What X finds of a gap, newest first, and what is missing of it.

    It may spend a quarter of what the month still has: a long gap must not leave nothing for what comes.
    """
    floor = way.now() - REACH_S * MICROS
    if gap.since < floor:
        yield Missed(gap.since, min(floor, gap.until), "X's recent search reaches back seven days")
        gap = Gap(floor, gap.until)
    allowance = way.budget.affordable() // _SHARE
    asked = queries(way.rules) if gap.since < gap.until else []
    for query in asked:
        async with aclosing(_pages(way, query, gap, allowance)) as pages:
            async for page in pages:
                if isinstance(page, Payload):
                    allowance -= page.billed
                yield page


async def _pages(way: Way, query: str, gap: Gap, allowance: int) -> AsyncGenerator[Payload | Missed, None]:
    oldest, token = gap.until, ""
    for _ in range(_MOST_PAGES):
        size = min(_MOST_POSTS, allowance // WORST)
        if size < _FEWEST_POSTS:
            yield Missed(gap.since, oldest, "no money is left for it")
            return
        try:
            page = await _page(way, query, gap, size, token)
        except Refused as error:
            yield Missed(gap.since, oldest, f"the search failed: {error}")
            return
        if page is None:
            yield Missed(gap.since, oldest, "the month's budget is used up")
            return
        yield page
        allowance -= page.billed
        oldest = min([oldest, *(p.created_at for p in page.posts[: page.asked])])
        token = page.next_token
        if not token:
            return
    yield Missed(gap.since, oldest, f"there were more than {_MOST_PAGES} pages")


async def _page(way: Way, query: str, gap: Gap, size: int, token: str) -> Payload | None:
    """One page, paid for before it is asked for; None where the month cannot pay. Raises Refused."""
    params = {"query": query, "max_results": str(size), "since_id": str(id_at(gap.since)), **FIELDS}
    if token:
        params["next_token"] = token
    tries = 0
    while True:
        reserved = await way.budget.reserve(size * WORST)
        if reserved is None:
            return None
        used = reserved.reads
        try:
            payload = read(await way.api.get(SEARCH, params), way.now())
            used = payload.billed
            return payload
        except Refused as error:
            used = reserved.reads if error.sent else 0
            tries += 1
            if error.kind not in ("limited", "busy", "network") or tries > _TRIES:
                raise
            wait = error.wait_s if error.wait_s is not None else way.busy_s * 2.0 ** (tries - 1)
        finally:
            await way.budget.settle(reserved, used)
        await asyncio.sleep(wait)
