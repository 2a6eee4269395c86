"""Which ggml type each tensor gets under a named mix, and what a file of it weighs; no numbers are turned here.

It refuses a mix that it does not know, and imports nothing beyond Python, so that a plan needs no extra.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from math import prod
from types import MappingProxyType
from typing import Any

from voxpop.errors import UsageError
from voxpop.weights.grok import Grok, Kind, Spec

ALIGNMENT = 32  # bytes, between tensors in a GGUF file


@dataclass(frozen=True, slots=True)
class Mix:
    """A ggml type for each kind; `careful` gives parts a better one in the layers that a model feels most."""

    name: str
    kinds: Mapping[Kind, str]
    careful: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def needs_importance(self) -> bool:
        """Whether one of its types is refused, or worthless, without a matrix of importance."""
        return not {*self.kinds.values(), *self.careful.values()}.isdisjoint(_table()["importance"]["types"])


@dataclass(frozen=True, slots=True)
class Share:
    """What the tensors of one kind and type come to: `parameters` numbers in `bytes`."""

    kind: Kind
    type: str
    parameters: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Size:
    """What the tensors of a file come to, with the padding between them, without the header (0-5 MB)."""

    shares: tuple[Share, ...]
    bytes: int

    @property
    def bits(self) -> float:
        """Bits per weight."""
        return 8 * self.bytes / sum(share.parameters for share in self.shares)


def names() -> tuple[str, ...]:
    """Every mix, from the widest to the narrowest."""
    return tuple(_table()["mixes"])


def mix(name: str) -> Mix:
    """A mix by its name, in any case. Raises UsageError for one that there is not."""
    found = _table()["mixes"].get(name.upper())
    if found is None:
        raise UsageError(f"There is no type '{name}'.", f"Choose one of {', '.join(names())}.")
    kinds = {"norm": "F32", "router": "F32"} | {k: v for k, v in found.items() if k != "careful"}
    return Mix(name.upper(), kinds, found.get("careful", {}))


def row_of(spec: Spec) -> int:
    """How many numbers stand in a row of the GGUF tensor: what a linear contracts, the width of an embedding."""
    return spec.shape[-2] if spec.linear else spec.shape[-1]


def type_of(spec: Spec, chosen: Mix, layers: int) -> str:
    """The type that a tensor gets; another than the mix says where its rows are no multiple of a block."""
    return _fitting(_asked(spec, chosen, layers), row_of(spec))


def fallen(shape: Grok, chosen: Mix) -> dict[str, tuple[str, str]]:
    """Which parts got another type than their mix says, as (asked, given): one entry a part."""
    return {
        spec.part: (asked, given)
        for spec in shape.specs.values()
        if (asked := _asked(spec, chosen, shape.layers)) != (given := type_of(spec, chosen, shape.layers))
    }


def bytes_of(spec: Spec, type_: str) -> int:
    """What a tensor weighs in a type."""
    sizes: dict[str, tuple[int, int]] = _table()["types"]
    block, size = sizes[type_]
    return prod(spec.shape) // block * size


def bits() -> dict[str, float]:
    """Bits a weight of every ggml type."""
    return {type_: 8 * size / block for type_, (block, size) in _table()["types"].items()}


def size_of(shape: Grok, chosen: Mix) -> Size:
    """What the tensors of a model weigh under a mix, by kind and type."""
    found: dict[tuple[Kind, str], tuple[int, int]] = {}
    for spec, type_, size in _sized(shape, chosen):
        before = found.get((spec.kind, type_), (0, 0))
        found[spec.kind, type_] = (before[0] + spec.parameters, before[1] + size)
    shares = tuple(Share(kind, type_, *sums) for (kind, type_), sums in found.items())
    return Size(shares, sum(share.bytes for share in shares))


def _sized(shape: Grok, chosen: Mix) -> Iterator[tuple[Spec, str, int]]:
    for spec in shape.specs.values():
        type_ = type_of(spec, chosen, shape.layers)
        yield spec, type_, -(-bytes_of(spec, type_) // ALIGNMENT) * ALIGNMENT


def _asked(spec: Spec, chosen: Mix, layers: int) -> str:
    _, _, rest = spec.name.partition(".")
    number, _, part = rest.partition(".")
    if part in chosen.careful and _felt(int(number), layers):
        return chosen.careful[part]
    return chosen.kinds[spec.kind]


def _felt(layer: int, layers: int) -> bool:
    """llama.cpp's `use_more_bits`."""
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2


def _fitting(type_: str, row: int) -> str:
    sizes: dict[str, tuple[int, int]] = _table()["types"]
    other: str = _table()["fallback"].get(type_, "F16")
    if row % sizes[type_][0] == 0:
        return type_
    return other if row % sizes[other][0] == 0 else "F16"


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(files("voxpop.weights").joinpath("mixes.toml").read_text("utf-8"))
