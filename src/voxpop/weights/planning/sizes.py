"""What a format makes of a model's tensors, in bytes: sizes only, from the shapes; it reads and writes no weights.

A GGUF format is our own mix (`mixes.toml`) where there is one of its name, else llama.cpp's (`formats.toml`).
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from voxpop.errors import UsageError
from voxpop.weights import mixes
from voxpop.weights.grok import Grok, Spec

# The type of `up` is that of `gate`, that of `value` that of `key`.
_ALIKE = {"up": "gate", "value": "key"}
_METADATA = 6_000_000  # tokenizer and header of a file with 131,072 pieces


@dataclass(frozen=True, slots=True, eq=False)
class Format:
    """A way to store the weights.

    `kind` says which programs can read it; `ours`: a mix that `voxpop weights quantize` makes. `parts` gives each
    part's types as shares of the layers where it does not; `published` is the size in bytes of the file of Grok-1
    that others offer (None: unknown), `head` the type of its own head. `rank` orders by quality, 0 is the best.
    """

    name: str
    kind: str
    parts: Mapping[str, Mapping[str, float]]
    loss: str
    rank: int
    ours: bool = False
    published: int | None = None
    head: str = ""

    def bits(self, part: str) -> float:
        """Bits a weight of a part (`gate`, `down`, `query`, ..., `embedding`), scales of the type included."""
        types = self.parts.get(_ALIKE.get(part, part), {"F32": 1.0})
        return sum(share * bits()[name] for name, share in types.items())


@dataclass(frozen=True, slots=True)
class Sizes:
    """A model in one format, in bytes: the ends (embedding, final norm), one layer without and one with experts."""

    ends: int
    attention: int
    experts: int
    layers: int

    @property
    def dense(self) -> int:
        """All that every token touches: everything but the experts."""
        return self.ends + self.layers * self.attention

    @property
    def file(self) -> int:
        """The whole model."""
        return self.dense + self.layers * self.experts


@cache
def bits() -> Mapping[str, float]:
    """Bits a weight by type."""
    return {**mixes.bits(), **_data()["bits"]}


@cache
def formats() -> tuple[Format, ...]:
    """All formats, best first."""
    return tuple(_format(row) for row in _data()["format"])


def format_named(name: str) -> Format:
    """A format by its name, however it is written; raises UsageError."""
    for each in formats():
        if each.name == name:
            return each
    for each in formats():
        if each.name.lower() == name.lower():
            return each
    known = ", ".join(f.name for f in formats())
    raise UsageError(f"There is no format {name!r}.", f"Take one of: {known}.")


@cache
def sizes(model: Grok, stored: Format) -> Sizes:
    """What a model takes in a format, layers that differ evened out. The head is the embedding, stored once."""
    experts = sum(_bytes(spec, model, stored) for spec in model.specs.values() if spec.kind == "expert")
    others = sum(_bytes(spec, model, stored) for name, spec in model.specs.items() if name.startswith("layers."))
    whole = sum(_bytes(spec, model, stored) for spec in model.specs.values())
    whole += _METADATA if stored.kind == "gguf" else 0
    experts, attention = experts // model.layers, (others - experts) // model.layers
    return Sizes(whole - model.layers * (attention + experts), attention, experts, model.layers)


@cache
def expert_types(model: Grok, stored: Format) -> Mapping[str, float]:
    """The types of the experts' weights, as shares that add up to 1."""
    shares: dict[str, float] = {}
    if stored.ours:
        found = [s for s in mixes.size_of(model, mixes.mix(stored.name)).shares if s.kind == "expert"]
        whole = sum(share.parameters for share in found)
        return {share.type: share.parameters / whole for share in found}
    for part, weight in (("gate", 2 / 3), ("down", 1 / 3)):
        for name, share in stored.parts[part].items():
            shares[name] = shares.get(name, 0.0) + weight * share
    return shares


def published_size(model: Grok, stored: Format) -> int:
    """The file as llama.cpp's own quantiser makes it, with the head as a tensor of its own."""
    whole = sum(_by_parts(spec, stored) for spec in model.specs.values())
    return whole + (int(model.specs["embedding"].parameters * bits()[stored.head] / 8) if stored.head else 0)


def _bytes(spec: Spec, model: Grok, stored: Format) -> int:
    if stored.ours:
        return mixes.bytes_of(spec, mixes.type_of(spec, mixes.mix(stored.name), model.layers))
    return _by_parts(spec, stored)


def _by_parts(spec: Spec, stored: Format) -> int:
    taken = spec.parameters * stored.bits(spec.part) / 8
    if stored.kind == "xai" and spec.int8:
        taken += 2 * spec.groups * spec.parameters // spec.shape[-2]  # bfloat16 scales
    return int(taken)


def _format(row: dict[str, Any]) -> Format:
    parts = {
        part: {types: 1.0} if isinstance(types := row[part], str) else types
        for part in ("gate", "down", "query", "key", "out", "embedding")
    }
    published = row.get("published_gb")
    return Format(
        name=str(row["name"]),
        kind=str(row["kind"]),
        parts=parts,
        loss=str(row["loss"]),
        rank=row["rank"],
        ours=row["kind"] == "gguf" and str(row["name"]) in mixes.names(),
        published=round(published * 1e9) if isinstance(published, float) else None,
        head=str(row.get("head", "")),
    )


@cache
def _data() -> dict[str, Any]:
    return tomllib.loads((files("voxpop.weights.planning") / "formats.toml").read_text("utf-8"))
