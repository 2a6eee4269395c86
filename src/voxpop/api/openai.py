"""OpenAI's chat completions: parse the body, render the answer whole or as chunks; no decision is made here.

Shapes follow OpenAI's API reference (chat/completions, models, error objects). Ours beside it: `citations` (URLs)
as xAI has them, `annotations` with character offsets of each `[n]`, and `voice`, `as_of` in the body.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from voxpop.errors import UsageError
from voxpop.messages import AnswerEvent, Citation, Done, Message, Passage, Request, Role, Text, Withheld
from voxpop.times import iso, micros
from voxpop.voices import Voice

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_MOST_MESSAGES = 200
_LONGEST = 100_000


@dataclass(frozen=True, slots=True)
class Asked:
    """A parsed body: the request, and how to render its answer."""

    request: Request
    model: str
    stream: bool
    include_usage: bool


def models(voices: Mapping[str, Voice], created: int) -> dict[str, Any]:
    """The list of models: `voxpop` speaks in the default voice, `voxpop-NAME` in that voice."""
    names = ["voxpop", *(f"voxpop-{name}" for name in voices)]
    rows = [{"id": n, "object": "model", "created": created, "owned_by": "voxpop"} for n in names]
    return {"object": "list", "data": rows}


def parse(body: Any, voices: Mapping[str, Voice], default_voice: str) -> Asked:
    """A request from a chat completions body. Raises UsageError with OpenAI's error code."""
    if not isinstance(body, dict):
        raise UsageError("The body is not a JSON object.", "Send what OpenAI's chat completions take.")
    model = body.get("model", "voxpop")
    voice = body.get("voice") or _voice(model, voices, default_voice)
    if voice not in voices:
        raise UsageError(f"No voice '{voice}'.", f"Choose one of: {', '.join(voices)}.", code="unknown_voice")
    request = Request(
        messages=_messages(body.get("messages")),
        voice=voice,
        as_of=_as_of(body.get("as_of")),
        max_tokens=_number(body, ("max_completion_tokens", "max_tokens"), 320, 1, 4096, int),
        temperature=_number(body, ("temperature",), 0.0, 0.0, 2.0, float),
        seed=_number(body, ("seed",), 0, -(2**63), 2**63, int),
    )
    options = body.get("stream_options") or {}
    return Asked(request, str(model), bool(body.get("stream")), bool(options.get("include_usage")))


def _voice(model: Any, voices: Mapping[str, Voice], default: str) -> str:
    if model == "voxpop":
        return default
    name = str(model).removeprefix("voxpop-")
    if name not in voices or name == model:
        known = ", ".join(["voxpop", *(f"voxpop-{v}" for v in voices)])
        raise UsageError(f"No model '{model}'.", f"Choose one of: {known}.", code="model_not_found")
    return name


def _messages(raw: Any) -> tuple[Message, ...]:
    if not isinstance(raw, list) or not raw or len(raw) > _MOST_MESSAGES:
        raise UsageError(f"'messages' must be a list of 1 to {_MOST_MESSAGES} messages.", "Send at least a user's.")
    messages = tuple(_message(m) for m in raw)
    if messages[-1].role != "user":
        raise UsageError(f"The last message is the {messages[-1].role}'s.", "End with a user's message.")
    return messages


def _message(raw: Any) -> Message:
    role = _ROLES.get(str(raw.get("role"))) if isinstance(raw, dict) else None
    if role is None:
        raise UsageError(f"Cannot read the message {str(raw)[:60]!r}.", "Give a role and a content.")
    content = raw.get("content")
    if isinstance(content, list):
        if not all(isinstance(p, dict) and p.get("type") == "text" for p in content):
            raise UsageError("Only parts of type 'text' are read for now.", "Leave out pictures and files.")
        content = "\n".join(str(p.get("text", "")) for p in content)
    if not isinstance(content, str) or not content.strip() or len(content) > _LONGEST:
        raise UsageError(f"A message's content must be text of 1 to {_LONGEST} characters.", "Shorten or fill it.")
    return Message(cast("Role", role), content)


def _as_of(raw: Any) -> int | None:
    if raw in (None, ""):
        return None
    try:
        return micros(raw)
    except (TypeError, ValueError) as error:
        cure = "Give an ISO 8601 time such as 2026-11-03T22:40:00Z."
        raise UsageError(f"'as_of' cannot be {raw!r}.", cure) from error


def _number(body: Mapping[str, Any], names: tuple[str, ...], default: Any, low: Any, high: Any, kind: type) -> Any:
    for name in names:
        value = body.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise UsageError(f"'{name}' cannot be {value!r}.", f"Give a number from {low} to {high}.")
        return kind(value)
    return default


