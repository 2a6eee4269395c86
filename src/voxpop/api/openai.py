"""OpenAI's chat completions: render the answer whole or as chunks, and errors; no decision is made here.

Shapes follow OpenAI's API reference (chat/completions, error objects). Ours beside it: `citations` (URLs) as xAI
has them, `annotations` with character offsets of each `[n]`, and an error's `cure`.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, fields
from hashlib import blake2b
from typing import Any

from voxpop.api.asked import Asked
from voxpop.api.page import ours
from voxpop.dialects import Joined
from voxpop.engines import EngineInfo
from voxpop.errors import UsageError, VoxpopError
from voxpop.inert import address
from voxpop.messages import (
    AnswerEvent,
    Call,
    Called,
    Citation,
    Done,
    Passage,
    Refused,
    Text,
    Token,
    Usage,
    Withheld,
)
from voxpop.posts import Post
from voxpop.times import iso

_KINDS = {
    "invalid_api_key": "authentication_error",
    "forbidden": "permission_error",
    "rate_limited": "rate_limit_error",
}


@dataclass(frozen=True, slots=True)
class Head:
    """What every chunk of an answer begins with; `fingerprint` names what answers."""

    id: str
    created: int
    asked: Asked
    fingerprint: str

    def json(self, kind: str) -> dict[str, Any]:
        """The fields that all objects of this kind share."""
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.asked.named,
            "system_fingerprint": self.fingerprint,
        }


def fingerprint(engine: EngineInfo, rules: str, version: str) -> str:
    """What changes when the engine, its model, the policy or the program does."""
    made_of = "\0".join((engine.name, engine.model, engine.digest, rules, version))
    return f"fp_{blake2b(made_of.encode(), digest_size=5).hexdigest()}"


@dataclass(slots=True)
class Transcript:
    """One answer as it grows, with what belongs beside it.

    `shaped`: JSON was asked for; `free`: a model said some of it in its own words.
    """

    shaped: bool = False
    joined: Joined = field(default_factory=Joined)
    refusal: str = ""
    annotations: list[dict[str, Any]] = field(default_factory=list)
    cited: dict[int, Passage] = field(default_factory=dict)
    withheld: list[dict[str, str]] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    tokens: list[Token] = field(default_factory=list)
    refused: Refused | None = None
    done: Done | None = None
    free: bool = False

    def add(self, event: AnswerEvent) -> dict[str, Any]:
        """Take an event in; what it adds to the message, as a stream's `delta` says it."""
        if isinstance(event, Citation):
            self.cited[event.passage.number] = event.passage
        elif isinstance(event, Withheld):
            self.withheld.append({"text": event.text, "reason": event.reason})
        elif isinstance(event, Refused):
            self.refused = event
        elif isinstance(event, Called):
            self.free = True
            self.calls.append(event.call)
            return {"tool_calls": [{"index": len(self.calls) - 1, **_call(event.call)}]}
        elif isinstance(event, Done):
            self.done = event
        elif isinstance(event, Text):
            return self._append(event)
        return {}

    def _append(self, event: Text) -> dict[str, Any]:
        if self.shaped and self.refused:  # a program reads the content as JSON: why there is none stands beside
            self.refusal += event.text
            return {"refusal": event.text}
        began, first = len(self.text), len(self.annotations)
        self.free = self.free or event.kind in ("chat", "json")
        self.tokens += event.tokens
        for number, *place in self.joined.add(event, lambda n: f"[{n}]"):
            self.annotations.append(_annotation(self.cited[number], *place))
        # OpenAI's client adds the lists of deltas up by the `index` of each entry, and fails without one.
        fresh = [{"index": n, **note} for n, note in enumerate(self.annotations[first:], first)]
        return {"content": self.text[began:], **({"annotations": fresh} if fresh else {})}

    @property
    def text(self) -> str:
        """All that was said, with its marks."""
        return self.joined.text

    @property
    def citations(self) -> list[str]:
        """URLs of the cited posts, in the order of their numbers."""
        return [_address(p) for _, p in sorted(self.cited.items())]

    @property
    def message(self) -> dict[str, Any]:
        """The whole message. A refusal in words is its content too, but where JSON was asked for."""
        refusal = self.refusal or (self.text if self.refused and not self.shaped else "")
        return {
            "role": "assistant",
            "content": self.text if self.text or not (self.calls or refusal) else None,
            "refusal": refusal or None,
            "annotations": self.annotations,
            **({"tool_calls": [_call(call) for call in self.calls]} if self.calls else {}),
        }

    @property
    def finish(self) -> str:
        """Why it ended."""
        reason = self.done.reason if self.done else "stop"
        return reason if reason in ("length", "tool_calls") else "stop"


def _call(call: Call) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _address(passage: Passage) -> str:
    return address(passage.post.url) or passage.post.id


