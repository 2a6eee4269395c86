"""Say back the last message, or given texts, a word at a time: the smallest engine, for tests and to copy from."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from voxpop.engines import EngineInfo, no_model
from voxpop.messages import Delta, Prompt, Usage


class EchoEngine:
    """`text` replaces the echo, or `texts` do, one a generation and the last for ever; given words may be JSON.

    `pause_s` waits between words; `words_made` counts what was computed. No more words than `max_tokens` are said.
    """

    def __init__(self, text: str | None = None, *, pause_s: float = 0.0, texts: Sequence[str] = ()) -> None:
        self._texts = list(texts) or ([] if text is None else [text])
        self._pause_s = pause_s
        self.words_made = 0
        self.prompts: list[Prompt] = []

    async def generate(self, prompt: Prompt, schema: Mapping[str, Any] | None = None) -> AsyncIterator[Delta]:
        turn = min(len(self.prompts), len(self._texts) - 1)
        self.prompts.append(prompt)
        text = self._texts[turn] if self._texts else prompt.messages[-1].content
        pieces = text.split(" ")
        most = prompt.sampling.max_tokens
        for piece in pieces[:most]:
            await asyncio.sleep(self._pause_s)
            self.words_made += 1
            yield Delta(piece + " ")
        used = Usage(sum(self.count(m.content) for m in prompt.messages), min(self.count(text), most))
        yield Delta(usage=used, cut=len(pieces) > most)

    def check(self, schema: Mapping[str, Any]) -> None:
        if not self._texts:
            raise no_model("echo")

    def count(self, text: str) -> int:
        return len(text.split())

    def describe(self) -> EngineInfo:
        return EngineInfo("echo", "none", converses=True, shapes=bool(self._texts))
