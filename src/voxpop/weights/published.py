"""What others measured of Grok-1, each with its source: to stand beside a plan, never inside it."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from voxpop.weights.machine import GIB, described


@dataclass(frozen=True, slots=True)
class Figure:
    """A published figure: `value` in tokens a second, of what `kind` says, on a described machine."""

    who: str
    what: str
    source: str
    kind: str
    value: float
    machine: str
    format: str
    context: int
    why: str

    @property
    def memory_gib(self) -> float:
        """Of its machine."""
        return described()[self.machine].memory / GIB

    @property
    def tokens(self) -> float:
        """Generated a second; 0 where it tells something else."""
        return self.value if self.kind == "generate" else 0.0


@cache
def published() -> tuple[Figure, ...]:
    """All of them."""
    data = tomllib.loads((files("voxpop.weights") / "published.toml").read_text("utf-8"))
    return tuple(Figure(**row) for row in data["figure"])
