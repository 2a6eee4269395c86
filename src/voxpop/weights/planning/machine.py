"""What a machine has that decides how a model runs on it, described by name, file or numbers; it measures nothing.

`machine_reading.py` reads the one that this runs on. 1 GB = 1e9 bytes; memory in GiB where people say so.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from voxpop.errors import UsageError
from voxpop.regular import regular

GIB = 2**30
USD = 0.87  # EUR a dollar: an assumption, said beside every price
_LARGEST_FILE = 1 << 20


@dataclass(frozen=True, slots=True)
class Gpu:
    """A graphics processor: `memory` in bytes, `rate` of its memory in bytes/s, `flops` in 16-bit floats, dense."""

    name: str
    memory: int
    rate: float
    flops: float
    fp8: bool = False
    watts: float = 0.0
    known: bool = True


@dataclass(frozen=True, slots=True)
class Price:
    """What a machine costs: EUR an hour (from, to) or EUR once; who said so, and when."""

    hour: tuple[float, float] | None = None
    buy: float | None = None
    source: str = ""
    date: str = ""


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine. Bytes, bytes a second, watts; 0 where something is not known.

    `rate`: how fast all cores together read memory, `measured` here or computed from its channels. `link`: from
    memory to one GPU. `unified`: the GPU's memory is the machine's.
    """

    name: str
    cores: int
    memory: int
    rate: float
    about: str = ""
    sockets: int = 1
    measured: bool = False
    instructions: tuple[str, ...] = ("avx2",)
    gpus: tuple[Gpu, ...] = ()
    unified: bool = False
    link: float = 25e9
    disk_free: int = 0
    disk_rate: float = 0.0
    watts: float = 0.0
    price: Price | None = None
    notes: tuple[str, ...] = ()

    @property
    def total_watts(self) -> float:
        """Under load, its GPUs included; 0 is unknown."""
        return self.watts + sum(g.watts for g in self.gpus)


def gpu_named(name: str, memory: int = 0) -> Gpu:
    """A GPU by what its driver calls it; one that is not listed is taken for a slow one and marked so."""
    short = "".join(name.lower().split()).replace("geforce", "").replace("nvidia", "")
    table = _data()["gpu"]
    key = max((k for k in table if k != "unknown" and k in short), key=len, default="unknown")
    row = table[key]
    return Gpu(
        name=name,
        memory=memory or int(row["gib"] * GIB),
        rate=row["rate"] * 1e9,
        flops=row["tera"] * 1e12,
        fp8=row["fp8"],
        watts=float(row["watts"]),
        known=key != "unknown",
    )


@cache
def described() -> Mapping[str, Machine]:
    """The machines that are shipped, by name."""
    return {name: _machine(name, row) for name, row in _data()["machine"].items()}


def machine_named(name: str) -> Machine:
    """A machine by the name of a shipped one, or by the TOML file that describes it; raises UsageError."""
    if found := described().get(name):
        return found
    path = Path(name)
    if path.suffix != ".toml" and not path.is_file():
        raise UsageError(
            f"There is no machine {name!r}.", f"Take one of: {', '.join(described())}, or a TOML file of your own."
        )
    try:
        with regular(path) as file:
            text = file.read(_LARGEST_FILE + 1)
        if len(text) > _LARGEST_FILE:
            raise UsageError(f"{path} is larger than 1 MiB.", "A machine is described in a few lines.")
        return _machine(path.stem, tomllib.loads(text.decode("utf-8")))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.", "Give the path of a TOML file.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{path} is no TOML: {error}.", "See docs/grok-1.md for an example.") from error


def changed(
    machine: Machine,
    *,
    ram: float | None = None,
    bandwidth: float | None = None,
    gpu: str | None = None,
    disk: float | None = None,
    watts: float | None = None,
    hour: float | None = None,
    buy: float | None = None,
) -> Machine:
    """The machine with what a user said of it: GiB, GB/s, `NAME` or `NAMExN` ("none" for no GPU), GB/s, W, EUR."""
    if ram is not None:
        machine = replace(machine, memory=int(ram * GIB))
    if bandwidth is not None:
        machine = replace(machine, rate=bandwidth * 1e9, measured=False)
    if gpu is not None:
        machine = replace(machine, gpus=_gpus(gpu), unified=False)
    if disk is not None:
        machine = replace(machine, disk_rate=disk * 1e9)
    if watts is not None:
        machine = replace(machine, watts=watts, gpus=tuple(replace(g, watts=0.0) for g in machine.gpus))
    if hour is not None or buy is not None:
        once = buy if buy is not None else machine.price.buy if machine.price and hour is None else None
        machine = replace(machine, price=Price((hour, hour) if hour is not None else None, once, "given by you"))
    return machine


