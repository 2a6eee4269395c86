"""A full disk stops ingest in words, goes on answering, and loses nothing once there is room again."""

import asyncio
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos_lives import KILLS, Lives

SIZE, LEFT = 48 << 20, 3 << 20
ROUNDS = max(KILLS // 5, 4)
REST = 2000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes."""
    if sys.platform != "linux" or os.geteuid():
        pytest.skip("only root of a Linux may mount a small file system")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(disk)]
    if (done := subprocess.run(mount, capture_output=True, text=True, check=False)).returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield disk
    gc.collect()  # the index's files stay mapped until then
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_loses_nothing(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    full = 0
    with Lives(small_disk / "store", seed=7) as lives:
        assert lives.live(until=4000, killed=False) == 0
        for turn in range(ROUNDS):
            room = os.statvfs(small_disk)
            ballast.write_bytes(b"x" * max(room.f_bavail * room.f_frsize - lives.luck.randrange(LEFT), 0))
            code = lives.live(until=10**9, killed=turn % 3 == 2)
            assert code in (3, -signal.SIGKILL)
            full += code == 3
            ballast.unlink()
            asyncio.run(lives.look(closely=turn % 4 == 3))
        assert full
        assert all("disk" in said["failed"] or "space" in said["failed"] for said in lives.failures), lives.failures
        assert any(said.get("found") for said in lives.failures), "no life that met a full disk could still answer"
        end = lives.acknowledged + REST
        assert lives.live(until=end, killed=False) == 0, lives.failures
        asyncio.run(lives.look(closely=True))
        assert lives.truth.seen == end
