"""Render the events of an answer as xAI's outputs; a whole answer is the sum of its chunks, so both say the same.

What xAI's client makes of chunks decides their form: each output carries its role, a call comes whole, the last
chunk with outputs carries why it ended, and one without outputs brings the citations and the usage.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

from xai_sdk.proto import chat_pb2, sample_pb2, usage_pb2

from voxpop import __version__
from voxpop.dialects import Joined
from voxpop.inert import address
from voxpop.messages import AnswerEvent, Call, Called, Citation, Done, Found, Passage, Searching, Text, Token
from voxpop.rpc.reading import WEB, Asked, X
from voxpop.times import iso

FINGERPRINT = f"voxpop-{__version__}"
_ASSISTANT, _TOOL = chat_pb2.ROLE_ASSISTANT, chat_pb2.ROLE_TOOL
_KINDS = {
    X: (chat_pb2.TOOL_CALL_TYPE_X_SEARCH_TOOL, "x_keyword_search", usage_pb2.SERVER_SIDE_TOOL_X_SEARCH),
    WEB: (chat_pb2.TOOL_CALL_TYPE_WEB_SEARCH_TOOL, "web_search", usage_pb2.SERVER_SIDE_TOOL_WEB_SEARCH),
}
_REASONS = {
    "stop": sample_pb2.REASON_STOP,
    "length": sample_pb2.REASON_MAX_LEN,
    "tool_calls": sample_pb2.REASON_TOOL_CALLS,
    "cancelled": sample_pb2.REASON_TIME_LIMIT,
}
_X_HOSTS = ("x.com", "www.x.com", "twitter.com", "www.twitter.com", "mobile.twitter.com")


@dataclass(slots=True)
class Told:
    """One answer as it is told; `choice` is its place among those that were asked for.

    With xAI's search tools offered, a search is told as its model's call (output 0), the tool's answer (one output
    each) and what was made of it. Of several answers only the last of these is told, each in its own place.
    """

    asked: Asked
    id: str
    choice: int = 0
    joined: Joined = field(default_factory=Joined)
    cited: dict[int, Passage] = field(default_factory=dict)
    done: Done | None = None
    calls: list[Any] = field(default_factory=list)
    searched: int = 0

    def add(self, event: AnswerEvent) -> list[Any]:
        """The outputs (CompletionOutputChunk) that an event adds."""
        match event:
            case Citation(passage):
                self.cited[passage.number] = passage
            case Searching(query):
                return self._search(query)
            case Found():
                return self._found(event)
            case Text():
                return self._say(event)
            case Called(call):
                return [self._output(tool_calls=[_call(call)])]
            case Done():
                self.done = event
                return [self._output(finish=_REASONS[event.reason])]
        return []

    def _search(self, query: str) -> list[Any]:
        if self.joined.text:
            return []
        self.searched += len(self.asked.searches)
        if self.asked.answers > 1 or not self.asked.searches or not self.asked.apart:
            return []
        said = json.dumps({"query": query, "limit": self.asked.request.bounds.limit}, ensure_ascii=False)
        self.calls = [_search_call(kind, f"{self.id}_{n}", said) for n, kind in enumerate(self.asked.searches)]
        return [_chunk(0, _ASSISTANT, tool_calls=self.calls, finish=sample_pb2.REASON_TOOL_CALLS)]

    def _found(self, event: Found) -> list[Any]:
        newest = iso(event.newest) if event.newest is not None else None
        said = json.dumps({"posts": event.posts, "newest": newest})
        outputs = []
        for place, (call, kind) in enumerate(zip(self.calls, self.asked.searches, strict=False), 1):
            call.status = chat_pb2.TOOL_CALL_STATUS_COMPLETED
            content = said if kind in self.asked.found else ""
            outputs.append(_chunk(place, _TOOL, content, tool_calls=[call], finish=sample_pb2.REASON_STOP))
        return outputs

    def _say(self, event: Text) -> list[Any]:
        began, joined = len(self.joined.text), self.joined
        places = joined.add(event, self._mark)
        links = [self._link(*place) for place in places] if self.asked.inline else []
        return [self._output(joined.text[began:], citations=links, tokens=event.tokens)]

    def _mark(self, number: int) -> str:
        return f"[[{number}]]({self._url(number)})" if self.asked.inline else f"[{number}]"

    def _url(self, number: int) -> str:
        # No bracket of its own ends the link.
        return quote(_address(self.cited[number]), safe=":/?#[]@!$&'*+,;=%~-._")

    def _link(self, number: int, start: int, end: int) -> Any:
        """What xAI calls a citation that is written in the text."""
        url, link = self._url(number), {"id": str(number), "start_index": start, "end_index": end}
        if urlsplit(url).hostname in _X_HOSTS:
            return chat_pb2.InlineCitation(**link, x_citation=chat_pb2.XCitation(url=url))
        return chat_pb2.InlineCitation(**link, web_citation=chat_pb2.WebCitation(url=url))

    def _output(self, content: str = "", **more: Any) -> Any:
        place = self.choice if self.asked.answers > 1 else (len(self.calls) + 1 if self.calls else 0)
        return _chunk(place, _ASSISTANT, content, **more)

    @property
    def citations(self) -> list[str]:
        """URLs of the cited posts, in the order of their numbers."""
        return [_address(p) for _, p in sorted(self.cited.items())] if self.asked.cites else []


def usage(told: Iterable[Told], ticks: int) -> Any:
    """What the answers used together; `ticks` is what they cost, in 1e-10 US dollars."""
    answers = list(told)
    used = [t.done.usage for t in answers if t.done]
    prompt, made = sum(u.prompt_tokens for u in used), sum(u.completion_tokens for u in used)
    thought = sum(u.reasoning_tokens for u in used)
    kinds = {p.post.kind for t in answers for p in t.cited.values()}
    tools = [_KINDS[k][2] for t in answers if t.searched for k in t.asked.searches]
    return usage_pb2.SamplingUsage(
        prompt_tokens=prompt,
        prompt_text_tokens=prompt,
        cached_prompt_text_tokens=sum(u.cached_tokens for u in used),
        completion_tokens=made,
        reasoning_tokens=thought,
        total_tokens=prompt + made + thought,
        num_sources_used=len(kinds),
        server_side_tools_used=tools,
        cost_in_usd_ticks=ticks,
    )


def merged(chunks: Iterable[Any]) -> Iterator[Any]:
    """The whole outputs (CompletionOutput) that chunks of them add up to, in order."""
    outputs: dict[int, Any] = {}
    texts: dict[int, list[str]] = {}
    for chunk in chunks:
        whole = outputs.setdefault(chunk.index, chat_pb2.CompletionOutput(index=chunk.index))
        whole.message.role, whole.finish_reason = chunk.delta.role, chunk.finish_reason
        whole.message.tool_calls.extend(chunk.delta.tool_calls)
        whole.message.citations.extend(chunk.delta.citations)
        if chunk.HasField("logprobs"):
            whole.logprobs.content.extend(chunk.logprobs.content)
        texts.setdefault(chunk.index, []).append(chunk.delta.content)
    for index in sorted(outputs):
        outputs[index].message.content = "".join(texts[index])
        for call in outputs[index].message.tool_calls:
            call.status = chat_pb2.TOOL_CALL_STATUS_COMPLETED
        yield outputs[index]


def _chunk(
    index: int,
    role: int,
    content: str = "",
    *,
    tool_calls: Iterable[Any] = (),
    citations: Iterable[Any] = (),
    tokens: Iterable[Token] = (),
    finish: int = sample_pb2.REASON_INVALID,
) -> Any:
    delta = chat_pb2.Delta(content=content, role=role, tool_calls=tool_calls, citations=citations)
    likely = [_logprob(t) for t in tokens]
    logprobs = chat_pb2.LogProbs(content=likely) if likely else None
    return chat_pb2.CompletionOutputChunk(index=index, delta=delta, logprobs=logprobs, finish_reason=finish)


def _call(call: Call) -> Any:
    return chat_pb2.ToolCall(
        id=call.id,
        type=chat_pb2.TOOL_CALL_TYPE_CLIENT_SIDE_TOOL,
        status=chat_pb2.TOOL_CALL_STATUS_COMPLETED,
        function=chat_pb2.FunctionCall(name=call.name, arguments=call.arguments),
    )


def _search_call(kind: str, id_: str, arguments: str) -> Any:
    type_, name, _ = _KINDS[kind]
    function = chat_pb2.FunctionCall(name=name, arguments=arguments)
    return chat_pb2.ToolCall(id=id_, type=type_, status=chat_pb2.TOOL_CALL_STATUS_IN_PROGRESS, function=function)


def _logprob(token: Token) -> Any:
    def likely(text: str, logprob: float) -> Mapping[str, Any]:
        return {"token": text, "logprob": logprob, "bytes": text.encode("utf-8", "replace")}

    top = [chat_pb2.TopLogProb(**likely(text, logprob)) for text, logprob in token.top]
    return chat_pb2.LogProb(**likely(token.text, token.logprob), top_logprobs=top)


def _address(passage: Passage) -> str:
    return address(passage.post.url) or passage.post.id
