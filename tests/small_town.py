"""A small town of five posts in a real store, with its real assistant and stored conversations, on loopback."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conftest import Running
from voxpop import voices
from voxpop.assistant import Assistant
from voxpop.authorities import Authorities
from voxpop.conversations import Conversations
from voxpop.desk import Answers, Desk
from voxpop.engines.quote import QuoteEngine
from voxpop.posts import Author, Delete, Post, Upsert
from voxpop.records import Database
from voxpop.store.local import LocalStore
from voxpop.times import MICROS

QUESTION = "Is the Vesper bridge closed?"
HOUR = 3600 * MICROS


def clock() -> int:
    return time.time_ns() // 1000


@dataclass
class Town:
    """The server's address, and what a test changes behind it."""

    url: str
    store: LocalStore
    conversations: Conversations
    assistant: Answers
    posts: dict[str, Post] = field(default_factory=dict)

    async def delete(self, name: str) -> None:
        """A post is removed by its author."""
        await self.store.apply("town", [Delete(self.posts[name].id, clock(), "z")])


def posts() -> dict[str, Post]:
    """By the name of their author."""
    now = clock()
    said = {
        "harbour": ("bluesky", "The Vesper bridge is closed since this morning, says the harbour office.", 2),
        "ann": ("bluesky", "Vesper bridge closed, I had to turn back.", 1),
        "ben": ("mastodon", "The Vesper bridge is closed again because of the wind.", 26),
        "gazette": ("rss", "The Vesper bridge is closed to all traffic until Friday.", 3),
        "cat": ("bluesky", "My cat sleeps all day.", 1),
    }
    made = {}
    for name, (network, text, hours) in said.items():
        author = Author(f"did:plc:{name}", f"{name}.example", name.title())
        url = f"https://{'gazette.example' if network == 'rss' else 'town.example'}/{name}/status/(1)"
        at = now - hours * HOUR
        kind = "news" if network == "rss" else "post"
        made[name] = Post(f"at://{name}", network, author, text, at, at, url=url, lang="en", kind=kind)
    return made


@asynccontextmanager
async def town(
    serve: Callable[..., AbstractAsyncContextManager[str]],
    folder: Path,
    engine: Any = None,
    *,
    gate: Any = None,
    answers: Answers | None = None,
) -> AsyncIterator[Town]:
    """Serve it; `engine` writes, by default what quotes, and `answers` stands in for the assistant."""
    inhabitants, writer = posts(), engine or QuoteEngine()
    async with (
        LocalStore(folder / "posts") as store,
        Database.beside(folder) as database,
        Conversations(database, store.posts, clock) as conversations,
    ):
        await store.apply("town", [Upsert(p, str(n)) for n, p in enumerate(inhabitants.values())])
        lists = Authorities.of(["did:plc:harbour"])
        real = Assistant(store, lambda: writer, voices.load(), authorities=lists, clock=clock)
        running = Running(answers or real)
        desk = Desk(running.assistant, gate)
        async with serve(running, desk=desk, conversations=conversations) as url:
            yield Town(url, store, conversations, running.assistant, inhabitants)
