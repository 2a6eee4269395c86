"""Bring a backup back as a data folder, whole or not at all; it never writes over one that holds anything."""

import os
import shutil
import tempfile
from contextlib import closing, suppress
from pathlib import Path

from voxpop.errors import UsageError, VoxpopError
from voxpop.keeping.accounts import alone
from voxpop.keeping.manifest import Manifest, digest, read
from voxpop.keeping.progress import Tell, watched
from voxpop.store.building import build
from voxpop.store.codes import Codes
from voxpop.store.index import PartitionIndex, index_of
from voxpop.store.local import LocalStore
from voxpop.store.reading import Reader
from voxpop.store.trouble import said

_AGAIN = "Restore from another backup; this one changed after it was made."


async def restore(source: Path, folder: Path, tell: Tell) -> Manifest:
    """Make `folder`, which must be empty or missing, of a backup; each file is checked, the index made anew.

    Raises UsageError for a folder that holds anything, VoxpopError for a backup that was cut off, lost a file or
    was changed, or a disk that is too small; then nothing is left behind.
    """
    manifest = read(source)
    _check_target(folder)
    place = await watched(lambda told: _staged(source, folder, manifest, told), tell)
    try:
        async with LocalStore(place) as store:
            if (held := (await store.totals())["posts"]) != manifest.posts:
                what = f"The backup {source} holds {held} posts and its manifest says {manifest.posts}."
                raise VoxpopError(what, _AGAIN)
        _settle(place, folder)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    return manifest


def _check_target(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        cure = f"Stop voxpop and move {folder} away, or name another folder with --data."
        raise UsageError(f"The data folder {folder} is not empty.", cure)


def _staged(source: Path, folder: Path, manifest: Manifest, tell: Tell) -> Path:
    """A copy of the backup beside `folder`, each file checked against the manifest."""
    parent = folder.absolute().parent
    with said(folder):
        parent.mkdir(parents=True, exist_ok=True)
        if (free := shutil.disk_usage(parent).free) < 2 * manifest.bytes:  # the index takes about as much again
            needed = f"{2 * manifest.bytes / 2**20:.0f} MiB and {free / 2**20:.0f} MiB are free at {parent}"
            raise VoxpopError(f"The restore may need {needed}.", "Free some space, or name another folder.")
        place = Path(tempfile.mkdtemp(prefix=f"{folder.name}.restoring-", dir=parent))
    try:
        with said(source):
            _fill(source, place, manifest, tell)
        with said(place):
            _index(place, manifest.posts, tell)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    return place


def _fill(source: Path, place: Path, manifest: Manifest, tell: Tell) -> None:
    done = 0
    for name, kept in manifest.files.items():
        if not (source / name).is_file():
            raise VoxpopError(f"The backup {source} lacks its file {name}.", _AGAIN)
        (place / name).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        alone(place / name)
        found = digest(source / name, lambda n: tell("copying", done + n, manifest.bytes), place / name)  # noqa: B023
        if found != kept:
            raise VoxpopError(f"The file {name} of the backup {source} is not what its manifest says.", _AGAIN)
        done += kept.bytes


def _index(place: Path, posts: int, tell: Tell) -> None:
    with closing(Reader(place)) as reader:
        codes, done = Codes(reader.catalog.secret()), 0
        for extent in reader.extents():
            part = PartitionIndex(index_of(place, extent.first), codes)
            build(reader, part, extent.first, 0, lambda n: tell("indexing", done + n, posts))  # noqa: B023
            done += part.documents


def _settle(place: Path, folder: Path) -> None:
    """Put the staged copy in place of an empty or missing folder, in one step."""
    _check_target(folder)
    with said(folder):
        if folder.exists():
            folder.rmdir()  # some systems rename over an empty folder, others refuse
        os.rename(place, folder)
        with suppress(OSError):  # not every system lets a folder be synced
            handle = os.open(folder.absolute().parent, os.O_RDONLY)
            os.fsync(handle)
            os.close(handle)
