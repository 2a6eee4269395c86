"""Read a chat completions body into what is asked; a field that would change the answer's meaning is refused.

Fields that OpenAI's clients send and that change nothing here are ignored: docs/api.md lists them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from voxpop import dialects
from voxpop.api.fields import flag, number, refuse, told
from voxpop.errors import UsageError
from voxpop.messages import Message, Request, Role, Sampling
from voxpop.times import iso, micros
from voxpop.voices import Voice

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}

# (field, whether a value is harmless, what to do instead). An absent or null field is always harmless.
_ONE_ANSWER = "Ask once for each answer that you want."
_UNSUPPORTED: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("n", lambda v: v == 1 and not isinstance(v, bool), _ONE_ANSWER),
    ("tool_choice", lambda v: v in ("auto", "none"), "Leave it out: no tool is ever called."),
    ("function_call", lambda v: v in ("auto", "none"), "Leave it out: no function is ever called."),
    ("response_format", lambda v: v == {"type": "text"}, "Leave it out: an answer is text with citations."),
    ("stop", lambda v: v in ([], ""), "Cut the answer at your end."),
    ("logprobs", lambda v: v is False, "Leave it out: a quotation has no probability."),
    ("top_logprobs", lambda v: v == 0, "Leave it out: a quotation has no probability."),
    ("modalities", lambda v: v == ["text"], "Ask for text."),
    ("audio", lambda v: False, "Ask for text."),
    ("deferred", lambda v: v is False, "Ask, and wait or stream."),
    ("search_parameters", lambda v: v == {}, "Leave it out: every question is searched for; use 'as_of'."),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A parsed body: the request, and how to render its answer."""

    request: Request
    model: str
    stream: bool
    include_usage: bool


def parse(body: Any, voices: Mapping[str, Voice], default_voice: str) -> Asked:
    """A request from a chat completions body. Raises UsageError with OpenAI's error code."""
    if not isinstance(body, dict):
        raise UsageError("The body is not a JSON object.", "Send what OpenAI's chat completions take.")
    for field, harmless, cure in _UNSUPPORTED:
        if body.get(field) is not None and not harmless(body[field]):
            refuse(field, f"'{field}' cannot be {told(body[field])} here.", cure, code="unsupported")
    model = _model(body.get("model"), voices)
    request = Request(
        messages=_messages(body.get("messages")),
        voice=_own_voice(body.get("voice"), voices) or dialects.voice_of(model, default_voice),
        as_of=_as_of(body.get("as_of")),
        sampling=Sampling(
            max_tokens=_tokens(body),
            temperature=number(body, "temperature", 0.0, 0.0, 2.0),
            seed=number(body, "seed", 0, -(2**63), 2**63 - 1),
        ),
    )
    options = body.get("stream_options")
    if options is not None and not isinstance(options, dict):
        refuse("stream_options", f"'stream_options' cannot be {told(options)}.", "Give an object.")
    usage = flag(options or {}, "include_usage")
    return Asked(request, model, flag(body, "stream"), usage)


def _model(name: Any, voices: Mapping[str, Voice]) -> str:
    if name is not None and not isinstance(name, str):
        cure = f"Choose one of: {', '.join(dialects.named(voices))}."
        refuse("model", f"No model {told(name)}.", cure, code="model_not_found")
    return dialects.resolve(dialects.NAME if name is None else name, voices)


def _own_voice(name: Any, voices: Mapping[str, Voice]) -> str:
    if name in (None, ""):
        return ""
    if not isinstance(name, str) or name not in voices:
        cure = f"Choose one of: {', '.join(voices)}."
        refuse("voice", f"No voice {told(name)}.", cure, code="unknown_voice")
    return name


def _messages(raw: Any) -> tuple[Message, ...]:
    if not isinstance(raw, list) or len(raw) > dialects.MOST_MESSAGES:
        what = f"'messages' must be a list of 1 to {dialects.MOST_MESSAGES} messages."
        refuse("messages", what, "Send at least a user's.")
    return dialects.conversation([_message(m, f"messages[{i}]") for i, m in enumerate(raw)])


def _message(raw: Any, where: str) -> Message:
    said = raw.get("role") if isinstance(raw, dict) else None
    role = _ROLES.get(said) if isinstance(said, str) else None
    if role is None:
        roles = "system, developer, user or assistant"
        refuse(where, f"The message cannot be read: its role is {told(said)}.", f"Give a role: {roles}.")
    content = raw.get("content")
    if isinstance(content, list):
        content = "\n".join(_part(p, where) for p in content)
    if not isinstance(content, str):
        what = f"A message's content must be text of 1 to {dialects.LONGEST} characters."
        refuse(f"{where}.content", what, "Shorten or fill it.")
    return Message(cast("Role", role), content)


def _part(raw: Any, where: str) -> str:
    text = raw.get("text") if isinstance(raw, dict) and raw.get("type") == "text" else None
    if not isinstance(text, str):
        what = "Only parts of type 'text' are read."
        refuse(f"{where}.content", what, "Leave out pictures and files.", code="unsupported")
    return text


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
