"""OpenAI's legacy completions: a prompt is asked like a user's message; tokens and insertion are refused."""

import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from voxpop import dialects
from voxpop.api import openai
from voxpop.api.asked import Asked, Known, includes_usage, model_of, sampling_of
from voxpop.api.bodies import read_json
from voxpop.api.chat import ChatFaces, data, events_of, fingerprint, known, whole
from voxpop.api.entry import account_of
from voxpop.api.fields import flag, number, refuse, told
from voxpop.api.openai import Head, Transcript
from voxpop.api.streams import Frame, stream, unless_gone
from voxpop.errors import UsageError
from voxpop.messages import AnswerEvent, Message, Request, Text, Token

ENDPOINT = "completions"
_MOST_TOKENS = 16  # where nothing is said, as OpenAI has it
_MOST_LOGPROBS = 5
_KIND = "text_completion"


@dataclass(frozen=True, slots=True)
class CompletionFaces:
    """The handlers, over those of the chat: they share its places and its desk."""

    chat: ChatFaces

    def routes(self) -> list[Route]:
        """Where they are served."""
        return [Route("/v1/completions", self.completions, methods=["POST"])]

    async def completions(self, request: HttpRequest) -> Response:
        running, places = self.chat.running, self.chat.places
        asked, echoed = parse(await read_json(request), known(running))
        _, created = self.chat.stamp()
        head = Head(f"cmpl-{secrets.token_hex(12)}", created, asked, fingerprint(running))
        turn = await self.chat.desk.admit(
            account_of(request),
            asked.request,
            endpoint=ENDPOINT,
            model=asked.model,
            id=request.state.request_id,
            answers=asked.answers,
        )
        if asked.stream:
            frames = _frames(head, echoed, events_of(turn, asked), lambda: turn.ticks)
            return await stream(request, frames, places, lambda e: data(openai.error(e)), turn)
        with places.held():
            transcripts = await unless_gone(request, whole(turn, asked))
        return JSONResponse(_completion(head, echoed, transcripts, turn.ticks), headers=turn.headers)


def parse(body: Any, known: Known) -> tuple[Asked, str]:
    """What a completions body asks, and the text to say before the answer (`echo`). Raises UsageError."""
    if not isinstance(body, dict):
        raise UsageError("The body is not a JSON object.", "Send what OpenAI's completions take.")
    if body.get("suffix"):
        refuse("suffix", "No text is inserted before another.", "Leave 'suffix' out.", code="unsupported")
    answers = number(body, "n", 1, 1, dialects.MOST_ANSWERS)
    if number(body, "best_of", 0, 0, 20) > answers:
        refuse("best_of", "No answer is chosen among several.", "Leave 'best_of' out.", code="unsupported")
    prompt = _prompt(body.get("prompt"))
    model, voice = model_of(body, known)
    said = {"max_tokens": _MOST_TOKENS} | {k: v for k, v in body.items() if v is not None and k != "logprobs"}
    sampling = sampling_of({k: v for k, v in said.items() if k not in ("max_completion_tokens", "top_logprobs")})
    if body.get("logprobs") is not None:
        sampling = replace(sampling, logprobs=number(body, "logprobs", 0, 0, _MOST_LOGPROBS))
    messages = dialects.conversation([Message("user", prompt)], "prompt")
    request = Request(messages, voice, sampling=sampling)
    asked = Asked(request, model, body.get("model") or model, flag(body, "stream"), includes_usage(body), answers)
    return asked, prompt if flag(body, "echo") else ""


def _prompt(raw: Any) -> str:
    one = raw[0] if isinstance(raw, list) and len(raw) == 1 else raw
    if not isinstance(one, str):
        refuse("prompt", f"'prompt' cannot be {told(raw)}.", "Give one text.", code="unsupported")
    return one


def _completion(head: Head, echoed: str, transcripts: Sequence[Transcript], ticks: int) -> dict[str, Any]:
    choices = [
        _choice(n, echoed + (t.text or t.refusal), t.tokens, t.finish, offset=len(echoed))
        for n, t in enumerate(transcripts)
    ]
    used = openai.usage(transcripts, ticks)
    return {**head.json(_KIND), "choices": choices, "usage": used, **openai.beside(head.asked, transcripts)}


async def _frames(
    head: Head, echoed: str, events: AsyncIterator[tuple[int, AnswerEvent]], ticks: Callable[[], int]
) -> AsyncIterator[Frame]:
    shared = head.json(_KIND)
    transcripts: dict[int, Transcript] = {}
    async with aclosing(events):  # type: ignore[type-var]
        async for number_, event in events:
            if number_ not in transcripts:
                transcripts[number_] = Transcript()
                yield data({**shared, "choices": [_choice(number_, echoed)]})
            one = transcripts[number_]
            before = len(echoed) + len(one.text)
            if content := one.add(event).get("content"):
                tokens = event.tokens if isinstance(event, Text) else ()
                yield data({**shared, "choices": [_choice(number_, content, tokens, offset=before)]})
    for number_, one in transcripts.items():
        last = _choice(number_, "", (), one.finish)
        yield data({**shared, "choices": [last], **openai.beside(head.asked, [one])})
    if head.asked.include_usage:
        used = openai.usage(list(transcripts.values()), ticks())
        yield data({**shared, "choices": [], "usage": used})
    yield {"data": "[DONE]"}


def _choice(
    index: int, text: str, tokens: Iterable[Token] = (), finish: str | None = None, *, offset: int = 0
) -> Mapping[str, Any]:
    return {"index": index, "text": text, "logprobs": _logprobs(list(tokens), offset), "finish_reason": finish}


def _logprobs(tokens: Sequence[Token], offset: int) -> dict[str, Any] | None:
    """The tokens as the legacy API lists them, `text_offset` in characters; null where none was chosen."""
    if not tokens:
        return None
    offsets = [offset + sum(len(t.text) for t in tokens[:n]) for n in range(len(tokens))]
    return {
        "tokens": [t.text for t in tokens],
        "token_logprobs": [t.logprob for t in tokens],
        "top_logprobs": [dict(t.top) for t in tokens],
        "text_offset": offsets,
    }
