"""A PostgreSQL of the tests' own, from Debian's binaries, on a socket in a folder of its own, gone at the end."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

_WAIT_S = 30
_SETTINGS = "fsync=off", "full_page_writes=off", "synchronous_commit=off", "listen_addresses="


class Postgres:
    """A running server; each `fresh()` is the URL of an empty database."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = count(1)

    def url(self, database: str) -> str:
        """Its address as SQLAlchemy takes it."""
        return f"postgresql+psycopg://voxpop@/{database}?host={self._folder}"

    def fresh(self) -> str:
        """A new, empty database."""
        import psycopg

        name = f"test_{next(self._numbers)}"
        with psycopg.connect(f"host={self._folder} user=voxpop dbname=postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)


def binaries() -> Path | None:
    """The folder of `initdb` and `postgres`, the newest where there are several."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    at = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    return max((p.parent for p in at), key=lambda p: float(p.parent.name), default=None)


@contextmanager
def running(at: Path) -> Iterator[Postgres]:
    """Start it, as another user where this is root, which PostgreSQL refuses to be; removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="voxpop-pg-"))  # a socket's path must be short, and the other user's
    try:
        user = None
        if os.geteuid() == 0:
            user = "postgres" if any(u.pw_name == "postgres" for u in pwd.getpwall()) else "nobody"
            shutil.chown(folder, user)
        options: dict[str, object] = {"cwd": folder, "user": user, "extra_groups": [] if user else None}
        data = folder / "data"
        made = [at / "initdb", "-D", data, "-U", "voxpop", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
        subprocess.run(made, check=True, capture_output=True, timeout=_WAIT_S * 2, **options)  # type: ignore[call-overload]
        started = [at / "postgres", "-D", data, "-k", folder, *(a for s in _SETTINGS for a in ("-c", s))]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(started, stdout=log, stderr=log, **options)  # type: ignore[call-overload]
        try:
            ready = [at / "pg_isready", "-h", folder]
            end = time.monotonic() + _WAIT_S
            while subprocess.run(ready, capture_output=True, check=False).returncode:
                if process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError((folder / "log").read_text("utf-8"))
                time.sleep(0.05)
            yield Postgres(folder)
        finally:
            process.send_signal(signal.SIGINT)  # the fast end: clients are cut off
            process.wait(_WAIT_S)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
