"""An engine continues a prompt; closing its stream stops the computation."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from voxpop.errors import UsageError
from voxpop.messages import Delta, Prompt


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine is. One that only quotes posts does not converse; one that only talks does not write facts.

    `shapes`: it writes JSON of a schema. `digest`: SHA-256 of the model's file, empty where it is not known.
    """

    name: str
    model: str
    converses: bool
    context: int = 0
    state: str = "ready"
    writes: bool = True
    digest: str = ""
    shapes: bool = False


class Engine(Protocol):
    """Continue a prompt, count tokens, say what you are and which schemas you can be held to."""

    def generate(self, prompt: Prompt, schema: Mapping[str, Any] | None = None) -> AsyncIterator[Delta]:
        """Stream the continuation, JSON of `schema` (JSON Schema) if given; the last delta carries the usage."""
        ...

    def check(self, schema: Mapping[str, Any]) -> None:
        """Raise UsageError (code `unsupported`) where `generate` could not be held to this schema."""
        ...

    def count(self, text: str) -> int:
        """Tokens of `text`, by this engine's tokenizer or its estimate."""
        ...

    def describe(self) -> EngineInfo:
        """Name, model, abilities and present state."""
        ...


def no_model(name: str) -> UsageError:
    """That an engine which follows no instruction can write no JSON."""
    what = f"The engine '{name}' calls no function and writes no JSON."
    return UsageError(what, "Start voxpop with --engine local, or with a model's server.", code="unsupported")
