"""What a backup says of itself, in `manifest.json`, written last; a folder without it is refused as a backup."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from voxpop.errors import VoxpopError

FORMAT = 1
NAME = "manifest.json"
_CHUNK = 1 << 20
_LONGEST = 16 << 20
_OTHER = "Restore from another backup."


@dataclass(frozen=True, slots=True)
class Kept:
    """A file of a backup."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """`taken_at` is ISO 8601 in UTC: the moment that the backup shows. `files` by path from the backup's folder."""

    voxpop: str
    taken_at: str
    posts: int
    tombstones: int
    files: dict[str, Kept]
    format: int = FORMAT

    @property
    def bytes(self) -> int:
        """What the files take together."""
        return sum(kept.bytes for kept in self.files.values())

    def write(self, folder: Path) -> None:
        """The last step of a backup: it is whole from now on, also after a power cut."""
        part = folder / f"{NAME}.part"
        with part.open("wb") as file:
            file.write(orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2))
            file.flush()
            os.fsync(file.fileno())
        part.replace(folder / NAME)


def read(folder: Path) -> Manifest:
    """The manifest of a backup. Raises VoxpopError where there is none, or it is not of a format that we read."""
    path = folder / NAME
    if not path.is_file():
        what = f"{folder} is not a whole backup: it has no {NAME}"
        raise VoxpopError(f"{what} (it was cut off, or never was one).", _OTHER)
    try:
        with path.open("rb") as file:
            raw = orjson.loads(file.read(_LONGEST))
        if raw["format"] != FORMAT:
            what = f"The backup {folder} is of format {raw['format']!r}; this voxpop reads {FORMAT}."
            raise VoxpopError(what, "Restore it with the voxpop that made it, or a newer one.")
        files = {str(name): Kept(int(f["bytes"]), str(f["sha256"])) for name, f in raw["files"].items()}
        counts = int(raw["posts"]), int(raw["tombstones"])
        manifest = Manifest(str(raw["voxpop"]), str(raw["taken_at"]), *counts, files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise VoxpopError(f"The manifest of the backup {folder} cannot be read: {error!r}.", _OTHER) from error
    for name in files:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise VoxpopError(f"The manifest of {folder} names a file outside of it: {name!r}.", _OTHER)
    return manifest


def digest(path: Path, tell: Callable[[int], None], copy: Path | None = None) -> Kept:
    """Size and SHA-256 of a file; what was read is also written to `copy`. Both are on the disk afterwards."""
    sum_, size = hashlib.sha256(), 0
    with path.open("rb") as file, (copy or Path(os.devnull)).open("wb") as out:
        while data := file.read(_CHUNK):
            sum_.update(data)
            out.write(data)
            size += len(data)
            tell(size)
        out.flush()
        os.fsync(out.fileno() if copy else file.fileno())
    return Kept(size, sum_.hexdigest())
