"""OpenAI's chat completions: render the answer whole or as chunks, and errors; no decision is made here.

Shapes follow OpenAI's API reference (chat/completions, models, error objects). Ours beside it: `citations` (URLs)
as xAI has them, `annotations` with character offsets of each `[n]`, and an error's `cure`.
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from voxpop.api.asked import Asked
from voxpop.api.page import freshness, rests_on, rule_json
from voxpop.errors import UsageError, VoxpopError
from voxpop.inert import address
from voxpop.messages import AnswerEvent, Citation, Done, Passage, Refused, Text, Withheld
from voxpop.times import iso

_KINDS = {
    "invalid_api_key": "authentication_error",
    "forbidden": "permission_error",
    "rate_limited": "rate_limit_error",
}


def models(voices: Iterable[str], created: int, policy: Mapping[str, Any]) -> dict[str, Any]:
    """The list of models: `voxpop` speaks in the default voice, `voxpop-NAME` in that voice.

    Ours beside OpenAI's fields: the `policy` in force, by its digest and rules.
    """
    names = ["voxpop", *(f"voxpop-{name}" for name in voices)]
    shared = {"object": "model", "created": created, "owned_by": "voxpop", "policy": policy}
    rows = [{"id": n, **shared} for n in names]
    return {"object": "list", "data": rows}


@dataclass(slots=True)
class Transcript:
    """The answer's text as it grows, with what belongs beside it."""

    text: str = ""
    annotations: list[dict[str, Any]] = field(default_factory=list)
    cited: dict[int, Passage] = field(default_factory=dict)
    withheld: list[dict[str, str]] = field(default_factory=list)
    refused: Refused | None = None
    done: Done | None = None
    last: str = ""

    def add(self, event: AnswerEvent) -> tuple[str, list[dict[str, Any]]]:
        """Take an event in; returns the text that it adds, and that text's annotations."""
        if isinstance(event, Citation):
            self.cited[event.passage.number] = event.passage
        elif isinstance(event, Withheld):
            self.withheld.append({"text": event.text, "reason": event.reason})
        elif isinstance(event, Refused):
            self.refused = event
        elif isinstance(event, Done):
            self.done = event
        elif isinstance(event, Text):
            return self._append(event)
        return "", []

    def _append(self, event: Text) -> tuple[str, list[dict[str, Any]]]:
        began = len(self.text)
        if self.text and not event.kind == self.last == "chat":
            self.text += "\n"
        self.last = event.kind
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
    return address(passage.post.url) or passage.post.id


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
        "refusal": transcript.text if transcript.refused else None,
        "annotations": transcript.annotations,
    }
    return {
        "id": id_,
        "object": "chat.completion",
        "created": created,
        "model": asked.model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(transcript)}],
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

    async with aclosing(events):  # type: ignore[type-var]
        begun = False
        async for event in events:
            # Not before the first event: what fails until then can still be an HTTP error.
            if not begun:
                begun = True
                yield chunk({"role": "assistant", "content": ""})
            text, fresh = transcript.add(event)
            # OpenAI's client adds the lists of deltas up by the `index` of each entry, and fails without one.
            first = len(transcript.annotations) - len(fresh)
            indexed = [{"index": first + i, **note} for i, note in enumerate(fresh)]
            if text:
                yield chunk({"content": text, **({"annotations": indexed} if indexed else {})})
    more = {"citations": transcript.citations, "withheld": transcript.withheld, **_receipt(transcript)}
    yield chunk({}, _finish(transcript), **more)
    if asked.include_usage:
        yield {**_frame(id_, created, asked), "choices": [], "usage": _usage(transcript)}


def _frame(id_: str, created: int, asked: Asked) -> dict[str, Any]:
    return {"id": id_, "object": "chat.completion.chunk", "created": created, "model": asked.model}


def _finish(transcript: Transcript) -> str:
    return "length" if transcript.done and transcript.done.reason == "length" else "stop"


def _usage(transcript: Transcript) -> dict[str, Any]:
    if not transcript.done:
        return {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    used = transcript.done.usage
    return {
        "prompt_tokens": used.prompt_tokens,
        "completion_tokens": used.completion_tokens,
        "total_tokens": used.prompt_tokens + used.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": used.cached_tokens},
    }


def _receipt(transcript: Transcript) -> dict[str, Any]:
    """Ours: how fresh the evidence was, what the answer rests on, which engine wrote, the id of a kept answer."""
    if not (done := transcript.done):
        return {}
    return {
        "freshness": freshness(done.freshness),
        "receipt": rests_on(done.receipt),
        "answerable": done.answerable,
        "engine": done.engine,
        "answer_id": done.id,
        **rule_json(transcript.refused),
    }


def error(failure: VoxpopError) -> dict[str, Any]:
    """OpenAI's error object, with the cure beside the message."""
    kind = _KINDS.get(failure.code, "invalid_request_error" if isinstance(failure, UsageError) else "server_error")
    said = {"message": failure.what, "type": kind, "param": getattr(failure, "param", None)}
    return {"error": {**said, "code": failure.code, "cure": failure.cure}}
