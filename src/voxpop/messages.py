"""What we ask and answer: the request, the prompt and the one stream of answer events; values only, no I/O."""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from voxpop.posts import Post

Role = Literal["system", "user", "assistant"]
AuthorClass = Literal["authority", "press", "organisation", "person", "unknown"]
Tone = Literal["", "satire", "parody", "question"]
Outcome = Literal["shown", "attributed", "repaired"]
Result = Literal["", "declared", "not declared"]
Standing = Literal["stated", "attributed", "superseded"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a search may return; times in microseconds of UTC, on witnessed time."""

    since: int | None = None
    until: int | None = None
    handles: tuple[str, ...] = ()
    lang: str = ""
    min_likes: int = 0
    limit: int = 12


@dataclass(frozen=True, slots=True)
class Request:
    """A question in its conversation: what every dialect parses into.

    `as_of` (microseconds of UTC) answers as if it were then: nothing witnessed later exists; None means now.
    """

    messages: tuple[Message, ...]
    voice: str = "regular"
    as_of: int | None = None
    bounds: Bounds = field(default_factory=Bounds)
    max_tokens: int = 320
    temperature: float = 0.0
    seed: int = 0

    @property
    def question(self) -> str:
        """The last thing that the user said."""
        return next((m.content for m in reversed(self.messages) if m.role == "user"), "")


@dataclass(frozen=True, slots=True)
class Passage:
    """A post as evidence, under the number by which the prompt and the citations name it.

    `duplicates` counts the posts of near-equal text (itself included), `independent_authors` their accounts.
    `author_class` comes from the configured lists and the network's own marks, never from a display name. `tone`:
    the account or the post says itself that it is satire or parody, or it only asks. `why`: why it was chosen.
    `calls`: the kinds of result that an authority may declare here, `*` for any.
    """

    number: int
    post: Post
    score: float = 0.0
    duplicates: int = 1
    independent_authors: int = 1
    author_class: AuthorClass = "unknown"
    calls: tuple[str, ...] = ("*",)
    tone: Tone = ""
    why: tuple[str, ...] = ()

    @property
    def listed(self) -> bool:
        """Whether its author is a listed authority or press account, whose word may be taken."""
        return self.author_class in ("authority", "press") and not self.jests

    @property
    def jests(self) -> bool:
        """Whether its account or the post says itself that it is satire or parody: it supports no fact."""
        return self.tone in ("satire", "parody")


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence of a passage, word for word, with its standing.

    `stated`: a listed authority or press account says it. `attributed`: somebody says it. `superseded`: a later
    post of the same author or of a listed authority replaces it (`by` is that passage's number).
    """

    number: int
    text: str
    standing: Standing
    score: float = 0.0
    by: int | None = None


@dataclass(frozen=True, slots=True)
class Prompt:
    """All that an engine sees. `grammar` is GBNF; an engine that cannot apply it ignores it."""

    messages: tuple[Message, ...]
    passages: tuple[Passage, ...] = ()
    claims: tuple[Claim, ...] = ()
    lang: str = "en"
    grammar: str | None = None
    max_tokens: int = 320
    temperature: float = 0.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    now: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one generation, as the engine counts them; `cached_tokens` of the prompt were not recomputed."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of an engine's text; the last one carries the usage."""

    text: str = ""
    usage: Usage | None = None


class Gap(NamedTuple):
    """No post can be had of a source between two moments (microseconds of UTC), and why."""

    source: str
    since: int
    until: int
    why: str


@dataclass(frozen=True, slots=True)
class Freshness:
    """How new the evidence is: witnessed times of the newest and oldest cited post (microseconds of UTC).

    `behind_s`: how far a source that catches up lies behind its stream. `gaps`: what the search could not look at.
    """

    newest: int | None = None
    oldest: int | None = None
    stream_lag_s: float | None = None
    simulated: bool = False
    behind_s: float | None = None
    gaps: tuple[Gap, ...] = ()


TextKind = Literal["sentence", "notice", "chat", "quip"]


@dataclass(frozen=True, slots=True)
class Searching:
    """The search has begun with this query."""

    query: str


@dataclass(frozen=True, slots=True)
class Found:
    """The search has ended: how many posts matched, and the newest of them (microseconds of UTC)."""

    posts: int
    newest: int | None
    took_ms: float


@dataclass(frozen=True, slots=True)
class Citation:
    """A passage that the next text cites; sent once, before its first use."""

    passage: Passage


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of the answer that passed its checks.

    `sentence` states facts and carries citations; `notice` is our own label; `chat` comes from a model's
    memory or the conversation; `quip` carries the voice. Of a sentence, `outcome` says how it may be shown (in
    no one's name, in its author's, or with the source's words in the place of an engine's), `why` the reason for a
    reader, and `support` how far its posts carry it (a probability).
    """

    text: str
    citations: tuple[int, ...] = ()
    kind: TextKind = "sentence"
    outcome: Outcome = "shown"
    why: str = ""
    support: float | None = None


@dataclass(frozen=True, slots=True)
class Withheld:
    """A sentence that was not shown, and why."""

    text: str
    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The question is not answered: the rule of the policy that says so, by its name, and what it covers."""

    rule: str
    title: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """What an answer rests on: the searches, how many posts and independent authors, which sources were down.

    `result`: where the question asks for one, whether a listed authority has declared it.
    """

    searched: tuple[str, ...] = ()
    posts: int = 0
    independent_authors: int = 0
    sources_down: tuple[str, ...] = ()
    result: Result = ""


@dataclass(frozen=True, slots=True)
class Timings:
    """Milliseconds since the request came in."""

    search_ms: float = 0.0
    first_sentence_ms: float | None = None
    total_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Done:
    """The answer is complete. `answerable` says whether the posts (or the model, when asked) had an answer.

    By `id` a kept answer is opened and made again; empty where answers are not kept.
    """

    reason: Literal["stop", "length", "cancelled"]
    answerable: bool
    engine: str
    voice: str
    usage: Usage
    freshness: Freshness
    timings: Timings
    receipt: Receipt = field(default_factory=Receipt)
    id: str = ""


AnswerEvent = Searching | Found | Citation | Text | Withheld | Refused | Done
