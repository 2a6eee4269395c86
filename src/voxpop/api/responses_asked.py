"""Read a Responses body into what is asked; a field that would change the answer's meaning is refused.

Fields that clients send and that change nothing here are passed over: docs/responses.md lists them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from voxpop import dialects
from voxpop.api import functions
from voxpop.api.asked import Known, model_of
from voxpop.api.fields import flag, number, refuse, told
from voxpop.api.responses_input import Item, items_of, together
from voxpop.api.search_parameters import domains, moment, search_of, texts
from voxpop.conversations import Past
from voxpop.dialects import Source
from voxpop.errors import UsageError
from voxpop.messages import Bounds, Effort, Function, Look, Message, Request, Sampling, Tools

Shown = Literal["", "x_search", "web_search"]
_USUAL_TOKENS = 320
_MOST_TOOLS, _MOST_INCLUDED, _MOST_METADATA = 128, 50, 16
_NO_MARKS = "no_inline_citations"
_LOGPROBS = "message.output_text.logprobs"
_WEB = ("web_search", "web_search_preview", "web_search_2025_08_26", "web_search_preview_2025_03_11")
# (field, whether a value is harmless, what to do instead). An absent or null field is always harmless.
_UNSUPPORTED: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("background", lambda v: v is False, "Wait for the answer, or stream it."),
    ("conversation", lambda v: False, "Go on with 'previous_response_id'."),
    ("prompt", lambda v: False, "Send the prompt itself as 'instructions' and 'input'."),
    ("top_k", lambda v: False, "Use 'top_p'."),
    ("min_p", lambda v: v == 0, "Use 'top_p'."),
    ("n", lambda v: v == 1 and not isinstance(v, bool), "Ask once for each answer that you want."),
    ("truncation", lambda v: v in ("auto", "disabled"), "Leave it out."),
)
_ECHOED = (
    *("instructions", "metadata", "max_tool_calls", "prompt_cache_key", "reasoning", "safety_identifier"),
    *("text", "tool_choice", "tools", "top_logprobs", "user", "max_turns"),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A parsed body: the request without its messages, the items that they are to be read from, and how to render.

    `model` is our name of it, `named` the one that was asked for. `shown`: as what a search is shown among the
    output, empty for not at all. `marks`: `[[n]](address)` in the text, else `[n]`. `beside`: the client's own
    fields that a response repeats.
    """

    request: Request
    items: Sequence[Item]
    instructions: str
    model: str
    named: str
    previous: str
    store: bool
    stream: bool
    shown: Shown
    marks: bool
    beside: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The tools of a body."""

    tools: Tools
    bounds: Bounds
    look: Look
    shown: Shown


def parse(body: Any, known: Known) -> Asked:
    """What a body asks. Raises UsageError with OpenAI's error code."""
    if not isinstance(body, dict):
        raise UsageError("The body is not a JSON object.", "Send what OpenAI's and xAI's Responses take.")
    for field, harmless, cure in _UNSUPPORTED:
        if body.get(field) is not None and not harmless(body[field]):
            refuse(field, f"'{field}' cannot be {told(body[field])} here.", cure, code="unsupported")
    model, voice = model_of(body, known)
    included, wanted, sampling = _included(body), _wanted(body), _sampling(body)
    request = Request(
        messages=(),
        voice=voice,
        as_of=moment(body.get("as_of"), "as_of"),
        bounds=wanted.bounds,
        sampling=replace(sampling, logprobs=_logprobs(body, included)),
        look=wanted.look,
        tools=wanted.tools,
        schema=_schema(body),
        effort=_effort(body),
    )
    _metadata(body)
    beside = {name: body[name] for name in _ECHOED if body.get(name) is not None}
    beside |= {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_output_tokens": body.get("max_output_tokens"),
        "parallel_tool_calls": wanted.tools.parallel,
        "shown": wanted.shown,
        "marks": _NO_MARKS not in included,
    }
    return Asked(
        request=request,
        items=items_of(body.get("input")) if body.get("input") is not None else [],
        instructions=text(body, "instructions"),
        model=model,
        named=text(body, "model") or model,
        previous=text(body, "previous_response_id"),
        store=body.get("store") is None or flag(body, "store"),
        stream=flag(body, "stream"),
        shown=wanted.shown,
        marks=_NO_MARKS not in included,
        beside=beside,
    )


def text(body: Mapping[str, Any], name: str) -> str:
    """A text; absent or null is empty. Raises FieldError."""
    value = body.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > dialects.LONGEST:
        refuse(name, f"'{name}' cannot be {told(value)}.", f"Give a text of at most {dialects.LONGEST} characters.")
    if value.encode("utf-8", "replace").decode() != value:
        refuse(name, f"'{name}' is not Unicode text.", "Leave out lone surrogates.")
    return value


def conversation(asked: Asked, past: Past, sent: Sequence[Message]) -> tuple[Message, ...]:
    """All messages of the request: the instructions, what came before, and what was sent. Raises FieldError."""
    first = (Message("system", asked.instructions),) if asked.instructions.strip() else ()
    return dialects.conversation((*first, *together((*past.messages, *sent))), "input")


# -- the parts of a body -----------------------------------------------------------------------------------------


def _sampling(body: Mapping[str, Any]) -> Sampling:
    most = number(body, "max_output_tokens", _USUAL_TOKENS, 1, 2**63 - 1)
    number(body, "max_turns", 1, 1, 2**31)  # one search answers; however many turns are allowed, it is within them
    return Sampling(
        max_tokens=min(int(most), dialects.MOST_TOKENS),
        temperature=number(body, "temperature", 0.0, 0.0, 2.0),
        top_p=number(body, "top_p", 1.0, 0.0, 1.0),
        seed=number(body, "seed", 0, -(2**63), 2**63 - 1),
    )


