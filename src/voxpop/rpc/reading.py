"""Read xAI's protobuf into what is asked; what would change the answer's meaning and is not served is refused."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from xai_sdk.proto import chat_pb2

from voxpop import dialects
from voxpop.dialects import Source
from voxpop.errors import FieldError
from voxpop.messages import Effort, Look, Message, Request, Sampling
from voxpop.rpc.functions import functions, shape
from voxpop.rpc.running import Running
from voxpop.rpc.talk import Opened, messages
from voxpop.sources.feeds_places import place

X, WEB = "x_search", "web_search"
_MOST_STOPS, _LONGEST_STOP = 4, 100
_MOST_TOP = 8
_IDLE = (X, WEB, "function", "code_execution")  # code is never run: a tool that is offered need not be used
_LOOKS: dict[int, Look] = {0: "auto", 1: "off", 2: "on", 3: "auto"}
_EFFORTS: dict[int, Effort] = {1: "low", 2: "medium", 3: "high", 4: "none", 5: "high"}


@dataclass(frozen=True, slots=True)
class Asked:
    """A parsed call: the request, and how to render its answers.

    `model` is our name of the one that was `named`. `searches`: the search tools of xAI that were offered; `apart`
    tells each search in outputs of its own, and `found` what it found. `inline` writes each citation as
    `[[n]](url)`; `cites` lists the addresses of the cited posts; `fresh` is what this call says.
    """

    request: Request
    model: str
    named: str
    answers: int = 1
    searches: tuple[str, ...] = ()
    inline: bool = False
    apart: bool = True
    found: frozenset[str] = frozenset()
    cites: bool = True
    fresh: tuple[Message, ...] = ()


def parse(proto: Any, running: Running, opened: Opened, past: Sequence[Message] = ()) -> Asked:
    """What a GetCompletionsRequest asks that goes on from `past`. Raises FieldError.

    `opened(text)` gives the messages of a compaction.
    """
    _unserved(proto)
    named = proto.model or dialects.NAME
    model = dialects.resolve(named, running.voices, running.aliases)
    said = messages(proto.messages, opened, past)
    sources, since, until, limit, look = _sources(proto)
    offered = tuple(dict.fromkeys(k for t in proto.tools if (k := t.WhichOneof("tool")) in (X, WEB)))
    if said.attached and look == "auto" and not sources:
        look = "off"  # the question is about what came with it
    options = chat_pb2.IncludeOption
    request = Request(
        messages=said.messages,
        voice=dialects.voice_of(model, running.default_voice),
        bounds=dialects.search(sources, since, until, limit),
        sampling=sampling(proto),
        look=look,
        tools=functions(proto),
        schema=shape(proto),
        effort=_effort(proto),
    )
    return Asked(
        request,
        model,
        named,
        answers=answers(proto),
        searches=offered,
        inline=options.INCLUDE_OPTION_INLINE_CITATIONS in proto.include,
        found=frozenset(
            name
            for name, option in (
                (X, options.INCLUDE_OPTION_X_SEARCH_CALL_OUTPUT),
                (WEB, options.INCLUDE_OPTION_WEB_SEARCH_CALL_OUTPUT),
            )
            if option in proto.include
        ),
        cites=proto.search_parameters.return_citations or not proto.HasField("search_parameters"),
        fresh=said.fresh,
    )


def answers(proto: Any) -> int:
    """How many answers are asked for."""
    return int(whole(proto, "n", 1, 1, dialects.MOST_ANSWERS))


def sampling(proto: Any) -> Sampling:
    """How a model is to choose its tokens; GetCompletionsRequest and SampleTextRequest have the same fields."""
    stop = tuple(proto.stop)
    if len(stop) > _MOST_STOPS or any(not s or len(s) > _LONGEST_STOP for s in stop):
        what = f"'stop' cannot be these {len(stop)} texts."
        raise FieldError("stop", what, f"Give at most {_MOST_STOPS}, each of 1 to {_LONGEST_STOP} characters.")
    top = whole(proto, "top_logprobs", 0, 0, _MOST_TOP)
    if top and not proto.logprobs:
        raise FieldError("top_logprobs", "'top_logprobs' is given without 'logprobs'.", "Set 'logprobs' as well.")
    return Sampling(
        max_tokens=min(whole(proto, "max_tokens", 320, 1, 2**31 - 1), dialects.MOST_TOKENS),
        temperature=number(proto, "temperature", 0.0, 0.0, 2.0),
        seed=whole(proto, "seed", 0, -(2**31), 2**31 - 1),
        top_p=number(proto, "top_p", 1.0, 0.0, 1.0),
        frequency_penalty=number(proto, "frequency_penalty", 0.0, -2.0, 2.0),
        presence_penalty=number(proto, "presence_penalty", 0.0, -2.0, 2.0),
        stop=stop,
        logprobs=top if proto.logprobs else None,
    )


def whole(proto: Any, name: str, default: int, low: int, high: int) -> int:
    """An optional whole number of a message."""
    value = getattr(proto, name) if proto.HasField(name) else default
    if not low <= value <= high:
        raise FieldError(name, f"'{name}' cannot be {value}.", f"Give a whole number from {low} to {high}.")
    return int(value)


def number(proto: Any, name: str, default: float, low: float, high: float) -> float:
    """An optional number of a message; it travels in 32 bits, so it is rounded as it was meant."""
    value = round(getattr(proto, name), 6) if proto.HasField(name) else default
    if not low <= value <= high:
        raise FieldError(name, f"'{name}' cannot be {value}.", f"Give a number from {low:g} to {high:g}.")
    return float(value)


def _sources(proto: Any) -> tuple[list[Source], int | None, int | None, int, Look]:
    """What may be searched, from when, until when, for how many posts, and whether at all."""
    given = proto.search_parameters
    if given.mode not in _LOOKS:
        raise FieldError("search_parameters.mode", f"No search mode {given.mode}.", "Give off, on or auto.")
    look = _LOOKS[given.mode]
    limit = whole(given, "max_search_results", 12, 1, dialects.MOST_POSTS)
    sources = [_live(s) for s in given.sources]
    sinces, untils = [_at(given, "from_date")], [_at(given, "to_date")]
    for tool in proto.tools:
        kind = tool.WhichOneof("tool")
        if kind == X:
            search = tool.x_search
            x = Source("x", _handles(search.allowed_x_handles), _handles(search.excluded_x_handles))
            sources.append(x)
            sinces.append(_at(search, "from_date"))
            untils.append(_at(search, "to_date"))
        elif kind == WEB:
            search = tool.web_search
            web = Source("web", domains=tuple(search.allowed_domains), not_domains=tuple(search.excluded_domains))
            sources.append(web)
    since = max((t for t in sinces if t is not None), default=None)
    until = min((t for t in untils if t is not None), default=None)
    return sources, since, until, limit, look


def _live(source: Any) -> Source:
    """A source of the old live search."""
    kind = source.WhichOneof("source")
    if kind == "x":
        x = source.x
        if x.post_view_count > 0:
            what = "'post_view_count' cannot be asked for: no network's views are kept."
            raise FieldError("post_view_count", what, "Use 'post_favorite_count'.", code="unsupported")
        likes = max(x.post_favorite_count, 0)
        return Source("x", _handles(x.included_x_handles), _handles(x.excluded_x_handles), min_likes=likes)
    if kind == "web":
        allowed, excluded = source.web.allowed_websites, source.web.excluded_websites
        return Source("web", domains=tuple(allowed), not_domains=tuple(excluded))
    if kind == "news":
        return Source("news", not_domains=tuple(source.news.excluded_websites))
    if kind == "rss":
        return Source("rss", handles=tuple(f"rss:{place(link).name}" for link in source.rss.links))
    raise FieldError("search_parameters.sources", "A source has no kind.", "Give web, news, x or rss.")


def _handles(handles: Iterable[str]) -> tuple[str, ...]:
    return tuple(h.removeprefix("@") for h in handles)


def _at(proto: Any, name: str) -> int | None:
    """A time in microseconds, None where it is not given. Raises FieldError for one that no calendar has."""
    if not proto.HasField(name):
        return None
    try:
        getattr(proto, name).ToDatetime()
        return int(getattr(proto, name).ToMicroseconds())
    except (ValueError, OverflowError) as error:
        raise FieldError(name, f"'{name}' is no time.", "Give one of the years 1 to 9999.") from error


def _effort(proto: Any) -> Effort:
    if not proto.HasField("reasoning_effort"):
        return "none"
    if proto.reasoning_effort not in _EFFORTS:
        what = f"No reasoning effort {proto.reasoning_effort}."
        raise FieldError("reasoning_effort", what, "Give none, low, medium, high or xhigh.")
    return _EFFORTS[proto.reasoning_effort]


def _unserved(proto: Any) -> None:
    """Refuse what an answer would be wrong without."""
    if proto.guidelines:
        what = "'guidelines' cannot be given with a request."
        cure = "Leave them out: the operator's policy says what is refused."
        raise FieldError("guidelines", what, cure, code="unsupported")
    kinds: Sequence[str | None] = [t.WhichOneof("tool") for t in proto.tools]
    for kind in kinds:
        if kind not in _IDLE:
            what = f"The tool '{kind or 'without a kind'}' is not served here."
            raise FieldError(
                "tools", what, "Use x_search, web_search and functions of your own.", code="unsupported"
            )
