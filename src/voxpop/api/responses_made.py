"""Render an answer as a Response of OpenAI's and xAI's, whole or as the events of its making; it decides nothing.

The order of the events is that of api.x.ai: each search is an item of its own, then the message, then calls. A
stored answer is rendered by the same code from its events.
"""

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from voxpop.api import openai
from voxpop.api.page import ours
from voxpop.conversations import Exchange
from voxpop.errors import VoxpopError
from voxpop.inert import address
from voxpop.messages import (
    AnswerEvent,
    Call,
    Called,
    Citation,
    Done,
    Found,
    Passage,
    Refused,
    Searching,
    Text,
    Token,
    Withheld,
)
from voxpop.times import MICROS, iso

Event = dict[str, Any]
PREFIX = "resp_"
WITHDRAWN = "This answer was withdrawn: a post on which it rested was deleted or edited since."
_UNMARKDOWN = str.maketrans({"(": "%28", ")": "%29", " ": "%20"})


@dataclass(slots=True)
class Made:
    """A response as it grows: its `output`, and the events that tell of it, numbered from 0.

    `beside` is what `responses_asked` wants to be repeated. What is cited is marked `[[n]](address)` in the text
    (`[n]` where the client wants no links), and the mark is what the citation's indices span, in characters.
    """

    id: str
    at: int
    model: str
    beside: Mapping[str, Any]
    previous: str = ""
    stored: bool = False
    ticks: int = 0
    withdrawn: bool = False
    output: list[dict[str, Any]] = field(default_factory=list)
    status: str = "in_progress"
    _cited: dict[int, Passage] = field(default_factory=dict)
    _withheld: list[dict[str, str]] = field(default_factory=list)
    _refused: Refused | None = None
    _done: Done | None = None
    _last: str = ""
    _completed_at: int = 0
    _searches: int = 0
    _number: int = 0
    _message: dict[str, Any] | None = None
    _searching: dict[str, Any] | None = None

    def begin(self) -> list[Event]:
        """The first events."""
        whole = self.json()
        return [
            self._event("response.created", response=whole),
            self._event("response.in_progress", response=whole),
        ]

    def add(self, event: AnswerEvent) -> list[Event]:
        """Take in what the line says; the events that tell of it."""
        if isinstance(event, Searching):
            return self._search(event.query)
        if isinstance(event, Found):
            return self._found()
        if isinstance(event, Citation):
            self._cited[event.passage.number] = event.passage
        elif isinstance(event, Withheld):
            self._withheld.append({"text": event.text, "reason": event.reason})
        elif isinstance(event, Refused):
            self._refused = event
        elif isinstance(event, Text):
            return self._say(event)
        elif isinstance(event, Called):
            return [*self._close(), *self._call(event.call)]
        else:
            self._done = event
        return []

    def end(self, completed_at: int) -> list[Event]:
        """The last events, with the whole response."""
        cut = self.withdrawn or (self._done is not None and self._done.reason == "length")
        self.status = "incomplete" if cut else "completed"
        self._completed_at = completed_at
        told = [*self._found(), *self._close(self.status)]
        return [*told, self._event(f"response.{self.status}", response=self.json())]

    def failed(self, error: VoxpopError) -> Event:
        """The event of an answer that broke off: OpenAI's, with the error object that its clients raise."""
        told = openai.error(error)["error"]
        return self._event("error", code=error.code, message=error.what, param=told["param"], error=told)

    def json(self) -> dict[str, Any]:
        """The response as it stands."""
        beside = self.beside
        # Of the reasons that OpenAI's types know, this one is nearest to a withdrawal.
        why = "content_filter" if self.withdrawn else "max_output_tokens"
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.at // MICROS,
            "status": self.status,
            "background": False,
            "completed_at": self._completed_at // MICROS if self.status == "completed" else None,
            "error": None,
            "incomplete_details": {"reason": why} if self.status == "incomplete" else None,
            "instructions": beside.get("instructions"),
            "max_output_tokens": beside.get("max_output_tokens"),
            "max_tool_calls": beside.get("max_tool_calls"),
            "metadata": beside.get("metadata") or {},
            "model": self.model,
            "output": [dict(item) for item in self.output],
            "parallel_tool_calls": beside.get("parallel_tool_calls", True),
            "previous_response_id": self.previous or None,
            "prompt_cache_key": beside.get("prompt_cache_key"),
            "reasoning": {"effort": None, "summary": None, **(beside.get("reasoning") or {})},
            "safety_identifier": beside.get("safety_identifier"),
            "service_tier": "default",
            "store": self.stored,
            "temperature": beside.get("temperature", 0.0),
            "text": {"format": {"type": "text"}, **(beside.get("text") or {})},
            "tool_choice": _typed(beside.get("tool_choice") or "auto"),
            "tools": [_typed(tool) for tool in beside.get("tools") or ()],
            "top_logprobs": beside.get("top_logprobs") or 0,
            "top_p": beside.get("top_p", 1.0),
            "truncation": "disabled",
            "usage": self._usage(),
            "user": beside.get("user"),
            **self._ours(),
        }

    # -- the items -----------------------------------------------------------------------------------------------

    def _search(self, query: str) -> list[Event]:
        self._searches += 1
        shown = self.beside.get("shown")
        if not shown:
            return []
        made = f"{self._tail}_xs_call_{self._searches}"
        if shown == "web_search":
            action = {"type": "search", "query": query, "queries": [query], "sources": []}
            item = {"type": "web_search_call", "id": f"ws_{made}", "status": "in_progress", "action": action}
            self._searching = item
            told = [self._added(item)]
            return [*told, *(self._of(item, f"response.web_search_call.{w}") for w in ("in_progress", "searching"))]
        sought = json.dumps({"query": query}, ensure_ascii=False)
        item = {
            "type": "custom_tool_call",
            "id": f"ctc_{made}",
            "call_id": f"xs_call_{made}",
            "name": "x_keyword_search",
            "input": "",
            "status": "in_progress",
        }
        self._searching = item
        told = [self._added(item), self._of(item, "response.custom_tool_call_input.delta", delta=sought)]
        item["input"] = sought
        return [*told, self._of(item, "response.custom_tool_call_input.done", input=sought)]

    def _found(self) -> list[Event]:
        item, self._searching = self._searching, None
        if item is None:
            return []
        item["status"] = "completed"
        web = item["type"] == "web_search_call"
        told = [self._of(item, "response.web_search_call.completed")] if web else []
        return [*told, self._finished(item)]

    def _say(self, text: Text) -> list[Event]:
        told = [] if self._message else self._open()
        part = self._message["content"][0] if self._message else {}
        flows = text.kind == self._last and text.kind in ("chat", "json")
        said = ("" if flows or not _text(part) else "\n") + text.text
        self._last = text.kind
        if part["type"] == "refusal":
            part["refusal"] += said
            return [*told, self._part("response.refusal.delta", delta=said)]
        start = len(part["text"]) + len(said)
        fresh: list[dict[str, Any]] = []
        for number in text.citations if text.kind != "json" else ():
            said += "" if fresh else " "
            start = len(part["text"]) + len(said)
            said += self._mark(number)
            fresh.append(_citation(self._cited[number], start, len(part["text"]) + len(said)))
        if text.kind == "json":
            fresh = [_citation(self._cited[n], len(part["text"]), start) for n in text.citations]
        part["text"] += said
        chances = [_chance(token) for token in text.tokens]
        part["logprobs"] += chances
        told.append(self._part("response.output_text.delta", delta=said, logprobs=chances))
        for note in fresh:
            part["annotations"].append(note)
            place = len(part["annotations"]) - 1
            told.append(
                self._part("response.output_text.annotation.added", annotation_index=place, annotation=note)
            )
        return told

    def _mark(self, number: int) -> str:
        url = address(self._cited[number].post.url)
        linked = self.beside.get("marks", True) and url
        return f"[[{number}]]({url.translate(_UNMARKDOWN)})" if linked else f"[{number}]"

    def _open(self) -> list[Event]:
        """A message begins. What is refused where JSON was asked for is no text: nobody may read it as JSON."""
        kinds = ((self.beside.get("text") or {}).get("format") or {}).get("type", "text")
        only = self._refused is not None and kinds != "text"
        item: dict[str, Any] = {
            "type": "message",
            "id": f"msg_{self._tail}" + (f"_{len(self.output)}" if self._has_message() else ""),
            "role": "assistant",
            "status": "in_progress",
            "content": [],
        }
        told = [self._added(item)]
        self._message = item
        item["content"] = [_refusal("") if only else {**_nothing(), "annotations": [], "logprobs": []}]
        return [*told, self._part("response.content_part.added", part=deepcopy(item["content"][0]))]

    def _close(self, status: str = "completed") -> list[Event]:
        """The message ends. A refusal in words is one in form as well."""
        if self._message is None:
            return []
        item, part = self._message, self._message["content"][0]
        if part["type"] == "refusal":
            told = [self._part("response.refusal.done", refusal=part["refusal"])]
        else:
            told = [self._part("response.output_text.done", text=part["text"], logprobs=part["logprobs"])]
        told.append(self._part("response.content_part.done", part=deepcopy(part)))
        if self._refused and part["type"] != "refusal":
            again = _refusal(part["text"])
            item["content"].append(again)
            told += [self._part(f"response.content_part.{w}", part=again) for w in ("added", "done")]
        item["status"], self._message, self._last = status, None, ""
        return [*told, self._finished(item)]

    def _call(self, call: Call) -> list[Event]:
        item = {
            "type": "function_call",
            "id": f"fc_{self._tail}_{len(self.output)}",
            "call_id": call.id,
            "name": call.name,
            "arguments": "",
            "status": "in_progress",
        }
        told = [self._added(item)]
        name = "response.function_call_arguments"
        told.append(self._of(item, f"{name}.delta", delta=call.arguments))
        told.append(self._of(item, f"{name}.done", name=call.name, arguments=call.arguments))
        item["arguments"], item["status"] = call.arguments, "completed"
        return [*told, self._finished(item)]

    # -- the events ----------------------------------------------------------------------------------------------

    @property
    def _tail(self) -> str:
        return self.id.removeprefix(PREFIX)

    def _has_message(self) -> bool:
        return any(item["type"] == "message" for item in self.output)

    def _event(self, kind: str, **more: Any) -> Event:
        self._number += 1
        return {"type": kind, "sequence_number": self._number - 1, **more}

    def _added(self, item: dict[str, Any]) -> Event:
        self.output.append(item)
        return self._event("response.output_item.added", output_index=len(self.output) - 1, item=deepcopy(item))

    def _finished(self, item: dict[str, Any]) -> Event:
        return self._event("response.output_item.done", output_index=self.output.index(item), item=deepcopy(item))

    def _of(self, item: dict[str, Any], kind: str, **more: Any) -> Event:
        return self._event(kind, item_id=item["id"], output_index=self.output.index(item), **more)

    def _part(self, kind: str, **more: Any) -> Event:
        item: dict[str, Any] = self._message or {}
        place = max(len(item["content"]) - 1, 0)
        return self._of(item, kind, content_index=place, **more)

    # -- what stands beside --------------------------------------------------------------------------------------

    def _usage(self) -> dict[str, Any] | None:
        if self._done is None:
            return None
        used, searches = self._done.usage, self._searches
        web = self.beside.get("shown") == "web_search"
        calls = {"web_search_calls": searches if web else 0, "x_search_calls": 0 if web else searches}
        others = ("code_interpreter", "file_search", "mcp", "document_search", "image_generation")
        return {
            "input_tokens": used.prompt_tokens,
            "input_tokens_details": {"cached_tokens": used.cached_tokens, "cache_write_tokens": 0},
            "output_tokens": used.completion_tokens,
            "output_tokens_details": {"reasoning_tokens": used.reasoning_tokens},
            "total_tokens": used.prompt_tokens + used.completion_tokens,
            "num_sources_used": len(self._cited),
            "num_server_side_tools_used": searches,
            "cost_in_usd_ticks": self.ticks,
            "server_side_tool_usage_details": calls | {f"{name}_calls": 0 for name in others},
            "context_details": {"input_tokens": used.prompt_tokens, "output_tokens": used.completion_tokens},
        }

    def _ours(self) -> dict[str, Any]:
        """Ours beside OpenAI's and xAI's fields."""
        if not (done := self._done):
            return {}
        return {"withheld": self._withheld, **ours(done, self._refused)}


