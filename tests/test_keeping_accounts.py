"""A backup takes accounts and their files along, of one moment, beside a server that writes both."""

import asyncio
import secrets
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from test_keeping_backup import fill, quiet
from voxpop import files as stored
from voxpop import records
from voxpop.accounts import keys, people, secret
from voxpop.accounts.audit import By
from voxpop.accounts.keys import Scopes
from voxpop.accounts.people import Wish
from voxpop.cli import program
from voxpop.files import Files
from voxpop.keeping import accounts
from voxpop.keeping.backup import backup
from voxpop.keeping.restore import restore
from voxpop.keeping.verify import verify
from voxpop.records import Database

NOW = "2026-11-22T08:00:00.000Z"


def clock() -> int:
    return time.time_ns() // 1000


async def parts(text: str) -> AsyncIterator[bytes]:
    yield text.encode()


async def busy(folder: Path) -> None:
    """Add users, and files of which every other is removed again, until killed; prints how many rounds."""
    async with Database.beside(folder) as database, Files(database, folder / "files", clock) as files:
        for n in range(100_000):
            name = secrets.token_hex(8)
            user = await database.run(lambda s, name=name: people.add_user(s, By("test", clock()), Wish(name=name)))
            file = await files.put(user.id, f"{n}.txt", "user_data", parts(f"text {n} " * 500))
            if n % 2:
                await files.remove(user.id, file.id)
            print(n, flush=True)


def test_the_names_are_those_of_who_writes_them() -> None:
    assert (accounts.NAME, accounts.FILES) == (records.NAME, stored.FOLDER)


async def test_accounts_and_files_come_back_whole_from_beside_a_writer(tmp_path: Path) -> None:
    data = tmp_path / "data"
    await fill(data, 2)
    with subprocess.Popen([sys.executable, __file__, str(data)], stdout=subprocess.PIPE, text=True) as writer:
        try:
            assert writer.stdout
            rounds = []
            for n in range(3):
                while int(writer.stdout.readline()) < 10 * (n + 1):
                    pass
                target, again = tmp_path / f"backup{n}", tmp_path / f"again{n}"
                target.mkdir(mode=0o755)
                await asyncio.to_thread(backup, data, target, quiet, now=NOW)
                await restore(target, again, quiet)
                assert verify(again, quiet).faults == []
                with closing(sqlite3.connect(again / "accounts.db")) as con:
                    users = con.execute("SELECT count(*) FROM users").fetchone()[0]
                    rows = dict(con.execute("SELECT id, size FROM files"))
                    assert con.execute("SELECT count(*) FROM audit_log").fetchone()[0] == users
                held = {p.name: p.stat().st_size for p in (again / "files").iterdir()}
                assert held == rows, "each row has its bytes and the other way round"
                assert users > 10 * (n + 1)
                for folder in (target, again):
                    for path in (folder / "accounts.db", *(folder / "files").iterdir()):
                        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
                    assert stat.S_IMODE((folder / "files").stat().st_mode) == 0o700
                rounds.append(users)
            assert rounds == sorted(set(rounds)), "the writer stood still"
        finally:
            writer.kill()


async def test_a_key_opens_after_a_restore_and_the_log_is_still_closed(tmp_path: Path) -> None:
    data, again = tmp_path / "data", tmp_path / "again"
    await fill(data, 1)
    async with Database.beside(data) as database:
        by = By("test", clock())

        def work(session: object) -> str:
            ada = people.add_user(session, by, Wish(name="ada"))  # type: ignore[arg-type]
            return keys.create(session, by, ada, "k", Scopes())[1]  # type: ignore[arg-type]

        clear = await database.run(work)
        await asyncio.to_thread(backup, data, tmp_path / "backup", quiet, now=NOW)
    await restore(tmp_path / "backup", again, quiet)
    given = secret.read(clear)
    assert given
    async with Database.beside(again) as database:
        found = await database.run(lambda s: keys.known(s, given, clock()), write=False)
        assert found.account.name == "ada"
    with closing(sqlite3.connect(again / "accounts.db")) as con, pytest.raises(sqlite3.IntegrityError):
        con.execute("DELETE FROM audit_log")


async def test_a_file_that_goes_amid_the_copying_is_left_out_with_its_row(tmp_path: Path) -> None:
    data, again = tmp_path / "data", tmp_path / "again"
    await fill(data, 1)
    async with Database.beside(data) as database, Files(database, data / "files", clock) as files:
        ids = [(await files.put("ada", f"{n}.txt", "user_data", parts(f"text {n}"))).id for n in range(3)]
    gone = sorted(ids)[1]

    def tell(what: str, done: int, total: int) -> None:
        (data / "files" / gone).unlink(missing_ok=True) if what == "copying files" else None

    await asyncio.to_thread(backup, data, tmp_path / "backup", tell, now=NOW)
    await restore(tmp_path / "backup", again, quiet)
    assert {p.name for p in (again / "files").iterdir()} == {*ids} - {gone}
    assert verify(again, quiet).faults == []
    (fault,) = verify(data, quiet).faults  # there the row is still, and nobody removed it
    assert fault.what == f"{data / 'files' / gone} is gone."


async def test_what_is_wrong_with_the_records_is_named(tmp_path: Path) -> None:
    await fill(tmp_path, 1)
    async with Database.beside(tmp_path) as database, Files(database, tmp_path / "files", clock) as files:
        file = await files.put("ada", "a.txt", "user_data", parts("some text"))
    assert verify(tmp_path, quiet).faults == []
    (tmp_path / "files" / file.id).write_bytes(b"some")
    (fault,) = verify(tmp_path, quiet).faults
    assert "has 4 bytes and its row says 9" in fault.what
    (tmp_path / "accounts.db").write_bytes(b"no database" * 1000)
    (fault,) = verify(tmp_path, quiet).faults
    assert "accounts.db" in fault.what
    assert "Restore a backup" in fault.cure
    assert verify(tmp_path, quiet, elsewhere=True).faults == []


async def test_records_elsewhere_are_the_operators_to_dump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data"
    await fill(data, 1)
    async with Database.beside(tmp_path) as database, Files(database, data / "files", clock) as files:
        file = await files.put("ada", "a.txt", "user_data", parts("some text"))
    monkeypatch.setenv("VOXPOP_RECORDS_URL", "postgresql+psycopg://nobody@127.0.0.1:1/none")
    done = await asyncio.to_thread(
        CliRunner().invoke, program(), ["backup", str(tmp_path / "backup"), "--data", str(data)]
    )
    assert done.exit_code == 0, done.output
    assert "pg_dump" in done.output
    assert {p.name for p in (tmp_path / "backup" / "files").iterdir()} == {file.id}
    assert not (tmp_path / "backup" / "accounts.db").exists()


if __name__ == "__main__":
    asyncio.run(busy(Path(sys.argv[1])))
