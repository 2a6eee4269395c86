"""Who asks, what it may, what a request wants and what it spent; values and two boundaries, no I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Literal, Protocol

from voxpop.errors import UsageError
from voxpop.messages import Asker

Rank = Literal["admin", "member"]
ANY = frozenset({"*"})
TICKS = 10_000_000_000  # of one US dollar: a tick is 1e-10 USD, as xAI counts


class Denied(UsageError):
    """Nobody is known by this credential (`invalid_api_key`), or it may not do this (`forbidden`)."""


class Limited(UsageError):
    """A limit of the tier is reached; `headers` say which, and when it resets (`retry-after` in seconds)."""

    def __init__(self, what: str, cure: str, headers: Mapping[str, str], *, code: str = "rate_limited") -> None:
        super().__init__(what, cure, code=code)
        self.headers = dict(headers)


@dataclass(frozen=True, slots=True)
class Account:
    """Who asks. The `id` is empty for the one user of a machine without accounts.

    `key`: the id of the key by which it came, empty for a signed-in page. `models` and `endpoints` are what that
    key may be used for, `*` for all; `country` is ISO 3166-1's two letters, empty where unknown.
    """

    id: str = ""
    name: str = ""
    team: str = ""
    rank: Rank = "admin"
    tier: str = ""
    country: str = ""
    key: str = ""
    models: frozenset[str] = ANY
    endpoints: frozenset[str] = ANY

    def check(self, endpoint: str, model: str = "") -> None:
        """Raises Denied where its key is not for this endpoint or model."""
        if not self.endpoints & {"*", endpoint}:
            what = f"This key is not for the endpoint '{endpoint}'."
            raise Denied(what, f"Use a key whose scopes have endpoint:{endpoint}.", code="forbidden")
        if model and not self.models & {"*", model}:
            what = f"This key is not for the model '{model[:60]}'."
            raise Denied(what, f"Use one of: {', '.join(sorted(self.models))}.", code="forbidden")


@dataclass(frozen=True, slots=True)
class Credential:
    """By what somebody is known: the key of a program or the session of a page, both secret; never logged."""

    key: str = field(default="", repr=False)
    session: str = field(default="", repr=False)
    country: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request asks for. `bucket`: which allowance it is taken from; tokens are estimates, in tokens.

    `id` names the request; `as_of` is in microseconds of UTC, `answers` how many are asked for at once.
    """

    id: str
    endpoint: str
    model: str
    bucket: str = "chat"
    voice: str = ""
    tools: tuple[str, ...] = ()
    as_of: int | None = None
    prompt_tokens: int = 0
    max_tokens: int = 0
    answers: int = 1


@dataclass(frozen=True, slots=True)
class Spent:
    """What a request used: tokens as the engine counts them, searches, engine seconds, US dollars of sources."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    searches: int = 0
    answers: int = 0
    engine_s: float = 0.0
    source_usd: float = 0.0

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Spent)))


class Permit(Protocol):
    """A request that may be served, and what was set aside for it. It is settled or refunded, once."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What is left of each limit, as `x-ratelimit-…`."""
        ...

    @property
    def asker(self) -> Asker:
        """Whose turn it is at the engine."""
        ...

    async def settle(self, spent: Spent) -> int:
        """Write down what was used; what it cost, in ticks."""
        ...

    async def refund(self, why: str) -> None:
        """Give back all that was set aside: nothing was served."""
        ...


class Gate(Protocol):
    """Who asks, and whether it may."""

    async def account(self, credential: Credential) -> Account:
        """Who comes by this credential. Raises Denied."""
        ...

    async def permit(self, account: Account, wanted: Wanted) -> Permit:
        """Set aside what is wanted. Raises Limited where too little is left, Denied where the tier lacks it."""
        ...
