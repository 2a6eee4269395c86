"""Reads this machine: cores, memory and how fast it is read, GPUs, disk; what cannot be read is 0, never an error.

Bounded: two seconds and 512 MiB for memory, four and 256 MiB for the disk, five for each driver's tool.
The files of Linux are read under `root`; elsewhere, and for Apple, the system's own tools are asked.
"""

import ctypes
import mmap
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import orjson

from voxpop.cores import cores_of
from voxpop.weights.planning.machine import Gpu, Machine, gpu_named

_TOOL_S = 5.0
_ROUNDS, _ROUND_S = 3, 0.25
_READ_AT_MOST = 512 << 20
_DISK_BYTES = 256 << 20
_DISK_S = 2.0
_BLOCK = 4 << 20

Asked = Callable[[Sequence[str]], str]


def asked(command: Sequence[str]) -> str:
    """What a tool prints; "" where it is absent, fails, or takes longer than five seconds."""
    path = shutil.which(command[0])
    if not path:
        return ""
    with suppress(OSError, subprocess.SubprocessError, UnicodeDecodeError):
        done = subprocess.run(  # noqa: S603 - fixed commands, no shell
            [path, *command[1:]], capture_output=True, timeout=_TOOL_S, check=True, stdin=subprocess.DEVNULL
        )
        return done.stdout[: 1 << 20].decode("utf-8")
    return ""


def this_machine(folder: Path, root: Path = Path("/"), ask: Asked = asked, *, measure: bool = True) -> Machine:
    """The machine that this runs on; `folder` is where models would lie."""
    apple = ask(["sysctl", "-n", "machdep.cpu.brand_string"]).strip() if sys.platform == "darwin" else ""
    memory = memory_of(root) or _number(ask(["sysctl", "-n", "hw.memsize"]) if apple else "")
    cores, sockets = cores_of(root)
    gpus = nvidia(ask) or amd(ask)
    unified = False
    if apple.startswith("Apple"):
        gpus, unified = (gpu_named(apple, memory),), True
    notes = [f"{g.name} is not in the table of GPUs: taken for a slow one." for g in gpus if not g.known]
    free = 0
    with suppress(OSError):
        free = shutil.disk_usage(folder).free
    return Machine(
        name="this machine",
        about=f"{_model(root) or apple or 'this machine'}, {cores} cores",
        cores=cores,
        sockets=sockets,
        memory=memory,
        rate=read_rate(cores, memory) if measure else 0.0,
        measured=True,
        instructions=instructions(root),
        gpus=gpus,
        unified=unified,
        disk_free=free,
        disk_rate=disk_rate(folder, free) if measure else 0.0,
        watts=package_watts(root),
        notes=tuple(dict.fromkeys(notes + (_busy(cores) if measure else []))),
    )


