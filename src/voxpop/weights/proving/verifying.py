"""Is a checkpoint its source? Tensor by tensor and expert by expert; it says which differs and what it looks like.

Float32 and Q8_0 of int8 must be equal to the last bit, other types within the error that the type may have. It
judges what is stored, and changes nothing.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from math import sqrt

import gguf
import numpy as np
import torch
from numpy.typing import NDArray

from voxpop.weights.casting import Q8_0, exact_q8_0, tiles
from voxpop.weights.formats.mapped import release
from voxpop.weights.formats.sums import checksum
from voxpop.weights.grok import EMBEDDING, Grok
from voxpop.weights.proving.likeness import likeness
from voxpop.weights.tensors import Packed, Quantised, Source, Tensor, bfloat16, pieces

# The error of one value of a float type: relative, and absolute below its normal numbers; bf16 may be cut.
_VALUE = {"F32": (0.0, 0.0), "F16": (2.0**-10, 2.0**-24), "BF16": (2.0**-8, 0.0)}
# Relative RMS of a matrix: 1.5 times the most that ggml's routines had on normal numbers and on Student's t with
# four degrees of freedom, with importance and without. A wrong matrix has 1.4.
_MATRIX = {
    "int8": 0.02,
    "Q8_0": 0.011,
    "Q6_K": 0.035,
    "Q5_K": 0.067,
    "Q5_0": 0.087,
    "Q5_1": 0.068,
    "Q4_K": 0.135,
    "Q4_0": 0.175,
    "Q4_1": 0.14,
    "IQ4_XS": 0.145,
    "IQ4_NL": 0.145,
    "Q3_K": 0.28,
    "IQ3_S": 0.3,
    "IQ3_XXS": 0.38,
    "Q2_K": 0.52,
    "IQ2_S": 0.51,
    "IQ2_XS": 0.54,
    "IQ2_XXS": 0.64,
    "IQ1_M": 0.9,
    "IQ1_S": 0.9,
}
_OTHER = 0.9  # a type that is not measured
# Of a single row or column, 1.5 times the most on Student's t with 2.5 degrees of freedom; how far above the mean
# column such a column must be (8 was the most); how far a matrix may be larger or smaller as a whole (0.14).
_LINE, _ABOVE, _GAIN = 3.0, 16.0, 0.2
Floats = NDArray[np.float32]
_THREADS = 2
# What two formats of one model may say differently: how int8 is grouped is xAI's alone.
_OF_STORAGE = {"row_groups"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One tensor: its type in the converted checkpoint, the relative RMS of its worst expert, what is allowed.

    `wrong` says what is amiss with it, as a sentence; empty where nothing is.
    """

    tensor: str
    type: str
    error: float = 0.0
    allowed: float = 0.0
    wrong: str = ""


def differing(converted: Grok, source: Grok) -> list[str]:
    """Sizes and constants that are not the source's, a sentence each."""
    found = []
    for field in (name for name in Grok.__dataclass_fields__ if name not in _OF_STORAGE):
        is_, due = getattr(converted, field), getattr(source, field)
        if abs(is_ - due) > 1e-6 * abs(due):
            found.append(f"{field} is {is_} and must be {due}.")
    return found


