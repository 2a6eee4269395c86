"""A package brings a source of its own: the example works as an installed package would, a broken one is named.

Nothing is built: the environment of a test may hold neither the build tool nor a network. What an installer leaves,
the module and a `.dist-info` with the entry points of its pyproject.toml, is laid into a folder instead.
"""

import asyncio
import json
import shutil
import signal
import sys
import time
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from conftest import environment, voxpop
from voxpop.simulator.feeds import FeedServer, Trouble

EXAMPLE = Path(__file__).parents[1] / "examples" / "voxpop-source-example"


def lay(folder: Path, name: str, points: dict[str, str]) -> None:
    """What an installer would leave of a package's metadata."""
    info = folder / f"{name.replace('-', '_')}-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n")
    lines = "".join(f"{key} = {value}\n" for key, value in points.items())
    (info / "entry_points.txt").write_text(f"[voxpop.sources]\n{lines}")


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text("utf-8"))["project"]
    lay(folder, project["name"], project["entry-points"]["voxpop.sources"])
    shutil.copy(EXAMPLE / "voxpop_source_example.py", folder)
    return folder


@pytest.fixture
async def server() -> AsyncIterator[FeedServer]:
    one = FeedServer()
    await one.start()
    yield one
    await one.stop()


def quake(n: int, updated: int, **changes: object) -> dict[str, Any]:
    about = {
        "title": f"M 4.{n} - Harbour Ridge",
        "time": 1_893_456_000_000,
        "updated": updated,
        "url": "https://x.example/",
    }
    return {"id": f"q{n}", "properties": about | changes}


def say(server: FeedServer, *features: object) -> None:
    server.troubles["/quakes.json"] = Trouble(body=json.dumps({"features": features}).encode())


async def ingest(server: FeedServer, installed: Path, data: Path, looks: int = 3) -> dict[str, Any]:
    """Ingest until the server was asked so many times more; what `voxpop search` then finds, by id."""
    spec = f"quakes:{server.url}/quakes.json?every=0.05"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "voxpop.cli", "ingest", "--source", spec, "--data", str(data),
        env=environment(PYTHONPATH=str(installed)),
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    end, wanted = time.monotonic() + 20, len(server.asked.requests) + looks
    while len(server.asked.requests) < wanted and process.returncode is None and time.monotonic() < end:
        await asyncio.sleep(0.01)
    if process.returncode is None:
        process.send_signal(signal.SIGINT)
    _, errors = await asyncio.wait_for(process.communicate(), 20)
    assert len(server.asked.requests) >= wanted, errors.decode()
    found = await asyncio.to_thread(voxpop, "search", "harbour", "--data", str(data), "--json")
    return {post["id"]: post for post in json.loads(found.stdout)["posts"]}


async def test_the_example_is_a_source_like_any_other(server: FeedServer, installed: Path, tmp_path: Path):
    listed = await asyncio.to_thread(
        voxpop, "sources", "--json", PYTHONPATH=str(installed), VOXPOP_STORAGE_DATA=str(tmp_path)
    )
    about = {row["source"]: row["about"] for row in json.loads(listed.stdout)["sources"]}
    assert about["quakes"] == "earthquakes of the last hour: quakes?every=60"
    say(server, quake(1, 10), quake(2, 20), {"id": 3}, None)
    assert set(await ingest(server, installed, tmp_path / "data")) == {"quakes:q1", "quakes:q2"}
    say(server, quake(1, 30, status="deleted"), quake(2, 40, title="M 5.2 - Harbour Ridge, revised"))
    found = await ingest(server, installed, tmp_path / "data")
    assert {id_: post["text"] for id_, post in found.items()} == {"quakes:q2": "M 5.2 - Harbour Ridge, revised"}
    server.troubles["/quakes.json"] = Trouble(503)
    assert set(await ingest(server, installed, tmp_path / "data")) == {"quakes:q2"}


def test_a_wrong_option_of_a_package_is_refused_like_ours(installed: Path, tmp_path: Path):
    done = voxpop("ingest", "--source", "quakes?every=never", "--data", str(tmp_path), PYTHONPATH=str(installed))
    assert (done.returncode, "Every 'never' seconds is not possible." in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("point", "message"),
    [
        (
            "no_such_module:KIND",
            "The source 'broken' (no_such_module:KIND) failed: No module named 'no_such_module'.",
        ),
        ("json:dumps", "The source 'broken' (json:dumps) is no Kind. See docs/plugins.md."),
    ],
)
def test_a_broken_package_is_named(tmp_path: Path, point: str, message: str):
    lay(tmp_path / "site", "broken", {"broken": point})
    done = voxpop("sources", PYTHONPATH=str(tmp_path / "site"), VOXPOP_STORAGE_DATA=str(tmp_path))
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_package_cannot_take_a_name_of_ours(tmp_path: Path):
    lay(tmp_path / "site", "thief", {"bluesky": "voxpop.sources.mastodon:KIND"})
    done = voxpop("sources", PYTHONPATH=str(tmp_path / "site"), VOXPOP_STORAGE_DATA=str(tmp_path))
    assert (done.returncode, "called 'bluesky', which is ours" in done.stderr) == (1, True)
