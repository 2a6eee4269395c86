"""What is kept of an answer, and how it is read again; no post's text is kept, and without the posts it stays shut.

In clear stand the question, what was asked beside it, and which posts, voice, engine and rules made the answer. All
that was derived from posts is sealed (`sealing.py`): what is known of a passage under its post's text, a sentence
under the texts of the posts that it cites, all else under the texts of all passages. When a text leaves the store,
by deletion, edit, a gone account or age, nobody can open what rested on it, and nothing has to be purged here.
"""

import hashlib
import types
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from importlib import resources
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import orjson

from voxpop.answering import Looked, Made
from voxpop.engines import EngineInfo
from voxpop.messages import AnswerEvent, Asker, Called, Citation, Passage, Prompt, Request, Text
from voxpop.posts import Post
from voxpop.sealing import seal, secret, unseal
from voxpop.voices import Voice

T = TypeVar("T")
_Part = tuple[str, tuple[int, ...], tuple[int, ...], Any]
How = Literal["deleted", "edited"]
_EVENTS = {cls.__name__: cls for cls in get_args(AnswerEvent)}
_OWN = ("chat", "json")
_LEFT_OUT = (
    "cli",
    "app",
    "demo",
    "doctor",
    "docs",
    "render",
    "live_table",
    "service",
    "health",
    "meters",
    "config",
)


