"""Models are pulled whole, resumed where cut, checked, and never by running anything."""

import asyncio
import hashlib
import os
import shutil
import zipfile
from collections import namedtuple
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from voxpop import models
from voxpop.errors import UsageError, VoxpopError
from voxpop.models import Hub, Model, Packages, Progress, catalogue, path_of, pull

WEIGHTS = bytes(i * 31 % 251 for i in range(3_000_000))
MODEL = Model(
    "tiny",
    "MIT",
    len(WEIGHTS),
    64,
    1000,
    "none",
    1,
    "",
    hashlib.sha256(WEIGHTS).hexdigest(),
    Hub("who/tiny", "t.gguf"),
)


@dataclass
class FakeHub:
    """Speaks just enough HTTP: HEAD, GET and Range; `cut` bytes end the first body too early."""

    body: bytes = WEIGHTS
    cut: int = 0
    status: int = 200
    checksum: str = ""
    ranges: list[str] = field(default_factory=list)
    url: str = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        asked = next((row[7:] for row in head.split("\r\n") if row.lower().startswith("range: ")), "")
        self.ranges.append(asked)
        first = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        rows = [f"HTTP/1.1 {206 if asked else self.status} X", f"Content-Length: {len(self.body) - first}"]
        rows += [f"Content-Range: bytes {first}-{len(self.body) - 1}/{len(self.body)}"] if asked else []
        rows += [f'X-Linked-Etag: "{self.checksum}"', f"X-Linked-Size: {len(self.body)}"] if self.checksum else []
        writer.write("\r\n".join([*rows, "Connection: close", "", ""]).encode())
        if not head.startswith("HEAD"):
            writer.write(self.body[first : self.cut or None])
            self.cut = 0
        await writer.drain()
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def serving(hub: FakeHub) -> AsyncIterator[FakeHub]:
    async with await asyncio.start_server(hub.answer, "127.0.0.1", 0) as server:
        hub.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield hub


async def pulled(model: Model, folder: Path, hub: str) -> list[Progress]:
    return [progress async for progress in pull(model, folder, hub=hub)]


async def closed_port() -> str:
    server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return f"http://127.0.0.1:{port}"


