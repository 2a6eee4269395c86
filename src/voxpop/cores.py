"""How many cores this process may use: physical ones, each once, and no more than a control group's quota."""

import os
from contextlib import suppress
from pathlib import Path


def cores_of(root: Path = Path("/")) -> tuple[int, int]:
    """Physical cores that this process may use, and sockets; a quota of a control group counts.

    `root` is where `sys` lies. Where the system tells nothing, each processor counts as a core.
    """
    mine = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    found: set[tuple[str, str]] = set()
    for folder in sorted((root / "sys/devices/system/cpu").glob("cpu[0-9]*")):
        if root == Path("/") and int(folder.name[3:]) not in mine:
            continue
        core = _text(folder / "topology/core_id").strip()
        if core:
            found.add((_text(folder / "topology/physical_package_id").strip(), core))
    cores = len(found) or len(mine)
    quota = _text(root / "sys/fs/cgroup/cpu.max").split()
    if len(quota) == 2 and quota[0].isdigit() and int(quota[1]):
        cores = max(1, min(cores, -(-int(quota[0]) // int(quota[1]))))
    return cores, max(1, len({package for package, _ in found}))


def _text(path: Path) -> str:
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text("ascii")
    return ""
