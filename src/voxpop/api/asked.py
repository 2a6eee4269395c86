"""Read a chat completions body into what is asked; a field that would change the answer's meaning is refused.

Fields that OpenAI's and xAI's clients send and that change nothing here are ignored: docs/api.md lists them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from voxpop import dialects
from voxpop.api.fields import flag, number, refuse, told
from voxpop.api.functions import schema_of, tools_of
from voxpop.api.search_parameters import search_of
from voxpop.api.turns import messages_of
from voxpop.errors import UsageError
from voxpop.messages import Effort, Request, Sampling
from voxpop.times import iso, micros
from voxpop.voices import Voice

_MOST_STOPS, _LONGEST_STOP, _MOST_LOGPROBS = 4, 200, 20

# (field, whether a value is harmless, what to do instead). An absent or null field is always harmless.
_UNSUPPORTED: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("function_call", lambda v: v in ("auto", "none"), "Use 'tools' and 'tool_choice'."),
    ("modalities", lambda v: v == ["text"], "Ask for text."),
    ("audio", lambda v: False, "Ask for text."),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A parsed body: the request, and how to render its answer.

    `model` is our name of it, `named` the one that was asked for; `answers` how many are wanted; `cited`: whether
    the addresses of what is cited are listed; `deferred`: whether it is fetched later.
    """

    request: Request
    model: str
    named: str
    stream: bool = False
    include_usage: bool = False
    answers: int = 1
    cited: bool = True
    deferred: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """Who answers here: the voices, the default one, and patterns of foreign names that mean it."""

    voices: Mapping[str, Voice]
    default: str
    aliases: Sequence[str] = dialects.ALSO


def parse(body: Any, known: Known) -> Asked:
    """A request from a chat completions body. Raises UsageError with OpenAI's error code."""
    if not isinstance(body, dict):
        raise UsageError("The body is not a JSON object.", "Send what OpenAI's chat completions take.")
    for field, harmless, cure in _UNSUPPORTED:
        if body.get(field) is not None and not harmless(body[field]):
            refuse(field, f"'{field}' cannot be {told(body[field])} here.", cure, code="unsupported")
    model, voice = model_of(body, known)
    search = search_of(body.get("search_parameters"))
    request = Request(
        messages=messages_of(body.get("messages")),
        voice=voice,
        as_of=_as_of(body.get("as_of")),
        bounds=search.bounds,
        sampling=sampling_of(body),
        look=search.look,
        tools=tools_of(body),
        schema=schema_of(body.get("response_format")),
        effort=_effort(body.get("reasoning_effort")),
    )
    stream, deferred = flag(body, "stream"), flag(body, "deferred")
    if stream and deferred:
        refuse("deferred", "What is deferred cannot be streamed.", "Leave out 'stream' or 'deferred'.")
    answers = number(body, "n", 1, 1, dialects.MOST_ANSWERS)
    usage, named = includes_usage(body), body.get("model") or model
    return Asked(request, model, named, stream, usage, answers, search.cited, deferred)


def model_of(body: Mapping[str, Any], known: Known) -> tuple[str, str]:
    """Our name of the model, and the voice that it or `voice` means. Raises FieldError."""
    name = body.get("model")
    if name is not None and not isinstance(name, str):
        cure = f"Choose one of: {', '.join(dialects.named(known.voices))}."
        refuse("model", f"No model {told(name)}.", cure, code="model_not_found")
    model = dialects.resolve(dialects.NAME if name is None else name, known.voices, known.aliases)
    own = body.get("voice")
    if own in (None, ""):
        return model, dialects.voice_of(model, known.default)
    if not isinstance(own, str) or own not in known.voices:
        cure = f"Choose one of: {', '.join(known.voices)}."
        refuse("voice", f"No voice {told(own)}.", cure, code="unknown_voice")
    return model, own


def sampling_of(body: Mapping[str, Any]) -> Sampling:
    """How a model is to choose its tokens. Raises FieldError."""
    return Sampling(
        max_tokens=_tokens(body),
        temperature=number(body, "temperature", 0.0, 0.0, 2.0),
        seed=number(body, "seed", 0, -(2**63), 2**63 - 1),
        top_p=number(body, "top_p", 1.0, 0.0, 1.0),
        frequency_penalty=number(body, "frequency_penalty", 0.0, -2.0, 2.0),
        presence_penalty=number(body, "presence_penalty", 0.0, -2.0, 2.0),
        stop=_stop(body.get("stop")),
        logprobs=_logprobs(body),
    )


def includes_usage(body: Mapping[str, Any]) -> bool:
    """Whether a stream is to end with what was used. Raises FieldError."""
    options = body.get("stream_options")
    if options is not None and not isinstance(options, dict):
        refuse("stream_options", f"'stream_options' cannot be {told(options)}.", "Give an object.")
    return flag(options or {}, "include_usage")


def _stop(raw: Any) -> tuple[str, ...]:
    if raw in (None, "", []):
        return ()
    given = [raw] if isinstance(raw, str) else raw
    strings = isinstance(given, list) and all(isinstance(s, str) and 0 < len(s) <= _LONGEST_STOP for s in given)
    if not strings or len(given) > _MOST_STOPS:
        cure = f"Give at most {_MOST_STOPS} texts of 1 to {_LONGEST_STOP} characters."
        refuse("stop", f"'stop' cannot be {told(raw)}.", cure)
    return tuple(given)


def _logprobs(body: Mapping[str, Any]) -> int | None:
    top = number(body, "top_logprobs", 0, 0, _MOST_LOGPROBS)
    if flag(body, "logprobs"):
        return int(top)
    if top:
        refuse("top_logprobs", "'top_logprobs' is given without 'logprobs'.", "Set 'logprobs' to true.")
    return None


def _effort(raw: Any) -> Effort:
    if raw is None:
        return "none"
    if not isinstance(raw, str) or raw not in dialects.EFFORTS:
        cure = f"Choose one of: {', '.join(dialects.EFFORTS)}."
        refuse("reasoning_effort", f"'reasoning_effort' cannot be {told(raw)}.", cure)
    return dialects.EFFORTS[raw]


def _as_of(raw: Any) -> int | None:
    if raw in (None, ""):
        return None
    try:
        at = micros(raw)
        iso(at)
    except (TypeError, ValueError, OverflowError, OSError):
        refuse("as_of", f"'as_of' cannot be {told(raw)}.", "Give an ISO 8601 time such as 2026-11-03T22:40:00Z.")
    return at


def _tokens(body: Mapping[str, Any]) -> int:
    """The smaller of what is asked and what is served: a bound may be kept well within."""
    name = "max_tokens" if body.get("max_completion_tokens") is None else "max_completion_tokens"
    return min(int(number(body, name, 320, 1, 2**63 - 1)), dialects.MOST_TOKENS)