def verify(converted: Source, source: Source, sums: Mapping[str, str] | None = None) -> Iterator[Finding]:
    """Each tensor's finding, in the order of the canonical names; `sums`: the manifest's checksums.

    In memory at once: a few tiles, and pages of one tensor of each. Two threads compare different experts.
    """
    with ThreadPoolExecutor(_THREADS, "verify", initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for name in source.shape.specs:
            is_, must = converted.shape.specs[name].shape, source.shape.specs[name].shape
            if is_ != must:
                yield Finding(name, "?", 1.0, 0.0, f"It is {list(is_)} and must be {list(must)}.")
                continue
            found, due = converted.read(name), source.read(name)
            yield _finding(name, found, due, source, (sums or {}).get(name), pool)
            release(found)
            release(due)


def type_name(tensor: Tensor) -> str:
    """How a tensor is stored, as ggml calls it; `int8` with scales is xAI's own."""
    match tensor:
        case Quantised():
            return "int8"
        case Packed(_, type_):
            return str(gguf.GGMLQuantizationType(type_).name)
        case _:
            return {np.dtype(np.float32): "F32", np.dtype(np.float16): "F16", bfloat16: "BF16"}[tensor.dtype]


def _finding(
    name: str, found: Tensor, due: Tensor, source: Source, sum_: str | None, pool: ThreadPoolExecutor
) -> Finding:
    type_ = type_name(found)
    summed = pool.submit(checksum, found) if sum_ is not None else None
    experts, dues = list(pieces(found)), list(pieces(due))
    if len(experts) != len(dues):
        return Finding(name, type_, 1.0, 0.0, f"It has {len(experts)} experts and must have {len(dues)}.")
    compared = list(pool.map(_compared, experts, dues, repeat(name != EMBEDDING)))
    worst = max(range(len(compared)), key=lambda i: (compared[i].wrong, compared[i].error))
    error, allowed = compared[worst].error, compared[worst].allowed
    wrong = ""
    if compared[worst].wrong:
        expert = worst if len(compared) > 1 else None
        many = sum(c.wrong for c in compared)
        what = (
            f"{many} of its {len(compared)} experts differ, such as {worst}" if len(compared) > 1 else "It differs"
        )
        looks = likeness(source, name, expert, experts[worst], allowed)
        wrong = f"{what}: relative RMS {error:.3g}, allowed {allowed:.3g}"
        wrong += f"; {compared[worst].uneven}" if compared[worst].uneven else ""
        wrong += f"; looks like {looks}." if looks else "."
    if summed is not None and summed.result() != sum_:
        wrong = f"Its bytes are not those that were written: the manifest has another checksum. {wrong}".strip()
    return Finding(name, type_, error, allowed, wrong)


@dataclass(frozen=True, slots=True)
class _Compared:
    error: float
    allowed: float
    wrong: bool
    uneven: str = ""


def _compared(found: Tensor, due: Tensor, turned: bool) -> _Compared:
    type_ = type_name(found)
    exact = type_ == "F32" or _verbatim(found, due)
    relative, absolute = _VALUE.get(type_, (0.0, 0.0))
    by_value = exact or type_ in _VALUE
    errors = _Errors()
    over = False
    for is_, must in zip(tiles(found, turned=turned), tiles(due, turned=turned), strict=True):
        same = np.array_equal(is_, must)
        errors.add(is_, must, same=same, lines=not by_value)
        if by_value and not same:
            with np.errstate(all="ignore"):  # what is not finite is not within any bound
                over = over or not bool((np.abs(is_ - must) <= relative * np.abs(must) + absolute).all())
    allowed = 0.0 if exact else relative if by_value else _MATRIX.get(type_, _OTHER)
    if by_value:
        return _Compared(errors.relative, allowed, over)
    said = errors.uneven(allowed)
    return _Compared(errors.relative, allowed, bool(said) or not errors.relative <= allowed, said)


def _verbatim(found: Tensor, due: Tensor) -> bool:
    """Whether not a bit may differ: the type is the source's own, or Q8_0 that holds its int8."""
    if isinstance(found, Packed) and found.type == Q8_0 and exact_q8_0(due):
        return True
    if isinstance(found, Quantised) and isinstance(due, Quantised):
        return found.scales.shape == due.scales.shape
    return type_name(found) == type_name(due)


class _Errors:
    """Sums over the tiles of one matrix: of all, of each row of the file, and of each of its columns."""

    def __init__(self) -> None:
        self._squares = self._total = self._product = 0.0
        self._worst_row = (0.0, 0)
        self._rows = 0
        self._columns: NDArray[np.float64] | None = None

    def add(self, is_: Floats, must: Floats, *, same: bool, lines: bool) -> None:
        """`same`: the two are equal; `lines`: rows and columns are looked at too."""
        total = float(np.vdot(must, must))
        self._total += total
        if same and not lines:
            return
        with np.errstate(all="ignore"):
            away = is_ - must
            self._squares += float(np.vdot(away, away))
            self._product += float(np.vdot(away, must))
            if lines:
                row, due = (np.einsum("ij,ij->i", a, a) for a in (away, must))
                share = row / np.maximum(due, 1e-6 * total / len(must))
                worst = int(share.argmax())
                self._worst_row = max(self._worst_row, (float(share[worst]), self._rows + worst))
                columns = np.stack([np.einsum("ij,ij->j", a, a) for a in (away, must)]).astype(np.float64)
                self._columns = columns if self._columns is None else self._columns + columns
                self._rows += len(must)

    @property
    def relative(self) -> float:
        """RMS of the error by RMS of what is due."""
        return sqrt(self._squares / self._total) if self._total else float(self._squares > 0)

    def uneven(self, allowed: float) -> str:
        """What keeps within the bound as a whole and still is no rounding, as a clause; empty where nothing is."""
        lines = [(*self._worst_row, "output")] if self._worst_row[0] > (_LINE * allowed) ** 2 else []
        if self._columns is not None and self._total:
            away, due = self._columns
            # A small column beside large ones is rounded away; only what is also far above the others is damage.
            bad = (away > (_LINE * allowed) ** 2 * due) & (away > _ABOVE * away.mean())
            lines += [(away[at] / max(due[at], 1e-30), int(at), "input") for at in bad.nonzero()[0]]
        if lines:
            share, at, what = max(lines)
            return f"{what} {at} is off by {sqrt(share):.3g}"
        gain = self._product / self._total if self._total else 0.0
        return f"it is {1 + gain:.4g} times what it should be" if abs(gain) > _GAIN * allowed else ""
