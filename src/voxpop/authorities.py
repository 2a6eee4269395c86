"""Whose word counts for more: accounts by class, matched by id or proven handle, never by display name.

Who is an authority stands in the operator's lists and nowhere else: no network's mark and no account's own words
make one. A handle is proven where its network lets nobody else have it; it is compared whole, so that nothing that
only looks alike is taken for it.
"""

import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from typing import get_args

from voxpop.errors import UsageError
from voxpop.messages import AuthorClass
from voxpop.posts import Author
from voxpop.text import fold, words
from voxpop.tones import of_account, unofficial

_RANK = {cls: rank for rank, cls in enumerate(reversed(get_args(AuthorClass)))}
_DOMAINS = ("did:", "bluesky:", "rss:")  # accounts whose handle is a domain that they hold
_MARKS: Mapping[str, AuthorClass] = {
    "government": "organisation",
    "organisation": "organisation",
    "person": "person",
}
_BOUNDS = ("kinds", "places", "years")
_CURE = 'Write it as "did:plc:… kinds=election,verdict places=Avalon years=2026"; each bound may be left out.'


@dataclass(frozen=True, slots=True)
class Listing:
    """How an account is listed, and which results it may call: an empty bound leaves all open.

    `places` are names of a place, folded words apart by spaces.
    """

    cls: AuthorClass
    kinds: frozenset[str] = frozenset()
    places: frozenset[str] = frozenset()
    years: frozenset[int] = frozenset()

    def fits(self, kind: str, place_words: Collection[str], year: int) -> bool:
        """Whether a result of this kind may be called; one bound to a place calls none whose place is not said."""
        return (
            (not self.kinds or kind in self.kinds)
            and (not self.years or year in self.years)
            and (not self.places or any(set(place.split()) <= set(place_words) for place in self.places))
        )


@dataclass(frozen=True, slots=True)
class Authorities:
    """The listings of each account, by id, `x:handle`, domain, `user@server`, or `*.domain` for all below one."""

    listings: Mapping[str, tuple[Listing, ...]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        authority: Iterable[str] = (),
        press: Iterable[str] = (),
        organisation: Iterable[str] = (),
        person: Iterable[str] = (),
    ) -> "Authorities":
        """From four lists of entries, with or without `@`; raises UsageError for a bound that cannot be read.

        An account in several is of the highest class. Only an authority can be bound to kinds, places and years.
        """
        found: dict[str, tuple[Listing, ...]] = {}
        lists: dict[AuthorClass, Iterable[str]] = {
            "authority": authority, "press": press, "organisation": organisation, "person": person,
        }  # fmt: skip
        for listed, entries in lists.items():
            for entry in entries:
                key, listing = _read(entry, listed)
                if key:
                    found[key] = (*found.get(key, ()), listing)
        return cls(found)

    def classify(self, author: Author) -> AuthorClass:
        """The class of an account: as listed, else by its network's mark, its feed, or a domain of its own.

        Its own words can only lower it: a parody is nobody whatever the lists say, and who is unofficial speaks for
        nobody unless listed.
        """
        if of_account(author) == "parody":
            return "unknown"
        classes: list[AuthorClass] = [listing.cls for listing in self._listed(author)]
        if author.id.startswith("rss:") and not any(key in self.listings for key in _keys(author)):
            classes.append("press")  # the operator chose the feed; a pattern alone does not lower it
        if not classes and not unofficial(author):
            classes = [_MARKS.get(author.mark) or ("person" if _own_domain(author) else "unknown")]
        return max(classes, key=_RANK.__getitem__, default="unknown")

    def may_call(self, author: Author, kind: str, place_words: Collection[str], year: int) -> bool:
        """Whether a result of `kind` counts as called by this account.

        `place_words` are the folded words of the sentence or post that calls it, `year` the year (UTC) in which the
        post was witnessed. Only an authority calls results, and a bound one only those that it is bound to; who
        calls himself satire or parody calls none.
        """
        if self.classify(author) != "authority" or of_account(author):
            return False
        listed = [listing for listing in self._listed(author) if listing.cls == "authority"]
        return any(listing.fits(kind, place_words, year) for listing in listed)

    @property
    def accounts(self) -> tuple[str, ...]:
        """The ids and handles of listed authorities and press; patterns name no account."""
        heard = {key for key, found in self.listings.items() if any(x.cls in ("authority", "press") for x in found)}
        return tuple(key for key in self.listings if key in heard and not key.startswith("*."))

    @property
    def callers(self) -> tuple[str, ...]:
        """Every id and handle that is listed as an authority."""
        return tuple(key for key in self.accounts if any(row.cls == "authority" for row in self.listings[key]))

    def _listed(self, author: Author) -> Iterator[Listing]:
        for key in (*_keys(author), *_above(author)):
            yield from self.listings.get(key, ())