@dataclass(frozen=True, slots=True)
class Seal:
    """Closed bytes, and the posts (by their place among the answer's) under whose texts they lie.

    In clear stand what it is (the event's name, of a text its kind) and the numbers that it cites.
    """

    kind: str
    rests: tuple[int, ...]
    numbers: tuple[int, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class Recipe:
    """What stands in clear: enough to find the posts and to say what is not any more as it was.

    `at` (microseconds of UTC) is when it was asked; `voice` and `rules` are digests, `posts` ids.
    """

    request: Request
    at: int
    voice: str
    engine: EngineInfo
    rules: str
    version: str
    salt: str
    posts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """A kept answer, shut. The seals are: each passage in order, then what was looked at, then the events."""

    id: str
    recipe: Recipe
    seals: tuple[Seal, ...]

    def opened(self, posts: Iterable[Post]) -> "Opened":
        """What can be opened with the posts that are still there."""
        salt, held = bytes.fromhex(self.recipe.salt), {p.id: p for p in posts}
        known = [held.get(id_) for id_ in self.recipe.posts]
        secrets = [secret(salt, post) if post else None for post in known]
        count = len(known)
        raw = [_open(salt, place, each, secrets) for place, each in enumerate(self.seals)]
        passages = tuple(
            _with_text(load(Passage, data), post) if data is not None and post else None
            for data, post in zip(raw[:count], known, strict=True)
        )
        events = tuple(
            Event(each.kind, tuple(self.recipe.posts[n] for n in each.rests), each.numbers, _event(data, passages))
            for each, data in zip(self.seals[count + 1 :], raw[count + 1 :], strict=True)
        )
        missing = tuple[tuple[str, How], ...](
            (id_, "edited" if post else "deleted")
            for id_, post, passage in zip(self.recipe.posts, known, passages, strict=True)
            if passage is None
        )
        beside = raw[count]
        if beside is None or missing:
            return Opened(passages, missing, events)
        events = tuple(map(_with_why, events, beside["whys"]))
        looked = replace(load(Looked, beside["looked"]), passages=tuple(p for p in passages if p))
        return Opened(passages, missing, events, looked, beside["prompt"])


@dataclass(frozen=True, slots=True)
class Event:
    """An event of a kept answer, None where a post that it rests on (`rests`, ids) is gone.

    `kind` is its name, or of a text its kind; `numbers` are its citations.
    """

    kind: str
    rests: tuple[str, ...]
    numbers: tuple[int, ...]
    event: AnswerEvent | None


@dataclass(frozen=True, slots=True)
class Opened:
    """A kept answer as far as its posts are there; a passage without its post is None.

    `missing` names each of those posts and whether it was `deleted` or `edited` (its text is another one now).
    """

    passages: tuple[Passage | None, ...]
    missing: tuple[tuple[str, How], ...]
    events: tuple[Event, ...]
    looked: Looked | None = None
    prompt: str = ""


def kept(id_: str, made: Made, salt: bytes, rules: str, version: str) -> Kept:
    """A whole answer, shut under its posts."""
    places = {p.post.id: n for n, p in enumerate(made.looked.passages)}
    posts = [p.post for p in made.looked.passages]
    secrets = [secret(salt, post) for post in posts]
    everything = tuple(range(len(posts)))
    cited = {e.passage.number: places[e.passage.post.id] for e in made.events if isinstance(e, Citation)}
    parts: list[_Part] = [("", (n,), (), _without_text(p)) for n, p in enumerate(made.looked.passages)]
    # Why a sentence stands in another's place is told in words of that other, which any passage may have given.
    whys = [event.why if isinstance(event, Text) else "" for event in made.events]
    looked = replace(made.looked, passages=())
    parts.append(("", everything, (), {"looked": looked, "prompt": digest(_nobodys(made.prompt)), "whys": whys}))
    parts += [_part(event, places, cited, everything) for event in made.events]
    seals = (
        Seal(kind, rests, numbers, seal(salt, place, (secrets[n] for n in rests), zlib.compress(dump(plain), 1)))
        for place, (kind, rests, numbers, plain) in enumerate(parts)
    )
    asked = tuple(m for m in made.request.messages if m.role == "user")
    recipe = Recipe(
        request=replace(made.request, messages=asked, voice=made.voice.name, asker=Asker()),
        at=made.now,
        voice=digest(made.voice),
        engine=replace(made.engine, state="", context=0),
        rules=rules,
        version=version,
        salt=salt.hex(),
        posts=tuple(p.id for p in posts),
    )
    return Kept(id_, recipe, tuple(seals))


def _nobodys(prompt: Prompt | None) -> Prompt | None:
    """Who asks changes no answer."""
    return replace(prompt, asker=Asker()) if prompt else None


def _part(
    event: AnswerEvent, places: Mapping[str, int], cited: Mapping[int, int], everything: tuple[int, ...]
) -> "_Part":
    """An event, and under which posts' texts it is to be closed."""
    kind, said = type(event).__name__, {"event": type(event).__name__, "said": event}
    if isinstance(event, Citation):
        said["said"] = Citation(_without_text(event.passage))
        return kind, (places[event.passage.post.id],), (event.passage.number,), said
    if isinstance(event, Text):
        said["said"], kind = replace(event, why=""), event.kind
        if event.citations:
            return kind, tuple(sorted({cited[n] for n in event.citations})), event.citations, said
    return kind, everything, (), said


def may_be_kept(made: Made) -> bool:
    """Not what a model made of a conversation: its earlier turns may hold sentences that nobody could withdraw.

    Nor what a function of the client's found, which we do not keep, nor what was decided by it.
    """
    own = any(isinstance(e, Called) or (isinstance(e, Text) and e.kind in _OWN) for e in made.events)
    return not ((own or made.request.tools.functions) and any(m.role != "user" for m in made.request.messages))


def told(events: Iterable[AnswerEvent]) -> list[str]:
    """Each event as a line of JSON, without the time that it took and what the engine had computed before."""
    return [dump({type(e).__name__: _timeless(orjson.loads(dump(e)))}).decode() for e in events]


def _timeless(said: dict[str, Any]) -> dict[str, Any]:
    said = {name: value for name, value in said.items() if name not in ("timings", "took_ms", "id")}
    if "usage" in said:
        said["usage"] = {k: v for k, v in said["usage"].items() if k not in ("cached_tokens", "seconds")}
    return said


def digest(value: Prompt | Voice | Any) -> str:
    """SHA-256 of a value, empty for None."""
    return hashlib.sha256(dump(value)).hexdigest() if value is not None else ""


@cache
def code() -> str:
    """SHA-256 of the code and the word lists that an answer is made with."""
    sum_, root = hashlib.sha256(), resources.files("voxpop")
    for folder in (root, root / "engines"):
        for file in sorted(folder.iterdir(), key=lambda f: f.name):
            if file.name.endswith((".py", ".toml")) and not file.name.startswith(_LEFT_OUT):
                sum_.update(file.name.encode() + b"\0" + file.read_bytes())
    return sum_.hexdigest()


# -- values and bytes -------------------------------------------------------------------------------------------


def dump(value: Any) -> bytes:
    """A value of ours as JSON; the same value gives the same bytes. A schema's properties keep their order."""
    return orjson.dumps(value, default=_plain, option=orjson.OPT_NON_STR_KEYS)


def _plain(value: Any) -> Any:
    if isinstance(value, frozenset | set):
        return sorted(value)
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return value._asdict()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(type(value).__name__)


def load(kind: type[T], value: Any) -> T:
    """What `dump` wrote. What a field of today lacks is its default; what it does not know is left out."""
    loaded: T = _loaded(kind, value)
    return loaded


def _loaded(kind: Any, value: Any) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return None if value is None else _loaded(next(a for a in inner if a is not type(None)), value)
    if origin is tuple:
        return tuple(_loaded(inner[0], v) for v in value)
    if is_dataclass(kind) or hasattr(kind, "_fields"):
        names = [f.name for f in fields(kind)] if is_dataclass(kind) else kind._fields
        return kind(**{n: _loaded(t, value[n]) for n, t in _hints(kind).items() if n in names and n in value})
    return value


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _open(salt: bytes, place: int, each: Seal, secrets: Sequence[bytes | None]) -> Any:
    under = [secrets[n] for n in each.rests]
    data = None if None in under else unseal(salt, place, (s for s in under if s), each.data)
    return None if data is None else orjson.loads(zlib.decompress(data))


def _without_text(passage: Passage) -> Passage:
    return replace(passage, post=replace(passage.post, text=""))


def _with_text(passage: Passage, post: Post) -> Passage:
    return replace(passage, post=replace(passage.post, text=post.text))


def _with_why(event: "Event", why: str) -> "Event":
    return replace(event, event=replace(event.event, why=why)) if isinstance(event.event, Text) else event


def _event(data: Any, passages: Sequence[Passage | None]) -> AnswerEvent | None:
    if data is None:
        return None
    event: AnswerEvent = load(_EVENTS[data["event"]], data["said"])
    if isinstance(event, Citation):
        text = next(p.post.text for p in passages if p and p.post.id == event.passage.post.id)
        return Citation(replace(event.passage, post=replace(event.passage.post, text=text)))
    return event