def memory_of(root: Path) -> int:
    """Bytes that this process could still have: what the system has available, or its control group allows."""
    available = 0
    for line in _text(root / "proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            available = _number(line.split()[1]) * 1024
    group = root / "sys/fs/cgroup"
    for most, used in (
        (group / "memory.max", group / "memory.current"),
        (group / "memory/memory.limit_in_bytes", group / "memory/memory.usage_in_bytes"),
    ):
        limit = _number(_text(most))
        if limit and limit < 1 << 60:
            available = min(available, max(0, limit - _number(_text(used))))
    return available


def instructions(root: Path) -> tuple[str, ...]:
    """Those of the processor's instruction sets that quantised weights gain from."""
    text = _text(root / "proc/cpuinfo")
    flags = next((set(x.partition(":")[2].split()) for x in text.splitlines() if x.startswith("flags")), set())
    names = (("avx2", "avx2"), ("avx512f", "avx512"), ("avx512_vnni", "vnni"), ("amx_int8", "amx"))
    return tuple(name for flag, name in names if flag in flags)


def nvidia(ask: Asked) -> tuple[Gpu, ...]:
    """NVIDIA's, as its driver tells them."""
    query = "--query-gpu=name,memory.total,power.limit"
    text = ask(["nvidia-smi", query, "--format=csv,noheader,nounits"])
    rows = [[cell.strip() for cell in line.rsplit(",", 2)] for line in text.splitlines() if line.count(",") >= 2]
    return tuple(gpu_named(name, _number(mib) << 20) for name, mib, _ in rows if _number(mib))


def amd(ask: Asked) -> tuple[Gpu, ...]:
    """AMD's, as its driver tells them."""
    text = ask(["rocm-smi", "--showproductname", "--showmeminfo", "vram", "--json"])
    with suppress(orjson.JSONDecodeError, AttributeError):
        cards = [card for card in orjson.loads(text).values() if "VRAM Total Memory (B)" in card]
        return tuple(
            gpu_named(str(card.get("Card Series") or card.get("Card series") or "AMD"), _number(total))
            for card in cards
            if (total := str(card["VRAM Total Memory (B)"])) and _number(total)
        )
    return ()


def package_watts(root: Path) -> float:
    """The processors' long-term power limit, where the system tells it."""
    files = (root / "sys/class/powercap").glob("intel-rapl:[0-9]/constraint_0_power_limit_uw")
    return sum(_number(_text(path)) for path in files) / 1e6


def read_rate(cores: int, memory: int) -> float:
    """Bytes a second that all cores together read from memory: the best of three rounds of memchr; 0 unknown.

    Each thread looks for a byte that its part does not hold; ctypes lets go of the interpreter meanwhile.
    """
    try:
        find = (ctypes.cdll.msvcrt if sys.platform == "win32" else ctypes.CDLL(None)).memchr
    except (OSError, AttributeError):
        return 0.0
    find.argtypes, find.restype = (ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t), ctypes.c_void_p
    each = max(8 << 20, min(_READ_AT_MOST, memory // 8) // max(1, cores)) & ~(mmap.PAGESIZE - 1)
    rates = [[0.0] * _ROUNDS for _ in range(cores)]
    together = threading.Barrier(cores)

    def read(number: int) -> None:
        part = (ctypes.c_char * each)()
        ctypes.memset(part, 1, each)  # touched, or every page would be the one page of zeros
        for turn in range(_ROUNDS):
            together.wait(timeout=30)
            began, times, taken = time.perf_counter(), 0, 0.0
            while taken < _ROUND_S:
                find(part, 2, each)
                times, taken = times + 1, time.perf_counter() - began
            rates[number][turn] = times * each / taken

    threads = [threading.Thread(target=read, args=(n,), daemon=True) for n in range(cores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return max(sum(rate[turn] for rate in rates) for turn in range(_ROUNDS))


def disk_rate(folder: Path, free: int) -> float:
    """Bytes a second that a file just written is read at, past the system's page cache; 0 unknown.

    The drive's own cache, or the host's under a virtual machine, may still flatter it.
    """
    size = min(_DISK_BYTES, free // 8) & ~(_BLOCK - 1)
    if size < _BLOCK or not hasattr(os, "posix_fadvise"):
        return 0.0
    with suppress(OSError), tempfile.NamedTemporaryFile(dir=folder, prefix=".voxpop-read-") as file:
        block, began = os.urandom(_BLOCK), time.perf_counter()
        written = 0
        while written < size and time.perf_counter() - began < _DISK_S:
            written += file.write(block)
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return _read_past_cache(Path(file.name))
    return 0.0


def _read_past_cache(path: Path) -> float:
    direct = getattr(os, "O_DIRECT", 0)
    try:
        descriptor = os.open(path, os.O_RDONLY | direct)
    except OSError:  # a file system without direct reads
        descriptor = os.open(path, os.O_RDONLY)
    with mmap.mmap(-1, _BLOCK) as block:
        try:
            read, began = 0, time.perf_counter()
            while (count := os.preadv(descriptor, [block], read)) and time.perf_counter() - began < _DISK_S:
                read += count
            return read / max(1e-6, time.perf_counter() - began)
        finally:
            os.close(descriptor)


def _busy(cores: int) -> list[str]:
    """What is measured beside other work is too low."""
    with suppress(OSError, AttributeError):
        if (load := os.getloadavg()[0]) > cores / 2:
            return [
                f"Other programs were busy meanwhile (a load of {load:.0f} on {cores} cores): measured too low."
            ]
    return []


def _model(root: Path) -> str:
    for line in _text(root / "proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return ""


def _text(path: Path) -> str:
    """A small file of the system; "" where there is none."""
    with suppress(OSError, UnicodeDecodeError), path.open("rb") as file:
        return file.read(1 << 20).decode("utf-8")
    return ""


def _number(text: str) -> int:
    digits = text.strip().partition(".")[0]
    return int(digits) if digits.isdigit() else 0