def _included(body: Mapping[str, Any]) -> list[str]:
    raw = body.get("include")
    if raw is None:
        return []
    if not isinstance(raw, list) or len(raw) > _MOST_INCLUDED or not all(isinstance(one, str) for one in raw):
        refuse("include", f"'include' cannot be {told(raw)}.", f"Give at most {_MOST_INCLUDED} names.")
    return raw


def _logprobs(body: Mapping[str, Any], included: Sequence[str]) -> int | None:
    most = number(body, "top_logprobs", 0, 0, 20)
    return most if flag(body, "logprobs") or _LOGPROBS in included or most else None


def _effort(body: Mapping[str, Any]) -> Effort:
    raw = body.get("reasoning")
    if raw is None:
        return "none"
    effort = raw.get("effort") if isinstance(raw, dict) else raw
    if effort is None:
        return "none"
    if not isinstance(effort, str) or effort not in dialects.EFFORTS:
        cure = f"Give one of: {', '.join(dialects.EFFORTS)}."
        refuse("reasoning.effort", f"The effort cannot be {told(effort)}.", cure)
    return dialects.EFFORTS[effort]


def _schema(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    raw = body.get("text")
    if raw is not None and not isinstance(raw, dict):
        refuse("text", f"'text' cannot be {told(raw)}.", "Give an object with a format.")
    return functions.schema_of((raw or {}).get("format"), "text.format")


def _metadata(body: Mapping[str, Any]) -> None:
    raw = body.get("metadata") or {}
    fits = isinstance(raw, dict) and len(raw) <= _MOST_METADATA
    if not fits or not all(isinstance(v, str) and len(k) <= 64 and len(v) <= 512 for k, v in raw.items()):
        cure = f"Give at most {_MOST_METADATA} names of at most 64 characters, with texts of at most 512."
        refuse("metadata", f"'metadata' cannot be {told(raw)}.", cure)


def _wanted(body: Mapping[str, Any]) -> _Wanted:
    """The client's functions, and the bounds of the search that its search tools mean together."""
    raw = body.get("tools") or []
    if not isinstance(raw, list) or len(raw) > _MOST_TOOLS:
        refuse("tools", f"'tools' must be a list of at most {_MOST_TOOLS} tools.", "Leave some out.")
    own: list[Function] = []
    sources: list[Source] = []
    times: list[tuple[int | None, int | None]] = []
    for n, one in enumerate(raw):
        where = f"tools[{n}]"
        kind = one.get("type") if isinstance(one, dict) else None
        if kind == "function":
            own.append(functions.function(one, where))
        elif kind == "x_search":
            times.append((moment(one.get("from_date"), where), moment(one.get("to_date"), where, end=True)))
            sources.append(_x_search(one, where))
        elif kind in _WEB:
            sources.append(_web_search(one, where))
        else:
            cure = "Give functions of your own, x_search or web_search."
            refuse(where, f"A tool of the type {told(kind)} is not served here.", cure, code="unsupported")
    parallel = body.get("parallel_tool_calls")
    parallel = parallel is None or flag(body, "parallel_tool_calls")
    choice, look = _choice(body.get("tool_choice"), own, sources)
    tools = functions.together(tuple(own), choice, parallel)
    if not sources:
        searched = search_of(body.get("search_parameters"))
        return _Wanted(tools, searched.bounds, look if look != "auto" else searched.look, "")
    if body.get("search_parameters") is not None:
        what = "'search_parameters' and a search tool are given together."
        refuse("search_parameters", what, "Put the bounds on the tool.")
    bounds = dialects.search(
        sources,
        max((since for since, _ in times if since is not None), default=None),
        min((until for _, until in times if until is not None), default=None),
    )
    shown: Shown = "x_search" if any(s.kind == "x" for s in sources) else "web_search"
    return _Wanted(tools, bounds, look, shown)


def _x_search(raw: Mapping[str, Any], where: str) -> Source:
    allowed, excluded = (texts(raw, f"{name}_x_handles", where) for name in ("allowed", "excluded"))
    return Source("x", handles=allowed, not_handles=excluded)


def _web_search(raw: Mapping[str, Any], where: str) -> Source:
    """Its domains stand beside it, as xAI's clients write them, or under `filters`, as OpenAI's do."""
    filters = raw.get("filters")
    if filters is not None and not isinstance(filters, dict):
        refuse(f"{where}.filters", f"'filters' cannot be {told(filters)}.", "Give an object.")
    said = {**raw, **(filters or {})}
    return Source(
        "web",
        domains=domains(said, "allowed_domains", where),
        not_domains=domains(said, "excluded_domains", where) + domains(said, "blocked_domains", where),
    )


def _choice(raw: Any, own: Sequence[Function], sources: Sequence[Source]) -> tuple[Any, Look]:
    """The choice among the client's functions, and whether posts are searched."""
    kind = raw.get("type") if isinstance(raw, dict) else raw
    if kind == "none":
        return "none", "off" if sources else "auto"
    if kind == "required" and sources:
        return ("auto" if own else None), "on"
    if kind in ("x_search", *_WEB):
        if not sources:
            refuse("tool_choice", f"'tools' has no {kind}.", "Name one of 'tools', or leave it out.")
        return "none" if own else None, "on"
    return raw, "auto"
