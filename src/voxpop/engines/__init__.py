"""An engine continues a prompt; closing its stream stops the computation."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from voxpop.messages import Delta, Prompt


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine is. One that only quotes posts does not converse; one that only talks does not write facts.

    `digest`: SHA-256 of the model's file, empty where it is not known.
    """

    name: str
    model: str
    converses: bool
    context: int = 0
    state: str = "ready"
    writes: bool = True
    digest: str = ""


class Engine(Protocol):
    """Continue a prompt, count tokens, say what you are."""

    def generate(self, prompt: Prompt, schema: Mapping[str, Any] | None = None) -> AsyncIterator[Delta]:
        """Stream the continuation; the last delta carries the usage. `schema` (JSON Schema) where it can."""
        ...

    def count(self, text: str) -> int:
        """Tokens of `text`, by this engine's tokenizer or its estimate."""
        ...

    def describe(self) -> EngineInfo:
        """Name, model, abilities and present state."""
        ...