def again(exchange: Exchange) -> tuple[Made, list[Event]]:
    """A stored response, and the events of its making; one that was withdrawn says so in the place of its text."""
    made = Made(
        exchange.id,
        exchange.at,
        exchange.model,
        exchange.beside,
        exchange.previous,
        stored=True,
        ticks=exchange.ticks,
        withdrawn=exchange.answers is None,
    )
    answer = exchange.answers[0] if exchange.answers else (Text(WITHDRAWN, kind="notice"),)
    events = made.begin()
    for event in answer:
        events += made.add(event)
    return made, [*events, *made.end(exchange.at)]


def _typed(tool: Any) -> Any:
    """A tool as it is repeated: OpenAI's types know no `x_search`, and it is to them what its calls are."""
    search = isinstance(tool, dict) and tool.get("type") == "x_search"
    return {**tool, "type": "custom", "name": "x_search"} if search else tool


def _citation(passage: Passage, start: int, end: int) -> dict[str, Any]:
    post = passage.post
    title = f"@{post.author.handle or post.author.name or 'unknown'}, {iso(post.witnessed_at)}"
    url = address(post.url) or post.id
    return {"type": "url_citation", "url": url, "title": title, "start_index": start, "end_index": end}


def _chance(token: Token) -> dict[str, Any]:
    """A token's log probability, and those of the likeliest in its place."""
    top = [{"token": t, "bytes": list(t.encode("utf-8", "replace")), "logprob": p} for t, p in token.top]
    return {
        "token": token.text,
        "bytes": list(token.text.encode("utf-8", "replace")),
        "logprob": token.logprob,
        "top_logprobs": top,
    }


def _nothing() -> dict[str, Any]:
    return {"type": "output_text", "text": ""}


def _refusal(text: str) -> dict[str, Any]:
    return {"type": "refusal", "refusal": text}


def _text(part: Mapping[str, Any]) -> str:
    text: str = part.get("text") or part.get("refusal") or ""
    return text
