"""What every dialect means alike: a model's name, a conversation's length, a search's bounds, an answer's text.

Values in, values out, or a FieldError; how a dialect writes a request is its own matter.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from voxpop.config import Server
from voxpop.errors import FieldError
from voxpop.messages import Bounds, Effort, Message, Text

NAME = "voxpop"
ALSO = Server().aliases
MOST_MESSAGES = 200
LONGEST = 100_000  # characters of a message
LONGEST_QUESTION = 4_000  # the page's own bound; what users said is read for what to search, the rest is not
LONGEST_QUESTIONS = 40_000
MOST_ANSWERS = 8  # at once
MOST_TOKENS = 4096
MOST_HANDLES, MOST_DOMAINS, MOST_POSTS = 20, 5, 50
EFFORTS: Mapping[str, Effort] = {
    "none": "none",
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
}
_SHOWN = 60

Kind = Literal["x", "web", "news", "rss"]
# Whatever network people post on is what `x` means here, and feeds are the news. The web is all that is heard: most
# programs know no other search, and where there is no feed it would find nothing.
_NETWORKS: dict[Kind, str] = {"x": "social", "web": "", "news": "feeds", "rss": "feeds"}


@dataclass(frozen=True, slots=True)
class Source:
    """One kind of source that a search may use, and what it admits of it; `domains` are host names."""

    kind: Kind
    handles: tuple[str, ...] = ()
    not_handles: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    not_domains: tuple[str, ...] = ()
    min_likes: int = 0
    min_views: int = 0


@dataclass(slots=True)
class Joined:
    """The text of an answer as it grows: a line for each sentence, what a model says freely as it comes."""

    text: str = ""
    _last: str = ""

    def add(self, said: Text, mark: Callable[[int], str]) -> list[tuple[int, int, int]]:
        """Append what is said and, but to JSON, its marks; each as (number, start, end), in characters."""
        if self.text and not said.kind == self._last in ("chat", "json"):
            self.text += "\n"
        self._last = said.kind
        self.text += said.text
        places = []
        for place, number in enumerate(() if said.kind == "json" else said.citations):
            self.text += "" if place else " "
            start = len(self.text)
            self.text += mark(number)
            places.append((number, start, len(self.text)))
        return places


def named(voices: Iterable[str]) -> list[str]:
    """The names of all models: `voxpop` speaks in the default voice, `voxpop-NAME` in that voice."""
    return [NAME, *(f"{NAME}-{voice}" for voice in voices)]


def resolve(model: str, voices: Iterable[str], aliases: Iterable[str] = ALSO) -> str:
    """Our own name of a model, or of an alias (a pattern). Raises FieldError for one that is not known."""
    known = named(voices)
    if model in known:
        return model
    if any(fnmatchcase(model, pattern) for pattern in aliases):
        return NAME
    cure = f"Choose one of: {', '.join(known)}."
    raise FieldError("model", f"No model '{model[:_SHOWN]}'.", cure, code="model_not_found")


def voice_of(model: str, default: str) -> str:
    """The voice that a model speaks in, by our own name of it."""
    return default if model == NAME else model.removeprefix(f"{NAME}-")


def conversation(messages: Sequence[Message], param: str = "messages") -> tuple[Message, ...]:
    """The messages, where a question may be asked with them. Raises FieldError."""
    if not 0 < len(messages) <= MOST_MESSAGES:
        what = f"'{param}' must be a list of 1 to {MOST_MESSAGES} messages."
        raise FieldError(param, what, "Send at least a user's.")
    if messages[-1].role not in ("user", "tool"):
        what = f"The last message is the {messages[-1].role}'s."
        raise FieldError(param, what, "End with a user's message.")
    for place, message in enumerate(messages):
        _readable(message, f"{param}[{place}].content")
    asked = [len(m.content) for m in messages if m.role == "user"]
    if not asked:
        raise FieldError(param, "No message is the user's.", "Send at least a user's.")
    if max(asked) > LONGEST_QUESTION or sum(asked) > LONGEST_QUESTIONS:
        what = f"A question is over {LONGEST_QUESTION} characters, or all are over {LONGEST_QUESTIONS} together."
        raise FieldError(param, what, "Ask a shorter one.", code="too_long")
    return tuple(messages)


def _readable(message: Message, where: str) -> None:
    text = message.content
    if len(text) > LONGEST or not (text.strip() or message.role in ("assistant", "tool")):
        what = f"A message's content must be text of 1 to {LONGEST} characters."
        raise FieldError(where, what, "Shorten or fill it.")
    if not text.isascii() and text.encode("utf-8", "replace").decode() != text:
        raise FieldError(where, "A message's content is not Unicode text.", "Leave out lone surrogates.")


def search(
    sources: Sequence[Source], since: int | None = None, until: int | None = None, limit: int | None = None
) -> Bounds:
    """The bounds of a search of these kinds of source, none: of all; times in microseconds. Raises FieldError.

    Bounds of one source hold for all: who asks for `x` of one handle beside `web` gets the posts of that handle.
    """
    if since is not None and until is not None and since > until:
        raise FieldError(
            "from_date", "'from_date' is later than 'to_date'.", "Put the earlier date in 'from_date'."
        )
    if limit is not None and not 1 <= limit <= MOST_POSTS:
        what = f"'max_search_results' cannot be {limit}."
        raise FieldError("max_search_results", what, f"Give a whole number from 1 to {MOST_POSTS}.")
    return Bounds(
        since=since,
        until=until,
        handles=_together("handles", [s.handles for s in sources], [s.not_handles for s in sources]),
        not_handles=_together("handles", [s.not_handles for s in sources]),
        networks=_networks({_NETWORKS[s.kind] for s in sources}),
        domains=_together("domains", [s.domains for s in sources], [s.not_domains for s in sources]),
        not_domains=_together("domains", [s.not_domains for s in sources]),
        min_likes=max((s.min_likes for s in sources), default=0),
        min_views=max((s.min_views for s in sources), default=0),
        limit=limit or Bounds().limit,
    )


def _networks(names: set[str]) -> tuple[str, ...]:
    return () if "" in names else tuple(sorted(names))


def _together(what: str, given: list[tuple[str, ...]], beside: Sequence[tuple[str, ...]] = ()) -> tuple[str, ...]:
    """What several sources admit or keep out, each once, and not both."""
    once = tuple(dict.fromkeys(one for some in given for one in some))
    if once and any(beside):
        said = f"Allowed and excluded {what} are given together."
        raise FieldError(f"allowed_{what}", said, "Give one of the two lists.")
    most = MOST_HANDLES if what == "handles" else MOST_DOMAINS
    if len(once) > most:
        raise FieldError(f"allowed_{what}", f"There are {len(once)} {what}.", f"Give at most {most}.")
    if any(not one.strip() or len(one) > 253 for one in once):
        raise FieldError(f"allowed_{what}", f"One of the {what} is empty or too long.", "Leave it out.")
    return once
