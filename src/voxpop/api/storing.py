"""Put together what is stored for accounts: their faces, and what works through their batches."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.routing import Route

from voxpop.accounts import Account, keys
from voxpop.api.batches import BatchFaces
from voxpop.api.files import FileFaces
from voxpop.api.inside import Other, behind
from voxpop.api.keys import KeyFaces
from voxpop.api.people import PeopleFaces
from voxpop.api.usage import UsageFaces
from voxpop.batches.store import Batches
from voxpop.batches.work import Work
from voxpop.config import Config
from voxpop.conversations import Conversations
from voxpop.deferred import Later
from voxpop.files import FOLDER, Files
from voxpop.places import Places
from voxpop.posts import Post
from voxpop.quotas.permits import Quotas
from voxpop.records import Database


def people(
    database: Database,
    quotas: Quotas,
    clock: Callable[[], int],
    forget: Callable[[str], Awaitable[None]],
    data: Path,
) -> list[Route]:
    """The faces of accounts, their keys and what they used; `forget` removes what else a removed user had."""
    faces = (
        PeopleFaces(database, clock, forget, lambda name: quotas.tiers().refuse_unknown(name), data),
        KeyFaces(database, clock),
        UsageFaces(quotas),
    )
    return [route for face in faces for route in face.routes()]


@asynccontextmanager
async def answered(
    database: Database, posts: Callable[[Sequence[str]], Awaitable[list[Post]]], clock: Callable[[], int]
) -> AsyncIterator[dict[str, Any]]:
    """What keeps answers for those who asked: until they are fetched, and in conversations."""
    async with Later(database, posts, clock) as later, Conversations(database, posts, clock) as conversations:
        yield {"later": later, "conversations": conversations}


@dataclass(frozen=True, slots=True)
class Storing:
    """Stored files and batches, open; `still` gives an account as it is now, or raises Denied."""

    files: Files
    batches: Batches
    still: Callable[[Account], Awaitable[Account]]
    work: Work

    def routes(self, places: Places) -> list[Route]:
        """Their faces over HTTP."""
        files = FileFaces(self.files, self.work.made, places)
        return [*files.routes(), *BatchFaces(self.batches, self.work, self.files).routes()]

    async def run(self, app: Any, others: Mapping[str, Other] | None = None) -> None:
        """Work through the batches until it is cancelled; they ask the application, or one of the `others`."""
        await self.work.run(behind(app, self.still, others))


@asynccontextmanager
async def storing(
    config: Config,
    database: Database,
    posts: Callable[[Sequence[str]], Awaitable[list[Post]]],
    clock: Callable[[], int],
    still: Callable[[Account], Awaitable[Account]] | None = None,
) -> AsyncIterator[Storing]:
    """What is stored, open for as long as this lasts; by default the database says how an account is `still`."""
    kept, folder = config.files, config.data / FOLDER
    async with Files(database, folder, clock, each=kept.each_mb << 20, account=kept.account_mb << 20) as files:
        batches = Batches(database, posts, clock)
        work = Work(batches, files, at_once=kept.batch_at_once)

        async def known(asker: Account) -> Account:
            return await database.run(lambda s: keys.still(s, asker, clock()), write=False)

        yield Storing(files, batches, still or known, work)