@dataclass(slots=True)
class Transcript:
    """The answer's text as it grows, with what belongs beside it."""

    text: str = ""
    annotations: list[dict[str, Any]] = field(default_factory=list)
    cited: dict[int, Passage] = field(default_factory=dict)
    withheld: list[dict[str, str]] = field(default_factory=list)
    done: Done | None = None

    def add(self, event: AnswerEvent) -> tuple[str, list[dict[str, Any]]]:
        """Take an event in; returns the text that it adds, and that text's annotations."""
        if isinstance(event, Citation):
            self.cited[event.passage.number] = event.passage
        elif isinstance(event, Withheld):
            self.withheld.append({"text": event.text, "reason": event.reason})
        elif isinstance(event, Done):
            self.done = event
        elif isinstance(event, Text):
            return self._append(event)
        return "", []

    def _append(self, event: Text) -> tuple[str, list[dict[str, Any]]]:
        began = len(self.text)
        if event.kind != "chat" and self.text:
            self.text += "\n"
        self.text += event.text
        fresh: list[dict[str, Any]] = []
        for number in event.citations:
            self.text += "" if fresh else " "
            start = len(self.text)
            self.text += f"[{number}]"
            fresh.append(_annotation(self.cited[number], start, len(self.text)))
        self.annotations += fresh
        return self.text[began:], fresh

    @property
    def citations(self) -> list[str]:
        """URLs of the cited posts, in the order of their numbers."""
        return [_address(p) for _, p in sorted(self.cited.items())]


def _address(passage: Passage) -> str:
    return passage.post.url or passage.post.id


def _annotation(passage: Passage, start: int, end: int) -> dict[str, Any]:
    post = passage.post
    title = f"@{post.author.handle or post.author.name or 'unknown'}, {iso(post.witnessed_at)}"
    cited = {"url": _address(passage), "title": title, "start_index": start, "end_index": end}
    return {"type": "url_citation", "url_citation": cited}


def completion(id_: str, created: int, asked: Asked, transcript: Transcript) -> dict[str, Any]:
    """The whole answer as one `chat.completion` object."""
    message = {
        "role": "assistant",
        "content": transcript.text,
        "refusal": None,
        "annotations": transcript.annotations,
    }
    return {
        "id": id_,
        "object": "chat.completion",
        "created": created,
        "model": asked.model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": _usage(transcript),
        "citations": transcript.citations,
        "withheld": transcript.withheld,
        **_receipt(transcript),
    }


async def chunks(
    id_: str, created: int, asked: Asked, events: AsyncIterator[AnswerEvent]
) -> AsyncIterator[dict[str, Any]]:
    """The answer as `chat.completion.chunk` objects; the caller frames them and adds `[DONE]`."""
    transcript = Transcript()

    def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
        choices = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
        return {**_frame(id_, created, asked), "choices": choices, **more}

    yield chunk({"role": "assistant", "content": ""})
    async for event in events:
        text, annotations = transcript.add(event)
        if text:
            yield chunk({"content": text, **({"annotations": annotations} if annotations else {})})
    yield chunk({}, "stop", citations=transcript.citations, withheld=transcript.withheld, **_receipt(transcript))
    if asked.include_usage:
        yield {**_frame(id_, created, asked), "choices": [], "usage": _usage(transcript)}


def _frame(id_: str, created: int, asked: Asked) -> dict[str, Any]:
    return {"id": id_, "object": "chat.completion.chunk", "created": created, "model": asked.model}


def _usage(transcript: Transcript) -> dict[str, int]:
    if not transcript.done:
        return {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    used = transcript.done.usage
    total = used.prompt_tokens + used.completion_tokens
    return {"prompt_tokens": used.prompt_tokens, "completion_tokens": used.completion_tokens, "total_tokens": total}


def _receipt(transcript: Transcript) -> dict[str, Any]:
    """Ours: how fresh the evidence was, whether the stream was made up, and which engine wrote."""
    if not (done := transcript.done):
        return {}
    fresh = done.freshness
    return {
        "freshness": {
            "newest": None if fresh.newest is None else iso(fresh.newest),
            "oldest": None if fresh.oldest is None else iso(fresh.oldest),
            "stream_lag_s": fresh.stream_lag_s,
            "simulated": fresh.simulated,
        },
        "answerable": done.answerable,
        "engine": done.engine,
    }


def error(message: str, code: str, kind: str = "invalid_request_error") -> dict[str, Any]:
    """OpenAI's error object."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}