def _annotation(passage: Passage, start: int, end: int) -> dict[str, Any]:
    post = passage.post
    title = f"@{post.author.handle or post.author.name or 'unknown'}, {iso(post.witnessed_at)}"
    cited = {"url": _address(passage), "title": title, "start_index": start, "end_index": end}
    return {"type": "url_citation", "url_citation": cited}


def _logprobs(tokens: Iterable[Token]) -> dict[str, Any] | None:
    """The tokens with their probabilities; null where there are none: a quotation was not chosen by any."""
    rows = [_likely(t.text, t.logprob) | {"top_logprobs": [_likely(*one) for one in t.top]} for t in tokens]
    return {"content": rows, "refusal": None} if rows else None


def _likely(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode("utf-8", "replace"))}


def completion(head: Head, transcripts: Sequence[Transcript], ticks: int) -> dict[str, Any]:
    """The whole answer as one `chat.completion` object; `ticks` is what it cost."""
    choices = [
        {
            "index": index,
            "message": one.message,
            "logprobs": _logprobs(one.tokens),
            "finish_reason": one.finish,
        }
        for index, one in enumerate(transcripts)
    ]
    return {
        **head.json("chat.completion"),
        "choices": choices,
        "usage": usage(transcripts, ticks),
        **beside(head.asked, transcripts),
    }


async def chunks(
    head: Head, events: AsyncIterator[tuple[int, AnswerEvent]], ticks: Callable[[], int]
) -> AsyncIterator[dict[str, Any]]:
    """The answers as `chat.completion.chunk` objects; the caller frames them and adds `[DONE]`.

    `ticks` is asked at the end for what they cost.
    """
    transcripts: dict[int, Transcript] = {}
    shared = head.json("chat.completion.chunk")

    def chunk(index: int, delta: dict[str, Any], tokens: Iterable[Token] = (), **more: Any) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "logprobs": _logprobs(tokens), "finish_reason": None}
        return {**shared, "choices": [choice | more]}

    async with aclosing(events):  # type: ignore[type-var]
        async for index, event in events:
            # Not before the first event: what fails until then can still be an HTTP error.
            if index not in transcripts:
                transcripts[index] = Transcript(head.asked.request.schema is not None)
                yield chunk(index, {"role": "assistant", "content": ""})
            one = transcripts[index]
            if delta := one.add(event):
                yield chunk(index, delta, event.tokens if isinstance(event, Text) else ())
    for index, one in sorted(transcripts.items()):
        yield chunk(index, {}, finish_reason=one.finish) | beside(head.asked, [one])
    if head.asked.include_usage:
        yield {**shared, "choices": [], "usage": usage(list(transcripts.values()), ticks())}


def usage(transcripts: Sequence[Transcript], ticks: int) -> dict[str, Any]:
    """Tokens of all answers together, the posts that they cite, and what they cost in ticks of 1e-10 US dollars.

    As xAI counts, `completion_tokens` are without those of reasoning.
    """
    all_used = [t.done.usage for t in transcripts if t.done]
    used = Usage(*(sum(getattr(u, f.name) for u in all_used) for f in fields(Usage)))
    return {
        "prompt_tokens": used.prompt_tokens,
        "completion_tokens": used.completion_tokens,
        "total_tokens": used.prompt_tokens + used.completion_tokens + used.reasoning_tokens,
        "prompt_tokens_details": {
            "text_tokens": used.prompt_tokens,
            "audio_tokens": 0,
            "image_tokens": 0,
            "cached_tokens": used.cached_tokens,
        },
        "completion_tokens_details": {
            "reasoning_tokens": used.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
        "num_sources_used": len(_cited(transcripts)),
        "cost_in_usd_ticks": ticks,
    }


def resting(asked: Asked, transcripts: Sequence[Transcript]) -> list[Post] | None:
    """The posts that the answers rest on; None where a model spoke freely of turns whose posts nobody knows."""
    told = any(m.role == "assistant" and m.content for m in asked.request.messages)
    if told and any(one.free for one in transcripts):
        return None
    return [p.post for one in transcripts for p in one.cited.values()]


def _cited(transcripts: Sequence[Transcript]) -> list[str]:
    return list(dict.fromkeys(url for one in transcripts for url in one.citations))


def beside(asked: Asked, transcripts: Sequence[Transcript]) -> dict[str, Any]:
    """Ours beside an answer: what is cited and withheld, and of the first how fresh it is and what it rests on."""
    first = transcripts[0]
    if not (done := first.done):
        return {}
    cited = {"citations": _cited(transcripts)} if asked.cited else {}
    return cited | {
        "withheld": [one for t in transcripts for one in t.withheld],
        **ours(done, first.refused),
    }


def error(failure: VoxpopError) -> dict[str, Any]:
    """OpenAI's error object, with the cure beside the message."""
    kind = _KINDS.get(failure.code, "invalid_request_error" if isinstance(failure, UsageError) else "server_error")
    said = {"message": failure.what, "type": kind, "param": getattr(failure, "param", None)}
    return {"error": {**said, "code": failure.code, "cure": failure.cure}}
