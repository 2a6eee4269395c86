"""Say back the last message, a word at a time: the smallest engine, for tests and as a pattern to copy."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from voxpop.engines import EngineInfo
from voxpop.messages import Delta, Prompt, Usage


class EchoEngine:
    """`text` replaces the echo; `pause_s` waits between words; `words_made` counts what was computed."""

    def __init__(self, text: str | None = None, *, pause_s: float = 0.0) -> None:
        self._text = text
        self._pause_s = pause_s
        self.words_made = 0
        self.prompts: list[Prompt] = []

    async def generate(self, prompt: Prompt, schema: Mapping[str, Any] | None = None) -> AsyncIterator[Delta]:
        self.prompts.append(prompt)
        text = self._text if self._text is not None else prompt.messages[-1].content
        for piece in text.split(" "):
            await asyncio.sleep(self._pause_s)
            self.words_made += 1
            yield Delta(piece + " ")
        yield Delta(usage=Usage(sum(self.count(m.content) for m in prompt.messages), self.count(text)))

    def count(self, text: str) -> int:
        return len(text.split())

    def describe(self) -> EngineInfo:
        return EngineInfo("echo", "none", converses=True)