def _gpus(text: str) -> tuple[Gpu, ...]:
    if text.lower() == "none":
        return ()
    name, _, number = text.rpartition("x")
    whole = text.lower() in _data()["gpu"]  # the x of rtx4090 is its own
    several = not whole and bool(name) and number.isdigit() and int(number) > 0
    if several and int(number) > 64:
        raise UsageError(f"{text} are too many GPUs.", "One machine has at most 64.")
    gpu = gpu_named(name if several else text)
    if not gpu.known:
        known = ", ".join(k for k in _data()["gpu"] if k != "unknown")
        raise UsageError(f"There is no GPU {gpu.name!r} in the table.", f"Take one of: {known}; x8 after it for 8.")
    return (gpu,) * (int(number) if several else 1)


_FIELDS = {
    *("about", "cores", "sockets", "memory", "rate", "instructions", "gpu", "gpus", "unified", "link"),
    *("disk", "disk_free", "watts", "price"),
}
# 0 says that something is not known; these are always.
_ABOVE_0 = {"cores", "sockets", "memory", "rate", "gpus", "link"}
_NUMBERS = {*_ABOVE_0, "disk", "disk_free", "watts"}
_MOST = 1e9


def _machine(name: str, row: Mapping[str, Any]) -> Machine:
    """From the fields of `hardware.toml`; raises UsageError for one that is missing, unknown or no number."""
    unknown = row.keys() - _FIELDS
    if unknown:
        raise UsageError(f"{name} has unknown fields: {', '.join(sorted(unknown))}.", f"Known: {_known()}.")
    missing = {"cores", "memory", "rate"} - row.keys()
    if missing:
        raise UsageError(f"{name} lacks {', '.join(sorted(missing))}.", f"Known: {_known()}.")
    _check_numbers(name, row)
    try:
        gpus = _gpus(f"{row['gpu']}x{row.get('gpus', 1)}") if row.get("gpu") else ()
        memory = int(row["memory"] * GIB)
        if row.get("unified"):
            gpus = tuple(replace(g, memory=memory) for g in gpus)
        return Machine(
            name=name,
            about=str(row.get("about", name)),
            cores=int(row["cores"]),
            sockets=int(row.get("sockets", 1)),
            memory=memory,
            rate=row["rate"] * 1e9,
            instructions=tuple(row.get("instructions", ("avx2",))),
            gpus=gpus,
            unified=bool(row.get("unified", False)),
            link=row.get("link", 25.0) * 1e9,
            disk_free=int(row.get("disk_free", 4000) * 1e9),
            disk_rate=row.get("disk", 0.0) * 1e9,
            watts=float(row.get("watts", 0)),
            price=_price(row.get("price")),
        )
    except (TypeError, ValueError, AttributeError, LookupError) as error:
        raise UsageError(f"{name} has a field of the wrong kind: {error}.", f"Known: {_known()}.") from error


def _check_numbers(name: str, row: Mapping[str, Any]) -> None:
    for field in _NUMBERS & row.keys():
        value, least = row[field], 1e-9 if field in _ABOVE_0 else 0
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < _MOST:
            what = f"{name} has a field of the wrong kind: {field} is {str(value)[:80]!r}."
            raise UsageError(what, f"Known: {_known()}.")


def _known() -> str:
    return ", ".join(sorted(_FIELDS))


def _price(row: Mapping[str, Any] | None) -> Price | None:
    if row is None:
        return None
    hour = row.get("hour_usd")
    return Price(
        hour=(hour[0] * USD, hour[1] * USD) if hour else None,
        buy=row["buy_usd"] * USD if "buy_usd" in row else None,
        source=str(row.get("source", "")),
        date=str(row.get("date", "")),
    )


@cache
def _data() -> dict[str, Any]:
    return tomllib.loads((files("voxpop.weights.planning") / "hardware.toml").read_text("utf-8"))
