"""Find the handles that belong to DIDs, in the background; it never blocks a post and never believes a bare claim.

The public profile service answers for 25 accounts at once and checks each handle against its domain. Where it is
down, the DID documents are asked one by one: what they name is the account's own claim, so the domain must confirm
it before it counts. An account whose handle cannot be confirmed keeps an empty one; `handle.invalid` is the
network's own word for a handle that is no longer the account's.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import httpx
import orjson

from voxpop.posts import Author
from voxpop.sources.fields import bio, claimed
from voxpop.sources.jetstream import read_handle

BATCH = 25
NO_HANDLE = "handle.invalid"
MAX_ANSWER = 1 << 20
_WHOLE_S = 30.0
_MAX_NAME, _MAX_LABELS = 256, 64
_LABELS = {"parody": "parody", "impersonation": "parody", "bot": "automated"}
_LOCAL = (".local", ".localhost", ".internal", ".lan", ".home", ".corp", ".arpa", ".onion", ".invalid", ".alt")

Json = dict[str, Any]


class Directories(NamedTuple):
    """Where handles are looked up: base addresses, and the address at which a domain confirms its DID.

    `confirm` holds `{handle}`; `web` holds `{host}`, for DIDs that a domain answers for. `pause_s` is the rest
    between two askings, out of courtesy.
    """

    profiles: str = "https://public.api.bsky.app"
    plc: str = "https://plc.directory"
    confirm: str = "https://{handle}/.well-known/atproto-did"
    web: str = "https://{host}/.well-known/did.json"
    pause_s: float = 0.2

    @classmethod
    def at(cls, base: str) -> "Directories":
        """All of them at one address, as the simulator serves them."""
        base = base.rstrip("/")
        return cls(base, base, base + "/confirm/{handle}", base + "/web/{host}", pause_s=0.0)


PUBLIC = Directories()


class Handles:
    """A bounded memory of who is who, and a bounded queue of whom to look up; the oldest ask gives way."""

    def __init__(
        self,
        directories: Directories = PUBLIC,
        *,
        cache: int = 50_000,
        queue: int = 10_000,
        timeout_s: float = 10.0,
        pause_s: float | None = None,
        longest_pause_s: float = 60.0,
    ) -> None:
        self.dropped: Counter[str] = Counter()
        self._at, self._timeout_s = directories, timeout_s
        self._pause_s = directories.pause_s if pause_s is None else pause_s
        self._longest_pause_s = longest_pause_s
        self._cache_size, self._queue_size = cache, queue
        self._known: OrderedDict[str, Author] = OrderedDict()
        self._asked: OrderedDict[str, None] = OrderedDict()
        self._wake = asyncio.Event()

    def known(self, did: str) -> Author:
        """The author as far as known; one that is not is put on the list."""
        author = self._known.get(did)
        if author is None:
            self.ask(did)
            return Author(did)
        self._known.move_to_end(did)
        return author

    def ask(self, did: str) -> None:
        """Look this account up soon, or not at all if too many come after it."""
        if did in self._asked:
            return
        if len(self._asked) >= self._queue_size:
            self._asked.popitem(last=False)
            self.dropped["handle not asked: queue full"] += 1
        self._asked[did] = None
        self._wake.set()

    def forget(self, did: str) -> Author | None:
        """What was known of the account, which is then unknown again."""
        return self._known.pop(did, None)

    async def run(self, found: Callable[[Author], Awaitable[None]]) -> None:
        """Look up what is asked, batch by batch, until cancelled; `found` hears of every confirmed handle."""
        pause = self._pause_s
        agent = {"User-Agent": "voxpop"}
        async with httpx.AsyncClient(headers=agent, timeout=self._timeout_s, follow_redirects=False) as client:
            while True:
                await self._wake.wait()
                batch = [self._asked.popitem(last=False)[0] for _ in range(min(BATCH, len(self._asked)))]
                if not self._asked:
                    self._wake.clear()
                authors = await self._profiles(client, batch)
                healthy = authors is not None
                if authors is None:
                    self.dropped["handles: profile service failed"] += 1
                    authors = await self._documents(client, batch)
                for author in authors:
                    self._remember(author)
                    if author.handle:
                        await found(author)
                pause = self._pause_s if healthy else min(max(pause, 0.5) * 2, self._longest_pause_s)
                await asyncio.sleep(pause)

    def _remember(self, author: Author) -> None:
        self._known[author.id] = author
        self._known.move_to_end(author.id)
        while len(self._known) > self._cache_size:
            self._known.popitem(last=False)

    async def _profiles(self, client: httpx.AsyncClient, dids: list[str]) -> list[Author] | None:
        """Everyone asked for, with an empty handle where there is none; None where the service failed."""
        url = f"{self._at.profiles}/xrpc/app.bsky.actor.getProfiles"
        answer = await _get(client, str(httpx.URL(url, params={"actors": dids})))
        profiles = answer.get("profiles") if isinstance(answer, dict) else None
        if not isinstance(profiles, list):
            return None
        found = {did: Author(did) for did in dids}
        for profile in profiles:
            if isinstance(profile, dict) and profile.get("did") in found:
                found[profile["did"]] = _author(profile["did"], profile)
        return list(found.values())

    async def _documents(self, client: httpx.AsyncClient, dids: list[str]) -> list[Author]:
        gate = asyncio.Semaphore(5)

        async def one(did: str) -> Author:
            async with gate:
                return await self._document(client, did)

        authors = await asyncio.gather(*(one(did) for did in dids))
        return [author for author in authors if author.handle]

    async def _document(self, client: httpx.AsyncClient, did: str) -> Author:
        host = did.removeprefix("did:web:")
        if host == did:
            url = f"{self._at.plc}/{did}"
        elif read_handle(host) and not host.endswith(_LOCAL):
            url = self._at.web.format(host=host)
        else:
            return Author(did)
        handle = _claimed_handle(await _get(client, url))
        if handle and not handle.endswith(_LOCAL):
            confirmed = await _get(client, self._at.confirm.format(handle=handle))
            if isinstance(confirmed, bytes) and confirmed.strip() == did.encode():
                return Author(did, handle)
        return Author(did)


def _author(did: str, profile: Json) -> Author:
    """The account of a profile (app.bsky.actor.defs#profileViewDetailed)."""
    name = profile.get("displayName")
    return Author(
        did,
        read_handle(profile.get("handle")),
        name.strip()[:_MAX_NAME] if isinstance(name, str) else "",
        _mark(profile.get("verification")),
        _label(profile.get("labels")),
        claimed(profile.get("createdAt"), 0),
        bio(profile.get("description")),
    )


def _mark(verification: object) -> str:
    """Who may verify others is an organisation; whom one has verified is at least a person."""
    if not isinstance(verification, dict):
        return ""
    if verification.get("trustedVerifierStatus") == "valid":
        return "organisation"
    return "person" if verification.get("verifiedStatus") == "valid" else ""


def _label(labels: object) -> str:
    """The gravest of an account's labels, by itself or by the service's moderators, that we know."""
    given = labels[:_MAX_LABELS] if isinstance(labels, list) else []
    values = {
        x.get("val") for x in given if isinstance(x, dict) and isinstance(x.get("val"), str) and not x.get("neg")
    }
    return next((label for value, label in _LABELS.items() if value in values), "")


def _claimed_handle(document: Any) -> str:
    names = document.get("alsoKnownAs") if isinstance(document, dict) else None
    for name in names if isinstance(names, list) else ():
        if isinstance(name, str) and name.startswith("at://"):
            return read_handle(name[5:])
    return ""


async def _get(client: httpx.AsyncClient, url: str) -> Any:
    """The JSON at an address, its plain bytes if it is none, or None without a good answer of bearable size."""
    body = bytearray()
    try:
        async with asyncio.timeout(_WHOLE_S), client.stream("GET", url) as response:
            if response.status_code != httpx.codes.OK:
                return None
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MAX_ANSWER:
                    return None
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError):
        return None
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return bytes(body)
