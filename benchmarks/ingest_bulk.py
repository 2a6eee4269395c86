"""Posts a second from a file to searchable, as fast as it goes: wall and CPU."""

import asyncio
import tempfile
import time
from pathlib import Path

import orjson

from _store import RECORDING, generated, report
from voxpop.ingest import Progress, ingest
from voxpop.sources.replay import ReplaySource
from voxpop.store.local import LocalStore


def recording(folder: Path) -> Path:
    if RECORDING.exists():
        return RECORDING
    path = folder / "generated.jsonl"
    with path.open("wb") as file:
        for event in generated(100_000):
            post = event.post
            row = {"id": post.id, "platform": "x", "author": post.author.handle, "text": post.text}
            at = f"2026-01-01T{post.witnessed_at // 3_600_000_000:02}:00:00Z"
            file.write(orjson.dumps({**row, "created_at": at}) + b"\n")
    return path


async def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        source = ReplaySource(recording(Path(temporary)))
        progress = Progress(source.name, source.network, False)
        async with LocalStore(Path(temporary) / "store") as store:
            wall, cpu = time.perf_counter(), time.process_time()
            await ingest(source, store, progress)
            await store.commit()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            assert await store.check() == []
        size = sum(p.stat().st_size for p in (Path(temporary) / "store").rglob("*") if p.is_file())
    report(
        figure="ingest_bulk",
        posts=progress.posts,
        posts_per_cpu_s=round(progress.posts / cpu),
        posts_per_s=round(progress.posts / wall),
        bytes_per_post=round(size / max(progress.added, 1)),
    )


asyncio.run(main())
