"""Earthquakes of the last hour, asked for once a minute; an example of a source that a package brings to voxpop."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx

from voxpop.errors import UsageError, VoxpopError
from voxpop.posts import Author, Delete, Event, Post, Upsert
from voxpop.sources.specs import Kind, Spec

FEED = "https://earthquake.usgs.gov/earthquakes/feed/v1.0/summary/all_hour.geojson"
AUTHOR = Author("quakes:usgs", "earthquake.usgs.gov", "U.S. Geological Survey")
MAX_BYTES = 5_000_000


class QuakeSource:
    """Each earthquake is a post; one that the survey revises is an edit, one that it withdraws a deletion."""

    network, simulated = "quakes", False

    def __init__(self, url: str, every_s: float) -> None:
        self.name = "quakes"  # the key of the cursor: two sources must not share one
        self.dropped: Counter[str] = Counter()
        self.state = "not started"
        self._url, self._every_s = url, every_s

    async def events(self, after: str | None) -> AsyncIterator[Event]:
        """Without end. The cursor is the newest `updated` (milliseconds) whose quakes were all given."""
        if after and not after.isdecimal():
            raise VoxpopError(
                f"The cursor {after!r} is no time in milliseconds.", "Remove it from the store.", lasting=True
            )
        newest = int(after or 0)
        async with httpx.AsyncClient(timeout=10) as client:
            while True:
                try:
                    quakes = await self._ask(client)
                    self.state = "reading"
                except (httpx.HTTPError, ValueError, KeyError, TypeError, TimeoutError) as error:
                    self.dropped["no answer"] += 1  # the world's mistakes are counted, never raised
                    self.state, quakes = f"waiting: {type(error).__name__}", []
                fresh = [(updated, event) for updated, event in quakes if updated > newest]
                newest = max((updated for updated, _ in fresh), default=newest)
                for place, (_, event) in enumerate(fresh, 1):
                    # Only the last one carries the cursor: until it is stored, none of them counts as read.
                    yield replace(event, cursor=str(newest) if place == len(fresh) else "")
                await asyncio.sleep(self._every_s)

    async def _ask(self, client: httpx.AsyncClient) -> list[tuple[int, Event]]:
        body = bytearray()
        async with asyncio.timeout(20), client.stream("GET", self._url) as response:
            async for piece in response.raise_for_status().aiter_bytes():
                body += piece
                if len(body) > MAX_BYTES:
                    raise ValueError("the answer is too large")
        features = httpx.Response(200, content=bytes(body)).json()["features"]
        return sorted((q for f in features if (q := self._read(f))), key=lambda q: q[0])

    def _read(self, feature: object) -> tuple[int, Event] | None:
        now = time.time_ns() // 1000
        try:
            about, uri = feature["properties"], f"quakes:{feature['id']}"  # type: ignore[index]
            updated = int(about["updated"])
            if about.get("status") == "deleted":
                return updated, Delete(uri, now)
            post = Post(
                uri, "quakes", AUTHOR, str(about["title"]), int(about["time"]) * 1000, now, str(about["url"])
            )
        except (KeyError, TypeError, ValueError):
            self.dropped["not a quake"] += 1
            return None
        return updated, Upsert(post)


def _every_s(spec: Spec) -> float:
    try:
        every_s = float(spec.options.get("every", "60"))
    except ValueError:
        every_s = 0.0
    if not 0 < every_s < 86_400:
        raise UsageError(f"Every {spec.options['every']!r} seconds is not possible.", "Write it as every=60.")
    return every_s


async def _open(spec: Spec, _: object) -> QuakeSource:
    return QuakeSource(spec.target or FEED, _every_s(spec))


KIND = Kind("earthquakes of the last hour", "quakes?every=60", _open, "may", ("every",), check=_every_s)
