"""Whose word counts for more: accounts by class, matched by id or proven handle, never by display name."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from voxpop.messages import AuthorClass
from voxpop.posts import Author


@dataclass(frozen=True, slots=True)
class Authorities:
    """The class of each listed account; keys are ids or handles, folded to lower case."""

    listed: Mapping[str, AuthorClass] = field(default_factory=dict)

    @classmethod
    def of(cls, authority: Iterable[str] = (), press: Iterable[str] = ()) -> "Authorities":
        """From two lists of ids and handles, with or without `@`; an account in both is an authority."""
        by_class: dict[str, AuthorClass] = {_key(name): "press" for name in press}
        by_class |= {_key(name): "authority" for name in authority}
        return cls({key: listed for key, listed in by_class.items() if key})

    def classify(self, author: Author) -> AuthorClass:
        """The class of an account."""
        return self.listed.get(author.id.lower()) or self.listed.get(author.handle.lower(), "unknown")

    @property
    def accounts(self) -> tuple[str, ...]:
        """Every listed id and handle."""
        return tuple(self.listed)


def _key(name: str) -> str:
    return name.strip().removeprefix("@").lower()
