"""The checksum of every tensor as it is stored, and the manifest of them beside a checkpoint; it judges nothing."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxpop.errors import VoxpopError
from voxpop.regular import regular
from voxpop.weights.tensors import Packed, Quantised, Tensor

_MOST = 64 << 20  # bytes of a manifest that are read; Grok-1's has 80 kB


def manifest_of(path: Path) -> Path:
    """Where the checksums of the checkpoint at `path` stand."""
    return path.with_name(f"{path.name}.sums.json")


def checksum(tensor: Tensor) -> str:
    """SHA-256 (hex) of a read tensor's bytes as they lie in its file: expert by expert, int8 before its scales."""
    digest = hashlib.sha256()
    for array in _arrays(tensor):
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def read_manifest(path: Path) -> dict[str, str]:
    """Checksums by tensor of the checkpoint at `path`; none without a manifest. VoxpopError for a bad one."""
    manifest = manifest_of(path)
    if not manifest.exists():
        return {}
    with regular(manifest) as file:
        text = file.read(_MOST)
    try:
        sums = json.loads(text)["sums"]
        if all(isinstance(value, str) and len(value) == 64 for value in sums.values()):
            return dict(sums)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    raise VoxpopError(f"{manifest} is no list of checksums.", "Remove it, or convert again.", code="bad_manifest")


def write_manifest(path: Path, what: Mapping[str, Any], sums: Mapping[str, str]) -> None:
    """Put a manifest beside `path`, whole or not at all; `what` says from which source it was made, and how."""
    manifest = manifest_of(path)
    scratch = manifest.with_name(f"{manifest.name}.part")
    with scratch.open("w", encoding="utf-8") as file:
        file.write(json.dumps({**what, "sums": dict(sorted(sums.items()))}, indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(manifest)


def _arrays(tensor: Tensor) -> Iterator[NDArray[Any]]:
    match tensor:
        case Quantised(weight, scales):
            yield from weight if weight.ndim == 3 else [weight]
            yield scales
        case Packed(data):
            yield from data if data.ndim == 3 else [data]
        case _:
            for array in tensor if tensor.ndim == 3 else [tensor]:
                yield array.T if array.T.flags.c_contiguous else array
