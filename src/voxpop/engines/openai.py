"""Any OpenAI-compatible server as an engine, streamed; it retries nothing and reads no more than it was sent."""

import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson

from voxpop.engines import EngineInfo
from voxpop.errors import VoxpopError
from voxpop.messages import Delta, Message, Prompt, Token, Usage
from voxpop.text import is_cjk

_TIMEOUT = httpx.Timeout(60.0, connect=5.0)
_LONGEST_LINE = 1 << 20
_PLAIN = {"top_p": 1.0, "frequency_penalty": 0.0, "presence_penalty": 0.0}


class OpenAIEngine:
    """Chat completions at `base_url` (such as http://127.0.0.1:8000/v1).

    `grammar_field`: the body field by which this server takes a GBNF grammar (`grammar` for llama-server), if any.
    Raises VoxpopError where the server cannot be reached or refuses.
    """

    def __init__(self, base_url: str, model: str, key: str = "", *, grammar_field: str = "") -> None:
        if urlsplit(base_url).scheme not in ("http", "https"):
            raise VoxpopError(
                f"The engine's URL '{base_url}' is not http(s).", "Give one such as http://127.0.0.1:8000/v1."
            )
        self._url = base_url.rstrip("/") + "/chat/completions"
        self._model = model
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._grammar_field = grammar_field

    async def generate(self, prompt: Prompt, schema: Mapping[str, Any] | None = None) -> AsyncIterator[Delta]:
        """Stream the server's text; closing the stream closes the connection, which stops a well-behaved server."""
        began = time.perf_counter()
        async with httpx.AsyncClient(timeout=_TIMEOUT) as client:
            try:
                async with client.stream(
                    "POST", self._url, json=self._body(prompt, schema), headers=self._headers
                ) as r:
                    if r.status_code != httpx.codes.OK:
                        await self._refused(r)
                    async for line in r.aiter_lines():
                        if delta := _delta(line):
                            yield _timed(delta, began)
            except httpx.HTTPError as error:
                what = f"The engine at {self._url} did not answer: {type(error).__name__} {error}.".replace(
                    " .", "."
                )
                raise VoxpopError(
                    what, "Start that server, or choose --engine quote.", code="engine_unreachable"
                ) from error

    def check(self, schema: Mapping[str, Any]) -> None:
        """The server itself refuses what it cannot follow."""

    def count(self, text: str) -> int:
        """An estimate: the server's tokenizer is not known."""
        return len(text) if is_cjk(text) else max(1, len(text) // 4)

    def describe(self) -> EngineInfo:
        return EngineInfo("openai", self._model, converses=True, shapes=True)

    def _body(self, prompt: Prompt, schema: Mapping[str, Any] | None) -> dict[str, Any]:
        sampling = prompt.sampling
        body: dict[str, Any] = {
            "model": self._model,
            "messages": list(map(_message, prompt.messages)),
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "seed": sampling.seed,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        body |= {name: value for name, plain in _PLAIN.items() if (value := getattr(sampling, name)) != plain}
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        if sampling.logprobs is not None:
            body |= {"logprobs": True, "top_logprobs": sampling.logprobs}
        if prompt.grammar and self._grammar_field:
            body[self._grammar_field] = prompt.grammar
        if schema:
            named = {"name": "answer", "schema": dict(schema), "strict": is_strict(schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
        return body

    async def _refused(self, response: httpx.Response) -> None:
        said = (await response.aread())[:300].decode("utf-8", "replace")
        cure = (
            "Check VOXPOP_OPENAI_KEY."
            if response.status_code in (401, 403)
            else "Check the engine's URL and model."
        )
        raise VoxpopError(
            f"The engine at {self._url} refused with {response.status_code}: {said}", cure, code="engine_refused"
        )


def _message(message: Message) -> dict[str, Any]:
    said: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.calls:
        said["tool_calls"] = [
            {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments}}
            for c in message.calls
        ]
    if message.answers:
        said["tool_call_id"] = message.answers
    return said


def is_strict(schema: Any) -> bool:
    """Whether every object of a schema is closed and whole, as OpenAI's `strict` demands."""
    if isinstance(schema, list):
        return all(map(is_strict, schema))
    if not isinstance(schema, Mapping):
        return True
    if schema.get("type") == "object" or "properties" in schema:
        whole = set(schema.get("required", ())) == set(schema.get("properties", ()))
        if schema.get("additionalProperties") is not False or not whole:
            return False
    return all(map(is_strict, schema.values()))


def _timed(delta: Delta, began: float) -> Delta:
    """The server's waiting cannot be told from its computing."""
    if delta.usage is None:
        return delta
    return replace(delta, usage=replace(delta.usage, seconds=round(time.perf_counter() - began, 4)))


def _delta(line: str) -> Delta | None:
    """A line of the stream as a delta, None where it carries none; raises VoxpopError where it tells a failure."""
    data = line.removeprefix("data:").strip()
    if not line.startswith("data:") or len(line) > _LONGEST_LINE or data in ("", "[DONE]"):
        return None
    try:
        chunk = orjson.loads(data)
        if error := chunk.get("error"):
            raise VoxpopError(f"The engine broke off: {str(error)[:300]}", "Look at its log.", code="engine_failed")
        choices = chunk.get("choices") or [{}]
        said = (choices[0].get("delta") or {}).get("content")
        text = said if isinstance(said, str) else ""
        counts = chunk.get("usage")
        usage = _usage(counts) if counts else None
        tokens = tuple(map(_token, (choices[0].get("logprobs") or {}).get("content") or ()))
        cut = choices[0].get("finish_reason") == "length"
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError, IndexError):
        return None
    return Delta(text, usage, tokens, cut) if text or usage or tokens or cut else None


def _usage(counts: Mapping[str, Any]) -> Usage:
    return Usage(
        int(counts["prompt_tokens"]),
        int(counts["completion_tokens"]),
        int((counts.get("prompt_tokens_details") or {}).get("cached_tokens") or 0),
        int((counts.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0),
    )


def _token(said: Mapping[str, Any]) -> Token:
    top = tuple((str(t["token"]), float(t["logprob"])) for t in said.get("top_logprobs") or ())
    return Token(str(said["token"]), float(said["logprob"]), top)
