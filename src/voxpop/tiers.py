"""What each tier gives: limits by bucket, models, voices, tools, depth, weight, prices, and who is let in yet.

Values alone: it counts nothing and knows no clock. `tier_file.py` reads them, `quotas/` holds people to them.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

from voxpop.accounts import TICKS, Account, Denied, Spent, Wanted
from voxpop.errors import UsageError
from voxpop.times import MICROS, iso

Measure = Literal["requests", "tokens", "concurrent"]
Per = Literal["", "second", "minute", "day", "month"]
LOCAL = "local"  # the tier of the one user of a machine without accounts
OTHER = "other"  # the bucket of whatever a tier does not name
_DAY = 86_400 * MICROS
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Limit:
    """So many requests or tokens `per` second, minute, day or month; or answers at once (`concurrent`)."""

    measure: Measure
    per: Per
    most: int

    @property
    def name(self) -> str:
        """As the file names it, such as `tokens_per_month`."""
        return f"{self.measure}_per_{self.per}" if self.per else self.measure

    @property
    def is_short(self) -> bool:
        """Whether it is counted in memory (or Redis) and not in the ledger."""
        return self.per in ("second", "minute")


@dataclass(frozen=True, slots=True)
class Resets:
    """When days and months begin: at `hour`:`minute` in a `zone`; None in its place: they slide."""

    hour: int = 0
    minute: int = 0
    zone: str = "UTC"

    def __str__(self) -> str:
        return f"{self.hour:02d}:{self.minute:02d} {self.zone}"


@dataclass(frozen=True, slots=True)
class Rollout:
    """Who is let into a tier already.

    `accounts` (ids or names) always; else from `starts` on (microseconds of UTC) those of the `countries` (none:
    of all) whose number falls into the `share` (0 to 1). Who is not is served by the tier `meanwhile`, or waits.
    """

    countries: frozenset[str] = frozenset()
    share: float = 1.0
    accounts: frozenset[str] = frozenset()
    starts: int | None = None
    meanwhile: str = ""

    @property
    def is_partial(self) -> bool:
        """Whether there is anybody whom it may keep out."""
        return bool(self.countries) or self.share < 1 or self.starts is not None

    def keeps_out(self, tier: str, account: Account, now: int) -> str:
        """Why this account is not in yet, for the person; empty where it is in."""
        if self.accounts & {account.id, account.name}:
            return ""
        if self.starts is not None and now < self.starts:
            return f"it opens at {iso(self.starts)}"
        if self.countries and account.country.upper() not in self.countries:
            return f"it is open in {', '.join(sorted(self.countries))} so far"
        if share_of(tier, account.id) >= self.share:
            return f"it is open to {self.share:.0%} of accounts so far"
        return ""


def share_of(tier: str, account: str) -> float:
    """Where an account stands between 0 and 1: the same for ever, so that a share that grows puts nobody out."""
    digest = hashlib.sha256(f"{tier}\0{account}".encode()).digest()
    return int.from_bytes(digest[:7]) / 2**56


@dataclass(frozen=True, slots=True)
class Price:
    """In ticks: of a million tokens, a thousand searches, one answer. Cached tokens are part of the prompt's."""

    prompt: int = 0
    cached: int = 0
    completion: int = 0
    searches: int = 0
    answer: int = 0

    def each(self) -> "Price":
        """Of one token and one search, as xAI's API tells it: US cents for 100 million are ticks for one."""
        return Price(
            prompt=round(self.prompt / _MILLION),
            cached=round(self.cached / _MILLION),
            completion=round(self.completion / _MILLION),
            searches=round(self.searches / 1000),
            answer=self.answer,
        )

    def ticks(self, spent: Spent) -> int:
        """What it costs, rounded once, half up; sources are charged as they were paid."""
        cached = min(spent.cached_tokens, spent.prompt_tokens)
        millionths = (
            (spent.prompt_tokens - cached) * self.prompt
            + cached * self.cached
            + spent.completion_tokens * self.completion
            + spent.searches * self.searches * 1000
        )
        whole = (2 * millionths + _MILLION) // (2 * _MILLION)
        return whole + spent.answers * self.answer + round(spent.source_usd * TICKS)


