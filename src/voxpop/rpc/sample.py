"""xAI's Sample service: a raw prompt is asked like a user's message, and its text comes without roles."""

import secrets
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from xai_sdk.proto import sample_pb2

from voxpop.desk import Desk
from voxpop.dialects import NAME, conversation, resolve, voice_of
from voxpop.errors import FieldError
from voxpop.messages import Message, Request
from voxpop.places import Places
from voxpop.rpc.answers import Answering
from voxpop.rpc.door import caller
from voxpop.rpc.reading import Asked, answers, sampling
from voxpop.rpc.running import Running
from voxpop.rpc.writing import FINGERPRINT, usage

ENDPOINT = "completions"


@dataclass(frozen=True, slots=True)
class Sample:
    """Both methods; `places` bounds the answers under way."""

    running: Running
    desk: Desk
    places: Places

    async def SampleText(self, request: Any, context: Any) -> Any:
        """The whole text, of as many answers as were asked for."""
        texts: dict[int, str] = {}
        reasons: dict[int, int] = {}
        last: Any = None
        async with aclosing(self.SampleTextStreaming(request, context)) as pieces:  # type: ignore[type-var]
            async for last in pieces:
                for choice in last.choices:
                    texts[choice.index] = texts.get(choice.index, "") + choice.text
                    reasons[choice.index] = choice.finish_reason
        last.choices.extend(
            sample_pb2.SampleChoice(index=n, text=text, finish_reason=reasons[n])
            for n, text in sorted(texts.items())
        )
        return last

    async def SampleTextStreaming(self, request: Any, context: Any) -> AsyncIterator[Any]:
        """The text as it is made; the last piece has no choice, and brings the usage."""
        asked, who = self._asked(request), caller()
        frame = {
            "id": f"cmpl-{secrets.token_hex(12)}",
            "created": Timestamp(seconds=int(time.time())),
            "model": asked.named,
            "system_fingerprint": FINGERPRINT,
        }
        with self.places.held():
            turn = await self.desk.admit(
                who.account, asked.request, endpoint=ENDPOINT, model=asked.model, id=who.id, answers=asked.answers
            )
            who.told.update(turn.headers)
            try:
                answering = Answering(asked, turn, frame["id"], frame["created"].seconds)
                async with aclosing(answering.outputs()) as outputs:  # type: ignore[type-var]
                    async for output in outputs:
                        choice = sample_pb2.SampleChoice(
                            index=output.index, text=output.delta.content, finish_reason=output.finish_reason
                        )
                        yield sample_pb2.SampleTextResponse(**frame, choices=[choice])
                yield sample_pb2.SampleTextResponse(**frame, usage=usage(answering.told, turn.ticks))
            finally:
                await turn.close()

    def _asked(self, request: Any) -> Asked:
        named = request.model or NAME
        model = resolve(named, self.running.voices, self.running.aliases)
        if len(request.prompt) != 1:
            what = f"There are {len(request.prompt)} prompts."
            raise FieldError("prompt", what, "Give one, and ask once for each.", code="unsupported")
        said = conversation([Message("user", request.prompt[0])], "prompt")
        spoken = Request(said, voice_of(model, self.running.default_voice), sampling=sampling(request))
        return Asked(spoken, model, named, answers=answers(request), fresh=said)
