"""What others measured of Grok-1, and what was computed by hand: to stand beside a plan, never inside it."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from voxpop.weights.planning.machine import GIB, described


@dataclass(frozen=True, slots=True)
class Figure:
    """A published figure: `value` of what `kind` says, on a described machine; `why` it is off."""

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


@dataclass(frozen=True, slots=True)
class Computed:
    """By hand: tokens a second by format, EUR by speed; `rate` (bytes/s) replaces the machine's disk or link."""

    what: str
    kind: str
    machine: str
    values: Mapping[str, float]
    rate: float = 0.0


@dataclass(frozen=True, slots=True)
class Other:
    """Another model's tokens a second, the bytes that a token of it reads, the rate (bytes/s; 0 unknown)."""

    what: str
    source: str
    value: float
    bytes: float
    rate: float


@cache
def published() -> tuple[Figure, ...]:
    """Measurements of Grok-1 by others."""
    return tuple(Figure(**row) for row in _data()["figure"])


@cache
def computed() -> tuple[Computed, ...]:
    """What was computed by hand before there was a planner."""
    return tuple(Computed(**{**row, "rate": row.get("rate", 0) * 1e9}) for row in _data()["computed"])


@cache
def others() -> tuple[Other, ...]:
    """Speeds of other models."""
    return tuple(
        Other(**{**row, "bytes": row["bytes"] * 1e9, "rate": row["rate"] * 1e9}) for row in _data()["other"]
    )


@cache
def _data() -> dict[str, Any]:
    return tomllib.loads((files("voxpop.weights.planning") / "published.toml").read_text("utf-8"))