def _keys(author: Author) -> tuple[str, ...]:
    """The names by which an account can be listed: its id, and its handle where its network proves it."""
    network, handle = author.id.partition(":")[0], _folded(author.handle)
    if domain := _domain(author):
        return author.id, domain
    if network == "x" and handle and not handle.isdigit():  # `x:12` is the account of that number
        return author.id, f"x:{handle}"
    if network in ("https", "http", "mastodon") and "@" in handle:
        return author.id, handle
    return (author.id,) if author.id else ()


def _above(author: Author) -> Iterator[str]:
    """The patterns that a proven domain falls under, label by label."""
    _, dot, rest = _domain(author).partition(".")
    while dot:
        yield f"*.{rest}"
        _, dot, rest = rest.partition(".")


def _domain(author: Author) -> str:
    """The domain that is this account's proven handle; empty where it has none."""
    handle = _folded(author.handle)
    proven = author.id.startswith(_DOMAINS) and not handle.endswith(".invalid")
    return handle if proven and "." in handle and "@" not in handle else ""


def _own_domain(author: Author) -> bool:
    """Whether a handle is a domain that is not given out by a hosting service."""
    return bool(_domain(author)) and not any(above in _hosting() for above in _above(author))


@lru_cache(maxsize=1)
def _hosting() -> frozenset[str]:
    return frozenset(defaults("hosting"))


def defaults(name: str) -> tuple[str, ...]:
    """A list of `authorities.toml`."""
    return tuple(tomllib.loads(resources.files("voxpop").joinpath("authorities.toml").read_text("utf-8"))[name])


def _read(entry: str, listed: AuthorClass) -> tuple[str, Listing]:
    name, *bounds = entry.split() or [""]
    if name.startswith(tuple(f"{bound}=" for bound in _BOUNDS)):
        raise UsageError(f"The entry {entry!r} of authorities.{listed} names no account.", _CURE)
    found: dict[str, frozenset[str]] = {}
    for bound in bounds:
        key, _, values = bound.partition("=")
        # Commas part entries where the list comes from the environment: there `+` parts values.
        parts = values.replace("+", ",").split(",")
        named = frozenset(" ".join(words(p)) if key == "places" else fold(p) for p in parts) - {""}
        if key not in _BOUNDS or not named or key in found or listed != "authority":
            raise UsageError(f"The entry {entry!r} of authorities.{listed} cannot be read at {bound!r}.", _CURE)
        found[key] = named
    if not all(year.isdecimal() for year in found.get("years", ())):
        raise UsageError(f"The entry {entry!r} of authorities.{listed} names a year that is none.", _CURE)
    nothing: frozenset[str] = frozenset()
    years = frozenset(int(year) for year in found.get("years", ()))
    return _key(name), Listing(listed, found.get("kinds", nothing), found.get("places", nothing), years)


def _key(name: str) -> str:
    """An entry as accounts are compared with it: ids as they are, handles folded, `.gov` as `*.gov`."""
    name = name.removeprefix("@")
    network, colon, rest = name.partition(":")
    if colon:
        return f"x:{_folded(rest.removeprefix('@'))}" if network in ("x", "X") else name
    return f"*{_folded(name)}" if name.startswith(".") else _folded(name)


def _folded(handle: str) -> str:
    """Letters of other scripts have lower forms among ours (U+212A is `k`): only ASCII is folded."""
    return handle.lower() if handle.isascii() else handle
