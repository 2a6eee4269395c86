"""What we ask and answer: the request, the prompt and the one stream of answer events; values only, no I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, NamedTuple

from voxpop.posts import Post

Role = Literal["system", "user", "assistant", "tool"]
Look = Literal["auto", "on", "off"]
Effort = Literal["none", "low", "medium", "high"]
AuthorClass = Literal["authority", "press", "organisation", "person", "unknown"]
Tone = Literal["", "satire", "parody", "question"]
Outcome = Literal["shown", "attributed", "repaired"]
Result = Literal["", "declared", "not declared"]
Standing = Literal["stated", "attributed", "superseded"]


@dataclass(frozen=True, slots=True)
class Call:
    """A function that the client is asked to run; `arguments` is a whole JSON object as text."""

    id: str
    name: str
    arguments: str = "{}"


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    An assistant's may hold `calls`; a tool's is the result of the call that it `answers` (its id).
    """

    role: Role
    content: str
    calls: tuple[Call, ...] = ()
    answers: str = ""


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the client's that a model may call; `parameters` is a JSON Schema of its arguments."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tools:
    """The client's functions. `choice`: `auto`, `none`, `required`, or the name of the one to call."""

    functions: tuple[Function, ...] = ()
    choice: str = "auto"
    parallel: bool = True


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a search may return; times in microseconds of UTC, on witnessed time.

    `networks`, `handles` and `domains` (of the address of a post) admit only those where they are given;
    `not_handles` and `not_domains` keep out. `limit` is in posts.
    """

    since: int | None = None
    until: int | None = None
    handles: tuple[str, ...] = ()
    not_handles: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    not_domains: tuple[str, ...] = ()
    lang: str = ""
    min_likes: int = 0
    min_views: int = 0
    limit: int = 12


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a model chooses its tokens; `quote` chooses none.

    `stop` ends the text before any of its strings; `logprobs` asks for each token's probability and for so many of
    the likeliest in its place; the penalties are OpenAI's (-2 to 2).
    """

    max_tokens: int = 320
    temperature: float = 0.0
    seed: int = 0
    top_p: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    stop: tuple[str, ...] = ()
    logprobs: int | None = None


@dataclass(frozen=True, slots=True)
class Asker:
    """Whose turn it is at an engine and what it may see again: the account's id, empty without accounts.

    Of two that wait, one of twice the `weight` is served twice as often.
    """

    owner: str = ""
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Request:
    """A question in its conversation: what every dialect parses into.

    `as_of` (microseconds of UTC) answers as if it were then: nothing witnessed later exists; None means now.
    `look`: whether posts are searched (`auto`: where the question is about the world). `schema` (JSON Schema)
    asks for JSON of that shape in the place of sentences.
    """

    messages: tuple[Message, ...]
    voice: str = "regular"
    as_of: int | None = None
    bounds: Bounds = field(default_factory=Bounds)
    sampling: Sampling = field(default_factory=Sampling)
    look: Look = "auto"
    tools: Tools = field(default_factory=Tools)
    schema: Mapping[str, Any] | None = None
    effort: Effort = "none"
    asker: Asker = field(default_factory=Asker)

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
    sampling: Sampling = field(default_factory=Sampling)
    now: int = 0
    asker: Asker = field(default_factory=Asker)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one generation, as the engine counts them; `cached_tokens` of the prompt were not recomputed.

    `seconds` is the time that the engine computed for it, without its waiting. Usages can be added up.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    seconds: float = 0.0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True, slots=True)
class Token:
    """A chosen token with its natural log probability, and the likeliest in its place with theirs."""

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of an engine's text; the last one carries the usage. `cut`: it ends for want of more tokens."""

    text: str = ""
    usage: Usage | None = None
    tokens: tuple[Token, ...] = ()
    cut: bool = False


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


TextKind = Literal["sentence", "notice", "chat", "quip", "json"]


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
    memory or the conversation; `quip` carries the voice; `json` is of the schema that was asked for. Of a sentence,
    `outcome` says how it may be shown (in no one's name, in its author's, or with the source's words in the place
    of an engine's), `why` the reason for a reader, and `support` how far its posts carry it (a probability).
    `tokens` only where probabilities were asked for and a model wrote it.
    """

    text: str
    citations: tuple[int, ...] = ()
    kind: TextKind = "sentence"
    outcome: Outcome = "shown"
    why: str = ""
    support: float | None = None
    tokens: tuple[Token, ...] = ()


@dataclass(frozen=True, slots=True)
class Called:
    """The client is asked to run a function and to come again with its result."""

    call: Call


@dataclass(frozen=True, slots=True)
class Withheld:
    """A sentence that was not shown, and why."""

    text: str
    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The question is not answered: the rule of the policy that says so, by its name, and what it covers.

    The rule `schema` is the line's own: JSON was asked for, and the posts do not carry it.
    """

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

    reason: Literal["stop", "length", "cancelled", "tool_calls"]
    answerable: bool
    engine: str
    voice: str
    usage: Usage
    freshness: Freshness
    timings: Timings
    receipt: Receipt = field(default_factory=Receipt)
    id: str = ""


AnswerEvent = Searching | Found | Citation | Text | Called | Withheld | Refused | Done
