"""Opens a file that somebody else named, and refuses what is none: pipes make wait, devices never end."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO


def regular(path: Path) -> BinaryIO:
    """The file at `path`, or at the end of its links, to read. Raises OSError, also for what is no regular file."""
    file = path.open("rb") if not hasattr(os, "O_NONBLOCK") else open(path, "rb", opener=_at_once)  # noqa: SIM115
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise OSError(errno.EINVAL, "it is a pipe or a device, not a file", str(path))


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