@dataclass(frozen=True, slots=True)
class Tier:
    """What an account of it may. Names are patterns (`*`, `voxpop-*`); `as_of_days` None: as far back as posts go.

    `buckets` are allowances of their own: what is taken from one leaves the others whole.
    """

    name: str
    title: str
    weight: float = 1.0
    models: tuple[str, ...] = ("*",)
    voices: tuple[str, ...] = ("*",)
    tools: tuple[str, ...] = ("*",)
    as_of_days: float | None = None
    resets: Resets | None = field(default_factory=Resets)
    buckets: Mapping[str, tuple[Limit, ...]] = field(default_factory=dict)
    rollout: Rollout = field(default_factory=Rollout)

    def bucket(self, name: str) -> tuple[Limit, ...] | None:
        """The limits of a bucket; None where the tier has nothing of its kind."""
        return self.buckets.get(name, self.buckets.get(OTHER))

    def lacks(self, wanted: Wanted, now: int) -> str:
        """The first thing wanted that is not in it, for the person; empty where it has all."""
        if self.bucket(wanted.bucket) is None:
            return wanted.bucket
        if wanted.model and not _among(wanted.model, self.models):
            return f"the model '{wanted.model[:60]}'"
        if wanted.voice and not _among(wanted.voice, self.voices):
            return f"the voice '{wanted.voice[:60]}'"
        for tool in wanted.tools:
            if not _among(tool, self.tools):
                return f"the tool '{tool[:60]}'"
        depth = None if self.as_of_days is None else self.as_of_days * _DAY
        if wanted.as_of is not None and depth is not None and now - wanted.as_of > depth:
            return f"answers as of {iso(wanted.as_of)} (it goes back {self.as_of_days:g} days)"
        return ""


@dataclass(frozen=True, slots=True)
class Tiers:
    """All tiers and prices in force. `default` is the tier of an account that names none."""

    tiers: Mapping[str, Tier]
    default: str
    prices: Mapping[str, Price] = field(default_factory=dict)

    @property
    def given(self) -> tuple[str, ...]:
        """The names of those that an account can be given."""
        return tuple(name for name in self.tiers if name != LOCAL)

    def named(self, account: Account) -> Tier:
        """The tier that an account is meant to have. Raises Denied where there is none of that name."""
        name = account.tier or (self.default if account.id else LOCAL)
        if name not in self.tiers:
            what = f"The tier '{name[:60]}' of this account does not exist."
            raise Denied(what, f"Let an admin give it one of: {', '.join(self.given)}.", code="forbidden")
        return self.tiers[name]

    def refuse_unknown(self, name: str | None) -> None:
        """Raises UsageError for a name that nobody can be given: none of ours, or `local`; empty is good."""
        if name == LOCAL:
            what = f"The tier '{LOCAL}' is for a machine without accounts: it has no limit."
            cure = f"Choose one of: {', '.join(self.given)}. Or name a tier of your own without limits."
            raise UsageError(what, cure, code="unknown_tier")
        if name and name not in self.tiers:
            cure = f"Choose one of: {', '.join(self.given)}."
            raise UsageError(f"There is no tier '{name[:60]}'.", cure, code="unknown_tier")

    def price(self, model: str) -> Price:
        """Of a model: under its own name, else under the first pattern that it meets; free where none does."""
        if model in self.prices:
            return self.prices[model]
        return next((p for pattern, p in self.prices.items() if fnmatchcase(model, pattern)), Price())

    def check(self, tier: Tier, wanted: Wanted, now: int) -> None:
        """Raises Denied (`forbidden`), naming a tier that has it, where this one lacks what is wanted."""
        if lacking := tier.lacks(wanted, now):
            having = [t.name for t in map(self.tiers.__getitem__, self.given) if not t.lacks(wanted, now)]
            cure = f"It is in: {', '.join(having)}." if having else "No tier of this server has it."
            raise Denied(f"The tier {tier.name} does not have {lacking}.", cure, code="forbidden")


def _among(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, p) for p in patterns)