def wheel(folder: Path, part: int, data: bytes) -> str:
    """A wheel that carries `data`; returns its hash."""
    path = folder / f"tiny_part{part}-1.0-py3-none-any.whl"
    info = f"tiny_part{part}-1.0.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"tiny_part{part}/w{part}.bin", data)
        archive.writestr(f"tiny_part{part}/__init__.py", "raise SystemExit('a package was run')")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tiny-part{part}\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    """The model in three wheels in a local folder, and pip told to look nowhere else."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    cuts = (WEIGHTS[:1_200_000], WEIGHTS[1_200_000:2_400_000], WEIGHTS[2_400_000:])
    hashes = tuple(wheel(shelf, i, data) for i, data in enumerate(cuts, 1))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    parts = Packages("tiny-part{n}", "1.0", "tiny_part{n}/w{n}.bin", 1_200_000, hashes)
    return replace(MODEL, hub=None, packages=parts)


async def test_pull_resumes_after_a_cut(tmp_path: Path) -> None:
    async with serving(FakeHub(cut=1_000_000)) as hub:
        with pytest.raises(VoxpopError, match=r"peer|connection ended") as error:
            await pulled(MODEL, tmp_path, hub.url)
        assert error.value.code == "unreachable"
        assert not path_of(tmp_path, MODEL).exists()
        had = (tmp_path / "tiny.gguf.part").stat().st_size
        steps = await pulled(MODEL, tmp_path, hub.url)
    assert hub.ranges == ["", f"bytes={had}-"]
    assert had > 0
    assert path_of(tmp_path, MODEL).read_bytes() == WEIGHTS
    assert steps[-1].path == path_of(tmp_path, MODEL)
    assert steps[-2].received == steps[-2].total == len(WEIGHTS)
    assert not (tmp_path / "tiny.gguf.part").exists()


async def test_what_is_there_is_not_fetched_again(tmp_path: Path) -> None:
    path_of(tmp_path, MODEL).write_bytes(WEIGHTS)
    steps = await pulled(MODEL, tmp_path, await closed_port())
    assert [step.source for step in steps] == ["disk"]


async def test_wrong_bytes_are_deleted(tmp_path: Path) -> None:
    async with serving(FakeHub(body=WEIGHTS[::-1])) as hub:
        with pytest.raises(VoxpopError, match=MODEL.sha256) as error:
            await pulled(MODEL, tmp_path, hub.url)
    assert error.value.code == "wrong_checksum"
    assert not [p for p in tmp_path.iterdir() if p.name.startswith("tiny")]


async def test_an_unpinned_model_is_checked_by_the_hubs_checksum(tmp_path: Path) -> None:
    unpinned = replace(MODEL, sha256="")
    async with serving(FakeHub(checksum=MODEL.sha256)) as hub:
        await pulled(unpinned, tmp_path, hub.url)
    assert path_of(tmp_path, MODEL).read_bytes() == WEIGHTS
    async with serving(FakeHub(checksum="0" * 64)) as hub:
        with pytest.raises(VoxpopError, match="0" * 64):
            await pulled(replace(unpinned, name="other"), tmp_path, hub.url)
    async with serving(FakeHub()) as hub:
        with pytest.raises(VoxpopError, match="no usable checksum"):
            await pulled(replace(unpinned, name="third"), tmp_path, hub.url)


async def test_no_network_names_what_was_tried_and_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    gone = Packages("tiny-part{n}", "1.0", "x", len(WEIGHTS), ("0" * 64,))
    hub = await closed_port()
    with pytest.raises(VoxpopError) as error:
        await pulled(replace(MODEL, packages=gone), tmp_path, hub)
    assert f"{hub}/who/tiny/resolve/main/t.gguf" in error.value.what
    assert "package tiny-part1==1.0" in error.value.what
    assert "VOXPOP_HUB" in error.value.cure
    assert str(path_of(tmp_path, MODEL)) in error.value.cure


async def test_plain_http_is_for_this_machine_only(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not https"):
        await pulled(MODEL, tmp_path, "http://hub.example")


async def test_a_full_disk_is_refused_before_anything_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 5, 5))
    async with serving(FakeHub()) as hub:
        with pytest.raises(VoxpopError, match=r"0\.00 GB free") as error:
            await pulled(MODEL, tmp_path, hub.url)
    assert error.value.code == "disk_full"
    assert hub.ranges == []


async def test_parts_in_wheels_are_joined_and_never_run(tmp_path: Path, packaged: Model) -> None:
    steps = await pulled(packaged, tmp_path / "m", "")
    assert [s.received for s in steps] == [1_200_000, 2_400_000, 3_000_000, 3_000_000]
    assert steps[1].left_s is not None
    assert path_of(tmp_path / "m", packaged).read_bytes() == WEIGHTS


async def test_parts_resume_at_a_whole_part(tmp_path: Path, packaged: Model) -> None:
    (tmp_path / "tiny.gguf.part").write_bytes(WEIGHTS[:1_300_000])
    (tmp_path / "shelf" / "tiny_part1-1.0-py3-none-any.whl").unlink()
    await pulled(packaged, tmp_path, "")
    assert path_of(tmp_path, packaged).read_bytes() == WEIGHTS


@pytest.mark.parametrize(
    "spoil",
    [
        lambda p: replace(p, sha256=(p.sha256[0], "0" * 64, p.sha256[2])),
        lambda p: replace(p, member="tiny_part{n}/absent.bin"),
        lambda p: replace(p, part_size=1_000_000),
    ],
    ids=["hash", "member", "size"],
)
async def test_a_wheel_that_is_not_as_pinned_is_refused(
    tmp_path: Path, packaged: Model, spoil: Callable[[Packages], Packages]
) -> None:
    assert packaged.packages is not None
    with pytest.raises(VoxpopError) as error:
        await pulled(replace(packaged, packages=spoil(packaged.packages)), tmp_path, "")
    assert error.value.code == "unreachable"
    assert not path_of(tmp_path, packaged).exists()


async def test_one_puller_at_a_time(tmp_path: Path) -> None:
    async with serving(FakeHub()) as hub:
        first = pull(MODEL, tmp_path, hub=hub.url)
        await anext(first)
        with pytest.raises(VoxpopError, match="another process"):
            await pulled(MODEL, tmp_path, hub.url)
        async for _ in first:
            pass
    assert path_of(tmp_path, MODEL).exists()


def test_remove_takes_all_that_was_made(tmp_path: Path) -> None:
    path_of(tmp_path, MODEL).write_bytes(b"12345")
    (tmp_path / "tiny.openvino").mkdir()
    (tmp_path / "tiny.openvino" / "model.bin").write_bytes(b"123")
    assert models.installed(tmp_path, [MODEL]) == (MODEL,)
    assert models.remove(tmp_path, MODEL) == 8
    assert models.installed(tmp_path, [MODEL]) == ()
    with pytest.raises(VoxpopError, match="not on this machine"):
        models.remove(tmp_path, MODEL)


def test_the_best_that_fits_and_can_be_had() -> None:
    small, large = replace(MODEL, name="small", rank=1), replace(MODEL, name="large", rank=2, memory=5000)
    plumbing = replace(MODEL, name="plumbing", rank=0, memory=1)
    known, names = [small, large, plumbing], {"small", "large", "plumbing"}
    assert models.best_for(9000, names, known) == large
    assert models.best_for(4000, names, known) == small
    assert models.best_for(9000, {"small"}, known) == small
    assert models.best_for(10, names, known) is None


def test_every_entry_is_complete_and_open() -> None:
    assert len({m.name for m in catalogue()}) == len(catalogue()) >= 4
    for model in catalogue():
        assert model.licence in ("Apache-2.0", "MIT")
        assert model.hub or model.packages or model.how
        if model.packages:
            parts = model.packages
            assert len(model.sha256) == 64
            assert -(-model.size // parts.part_size) == len(parts.sha256) == len(set(parts.sha256))
            assert all(len(value) == 64 for value in parts.sha256)
    assert models.resolve("Qwen3-4B").name == "qwen3-4b"
    with pytest.raises(UsageError, match="smollm2-135m-instruct"):
        models.resolve("gpt")
    assert "qwen3-8b" in models.obtainable()
    assert "qwen3-8b" not in models.obtainable(hub=False)


def test_the_hub_can_be_a_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with serving(FakeHub()) as hub:
            monkeypatch.setitem(os.environ, "VOXPOP_HUB", hub.url)
            assert [p async for p in pull(MODEL, tmp_path)][-1].path == path_of(tmp_path, MODEL)

    asyncio.run(run())
