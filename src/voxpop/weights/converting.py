"""One checkpoint from another: tensor by tensor, in bounded memory, gone on with after a kill.

It refuses, before it writes: a disk that is too small, a target that is the source or is there already, and to go
on with what was begun from another source.
"""

import glob
import hashlib
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from voxpop.errors import UsageError, VoxpopError
from voxpop.regular import regular
from voxpop.weights.formats import xai
from voxpop.weights.formats.mapped import announce, nbytes, release
from voxpop.weights.formats.sums import write_manifest
from voxpop.weights.tensors import Sink, Source

_SPARE = 64 << 20
_CLAIM_MOST = 1 << 16
# What belongs to a checkpoint, by its name.
_WEIGHTS = re.compile(
    r"^tensor\d{5}_\d{3}$|\.(safetensors|gguf|json)$|^(tokenizer\.model|chat_template\.jinja)$", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is: the tensor done last, bytes of the source done and in all, bytes a second, seconds left (None
    while unknown).
    """

    tensor: str
    done: int
    total: int
    rate: float = 0.0
    left_s: float | None = None

    def text(self) -> str:
        """As a line for who waits."""
        left = "" if self.left_s is None else f", {self.left_s // 60:.0f} min {self.left_s % 60:.0f} s left"
        return (
            f"{self.tensor}: {self.done / 1e9:.2f} of {self.total / 1e9:.2f} GB, {self.rate / 1e6:.0f} MB/s{left}"
        )


class Pace:
    """Counts what is done of `sizes`, in bytes by tensor, and says how long the rest will take."""

    def __init__(self, sizes: Mapping[str, int], clock: Callable[[], float] = time.monotonic) -> None:
        self._sizes, self._clock, self._began = sizes, clock, clock()
        self._total, self._done, self._now = sum(sizes.values()), 0, 0

    def skip(self, name: str) -> None:
        """This one was done before."""
        self._done += self._sizes[name]

    def step(self, name: str) -> Progress:
        """This one is done now."""
        self._done += self._sizes[name]
        self._now += self._sizes[name]
        rate = self._now / max(self._clock() - self._began, 1e-6)
        return Progress(name, self._done, self._total, rate, (self._total - self._done) / rate if rate else None)


def convert(source: Source, sink: Sink) -> Iterator[Progress]:
    """Store every tensor that an earlier run has not stored, in the order of the canonical names.

    In memory at once: what the sink makes of a part of one expert, and pages of one tensor of the source. The
    caller closes the sink.
    """
    before = dict(sink.done())
    sizes = {name: nbytes(source.read(name)) for name in source.shape.specs}
    pace = Pace(sizes)
    left = [name for name in sizes if name not in before]
    for name in before.keys() & sizes.keys():
        pace.skip(name)
    for name, following in zip(left, [*left[1:], None], strict=True):
        if following is not None:
            announce(source.read(following))
        tensor = source.read(name)
        sink.write(name, tensor)
        release(tensor)
        yield pace.step(name)


def written(
    source: Source,
    path: Path,
    target: Path,
    sink: Callable[[], Sink],
    *,
    need: int,
    what: Mapping[str, Any],
    force: bool = False,
) -> Iterator[Progress]:
    """Write `target` from the checkpoint at `path`, or go on with it; its manifest is there before it has its name.

    `need`: its bytes; `what` tells this conversion from others; `force`: what is at the target goes first. Raises
    VoxpopError or UsageError before anything is written where it cannot work.
    """
    refuse_unwritable(path, target, need, replaced=force)
    what = {"source": str(path.resolve()), "files": stamp(path), **what, "shape": asdict(source.shape)}
    try:
        with claimed(target, what, anew=force):
            begun = sink()
            yield from convert(source, begun)
            write_manifest(target, what, begun.done())
            begun.close()
    except OSError as error:
        cure = "Mend that, and run the same command again: it goes on where it was."
        raise VoxpopError(f"{target} cannot be written: {error.strerror}.", cure, code="unwritable") from error


def refuse_unwritable(
    source: Path, target: Path, need: int, *, free: int | None = None, replaced: bool = False
) -> None:
    """Raise before anything is written: VoxpopError or UsageError with the reason and the cure.

    `need`: bytes of the whole target; `free`: bytes free where it goes, None asks the system; `replaced`: what is
    there goes first. What an earlier run left counts as there.
    """
    here, there = source.resolve(), target.resolve()
    if here == there or here in there.parents or there in here.parents:
        raise UsageError(f"The target {target} is the source {source}, or one lies in the other.", "Name another.")
    if target.exists() and not replaced:
        raise UsageError(f"There is something at {target} already.", "Name another target, or give --force.")
    if os.path.lexists(target) and not _replaceable(target):
        raise UsageError(
            f"{target} is no checkpoint, and --force removes nothing else.", "Name another target, or remove it."
        )
    folder = next(parent for parent in there.parents if parent.exists())
    have = shutil.disk_usage(folder).free if free is None else free
    more = need + _SPARE - sum(map(_taken, [*leftovers(there), *([target] if target.exists() else [])]))
    if have < more:
        raise VoxpopError(
            f"{target} needs {more / 1e9:.2f} GB more; {folder} has {have / 1e9:.2f} GB free.",
            "Free some space, name a target on another disk, or a narrower type.",
            code="disk_full",
        )


def stamp(path: Path) -> str:
    """One digest (hex) of the names, sizes and times of a checkpoint's files: another when one was changed."""
    folder = xai.folder_of(path) or path
    files = sorted(folder.iterdir()) if folder.is_dir() else sorted(path.parent.glob(_parts_of(path.name)))
    about = [(file.name, file.stat()) for file in files if _WEIGHTS.search(file.name) and file.is_file()]
    rows = [(name, found.st_size, found.st_mtime_ns) for name, found in about]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def _parts_of(name: str) -> str:
    """A pattern of the file's name, or of those of all parts where it is one of many."""
    part = re.fullmatch(r"(.*)-\d{5}-of-(\d{5}\.gguf)", name)
    return f"{glob.escape(part[1])}-?????-of-{part[2]}" if part else glob.escape(name)


@contextmanager
def claimed(target: Path, what: Mapping[str, Any], *, anew: bool = False) -> Iterator[None]:
    """One writer of a target at a time, and a later one only goes on with the same: `what` says of which.

    `anew`: what is there, or was begun, goes first. The lock goes with the process; what was claimed stays until
    the end was reached. Raises VoxpopError.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    mine = json.dumps(what, sort_keys=True).encode()
    with _claim(target).open("a+b") as file:
        try:
            _lock(file.fileno())
            # One that ended meanwhile took the file's name away, and a third may have made it anew.
            mine_still = os.path.samestat(os.fstat(file.fileno()), _claim(target).stat())
        except OSError:
            mine_still = False
        if not mine_still:
            raise VoxpopError(f"{target} is being written by another process.", "Wait for it.", code="busy")
        file.seek(0)
        found = file.read(_CLAIM_MOST)
        if anew:
            _cleared(target)
        elif found and found != mine and any(leftovers(target)):
            raise _other(target, found, what)
        file.truncate(0)
        file.write(mine)
        file.flush()
        yield
        _claim(target).unlink()


def leftovers(target: Path) -> list[Path]:
    """What sinks left of a conversion to `target` that was cut."""
    name, stem = glob.escape(target.name), glob.escape(target.name.removesuffix(".gguf"))
    names = [f"{name}.part", f"{name}.journal", f"{stem}-?????-of-?????.gguf.part"]
    return [path for name in names for path in sorted(target.parent.glob(name))]


def remove(target: Path) -> None:
    """Delete a checkpoint, what was begun of one, and its manifest."""
    _cleared(target)
    _claim(target).unlink(missing_ok=True)


def _cleared(target: Path) -> None:
    for path in [target, target.with_name(f"{target.name}.sums.json"), *leftovers(target)]:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)


def _replaceable(target: Path) -> bool:
    """Whether nothing is lost but a checkpoint: a link, what is empty, or what has the looks of one and no more."""
    if target.is_symlink():
        return True
    if target.is_dir():
        folder = xai.folder_of(target) or target
        about = [*target.iterdir(), *(folder.iterdir() if folder != target else ())]
        return all(entry == folder or (entry.is_file() and _WEIGHTS.search(entry.name)) for entry in about)
    with regular(target) as file:
        return file.read(4) in (b"GGUF", b"")


def _other(target: Path, found: bytes, what: Mapping[str, Any]) -> VoxpopError:
    """What was begun there is not `what`."""
    try:
        before = json.loads(found)
        changed = [key for key, value in json.loads(json.dumps(what)).items() if before.get(key) != value]
    except (ValueError, AttributeError, RecursionError):
        before, changed = {}, []
    if changed == ["files"]:
        said = f"The files of {what['source']} have changed since {target} was begun"
    else:
        pairs = (f"{key} {before.get(key)!r:.300}" for key in changed if key not in ("files", "shape"))
        said = f"{target} was begun as another conversion: {', '.join(pairs) or 'of another model'}"
    cure = "Give that source and those options to finish it, or --force to begin anew."
    return VoxpopError(f"{said}.", cure, code="other_conversion")


def _taken(left: Path) -> int:
    """Bytes on the disk: a file of holes takes none."""
    files = left.rglob("*") if left.is_dir() else [left]
    return sum(file.stat().st_blocks * 512 for file in files)


def _claim(target: Path) -> Path:
    return target.with_name(f"{target.name}.claim")


def _lock(descriptor: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
