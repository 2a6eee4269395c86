"""Render an answer as a message of Anthropic's, whole or as the events of its making, and an error as theirs.

The text is one block, with `[n]` where posts are cited; the block's `citations` say which posts those are, as the
results of a web search, which is the citation of Anthropic's that has an address.
"""

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from voxpop.api.page import ours
from voxpop.errors import VoxpopError
from voxpop.inert import address
from voxpop.messages import AnswerEvent, Call, Called, Citation, Done, Passage, Refused, Searching, Text, Withheld
from voxpop.times import iso

Event = dict[str, Any]
_CITED = 150  # characters of a post, as Anthropic has them
_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


@dataclass(slots=True)
class Made:
    """A message as it grows, and the events that tell of it. `shown`: whether searches are blocks."""

    id: str
    model: str
    shown: bool = False
    ticks: int = 0
    content: list[dict[str, Any]] = field(default_factory=list)
    _cited: dict[int, Passage] = field(default_factory=dict)
    _withheld: list[dict[str, str]] = field(default_factory=list)
    _refused: Refused | None = None
    _done: Done | None = None
    _last: str = ""
    _searches: int = 0
    _open: bool = False
    _sought: dict[str, Any] | None = None

    def begin(self) -> list[Event]:
        """The first events."""
        return [{"type": "message_start", "message": self._head(None) | {"usage": self._usage()}}, {"type": "ping"}]

    def add(self, event: AnswerEvent) -> list[Event]:
        """Take in what the line says; the events that tell of it."""
        if isinstance(event, Searching):
            return self._search(event.query)
        if isinstance(event, Citation):
            self._cited[event.passage.number] = event.passage
        elif isinstance(event, Withheld):
            self._withheld.append({"text": event.text, "reason": event.reason})
        elif isinstance(event, Refused):
            self._refused = event
        elif isinstance(event, Text):
            return [*self._results(), *self._say(event)]
        elif isinstance(event, Called):
            return [*self._results(), *self._close(), *self._call(event.call)]
        elif isinstance(event, Done):
            self._done = event
        return []

    def end(self) -> list[Event]:
        """The last events."""
        told = [*self._results(), *self._close()]
        stopped = {"stop_reason": self._why(), "stop_sequence": None}
        return [
            *told,
            {"type": "message_delta", "delta": stopped, "usage": self._usage(), **self._ours()},
            {"type": "message_stop"},
        ]

    def json(self) -> dict[str, Any]:
        """The whole message."""
        return self._head(self._why()) | {"content": self.content, "usage": self._usage(), **self._ours()}

    # -- the blocks ----------------------------------------------------------------------------------------------

    def _search(self, query: str) -> list[Event]:
        self._searches += 1
        if not self.shown:
            return []
        id_ = f"srvtoolu_{self.id.removeprefix('msg_')}_{self._searches}"
        use = {"type": "server_tool_use", "id": id_, "name": "web_search", "input": {"query": query}}
        self._sought = {"type": "web_search_tool_result", "tool_use_id": id_, "content": []}
        return self._whole(use, {"type": "input_json_delta", "partial_json": json.dumps(use["input"])}, input={})

    def _results(self) -> list[Event]:
        """What the search brought for the sentence that comes: what others cite stands in the citations alone."""
        if self._sought is None:
            return []
        block, self._sought = self._sought, None
        block["content"] = [_result(p) for _, p in sorted(self._cited.items())]
        return self._whole(block, None)

    def _say(self, text: Text) -> list[Event]:
        told = []
        if not self._open:
            self._open = True
            self.content.append({"type": "text", "text": "", "citations": None})
            told = [{"type": "content_block_start", "index": self._place, "content_block": dict(self.content[-1])}]
        block = self.content[-1]
        flows = text.kind == self._last and text.kind in ("chat", "json")
        said = ("" if flows or not block["text"] else "\n") + text.text
        if text.citations and text.kind != "json":
            said += " " + "".join(f"[{n}]" for n in text.citations)
        self._last = text.kind
        block["text"] += said
        told.append(self._delta({"type": "text_delta", "text": said}))
        known = {c["encrypted_index"] for c in block["citations"] or ()}
        for number in text.citations:
            if str(number) not in known:
                note = _citation(self._cited[number])
                block["citations"] = [*(block["citations"] or ()), note]
                told.append(self._delta({"type": "citations_delta", "citation": note}))
        return told

    def _close(self) -> list[Event]:
        if not self._open:
            return []
        self._open, self._last = False, ""
        return [{"type": "content_block_stop", "index": self._place}]

    def _call(self, call: Call) -> list[Event]:
        given = json.loads(call.arguments)
        block = {"type": "tool_use", "id": call.id, "name": call.name, "input": given}
        return self._whole(block, {"type": "input_json_delta", "partial_json": call.arguments}, input={})

    def _whole(self, block: dict[str, Any], delta: dict[str, Any] | None, **empty: Any) -> list[Event]:
        """A block that is told at once; `empty` is what of it comes by the delta."""
        self.content.append(block)
        start = {"type": "content_block_start", "index": self._place, "content_block": deepcopy(block) | empty}
        deltas = [self._delta(delta)] if delta else []
        return [start, *deltas, {"type": "content_block_stop", "index": self._place}]

    @property
    def _place(self) -> int:
        return len(self.content) - 1

    def _delta(self, delta: dict[str, Any]) -> Event:
        return {"type": "content_block_delta", "index": self._place, "delta": delta}

    # -- what stands beside --------------------------------------------------------------------------------------

    def _head(self, why: str | None) -> dict[str, Any]:
        shared = {"stop_reason": why, "stop_sequence": None}
        return {"id": self.id, "type": "message", "role": "assistant", "model": self.model, "content": [], **shared}

    def _why(self) -> str:
        if self._refused:
            return "refusal"
        reason = self._done.reason if self._done else "stop"
        return {"length": "max_tokens", "tool_calls": "tool_use"}.get(reason, "end_turn")

    def _usage(self) -> dict[str, Any]:
        """Anthropic counts what was read from its cache beside the input, not within it."""
        used = self._done.usage if self._done else None
        return {
            "input_tokens": used.prompt_tokens - used.cached_tokens if used else 0,
            "output_tokens": used.completion_tokens if used else 0,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": used.cached_tokens if used else 0,
            "server_tool_use": {"web_search_requests": self._searches, "web_fetch_requests": 0},
        }

    def _ours(self) -> dict[str, Any]:
        if not (done := self._done):
            return {}
        return {
            **ours(done, self._refused),
            "withheld": self._withheld,
            "cost_in_usd_ticks": self.ticks,
        }


def error(failure: VoxpopError, status: int) -> dict[str, Any]:
    """Anthropic's error object, with our code and cure beside the message."""
    said = {"type": _KINDS.get(status, "api_error" if status >= 500 else "invalid_request_error")}
    return {"type": "error", "error": said | {"message": failure.what, "code": failure.code, "cure": failure.cure}}


def _citation(passage: Passage) -> dict[str, Any]:
    where = {"type": "web_search_result_location", "url": _url(passage), "title": _title(passage)}
    return where | {"cited_text": passage.post.text[:_CITED], "encrypted_index": str(passage.number)}


def _result(passage: Passage) -> Mapping[str, Any]:
    found = {"type": "web_search_result", "url": _url(passage), "title": _title(passage)}
    return found | {"encrypted_content": "", "page_age": iso(passage.post.witnessed_at)}


def _url(passage: Passage) -> str:
    return address(passage.post.url) or passage.post.id


def _title(passage: Passage) -> str:
    author = passage.post.author
    return f"@{author.handle or author.name or 'unknown'}, {iso(passage.post.witnessed_at)}"
