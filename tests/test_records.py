"""The database of records: the same tables on SQLite and PostgreSQL, made by its migrations alone."""

import asyncio
import importlib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text
from sqlalchemy.orm import Session

import voxpop
from voxpop.errors import UsageError, VoxpopError
from voxpop.records import Base, Database, migrate

SOURCE = Path(voxpop.__file__).parent


def with_tables() -> list[str]:
    """Every module that has tables, whosoever wrote it."""
    found = [p for p in SOURCE.rglob("*.py") if "(Base)" in p.read_text("utf-8")]
    return [
        ".".join(("voxpop", *p.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__") for p in found
    ]


def differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, Base.metadata))


async def test_the_migrations_make_what_the_modules_say(database: Database) -> None:
    for module in with_tables():
        importlib.import_module(module)
    assert await database.run(lambda s: differences(s.connection()), write=False) == []


async def test_a_second_start_finds_the_tables_made(database_url: str) -> None:
    for _ in range(2):
        async with Database(database_url) as opened:
            await opened.run(lambda s: migrate(s.connection()))


def test_databases_may_be_opened_from_several_threads_at_once(tmp_path: Path) -> None:
    start = threading.Barrier(4)

    async def enter(n: int) -> list[str]:
        start.wait(10)
        async with Database.beside(tmp_path / f"{n}") as opened:
            return await opened.run(lambda s: inspect(s.connection()).get_table_names(), write=False)

    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(lambda n: asyncio.run(enter(n)), range(4)))
    assert all(tables == made[0] != [] for tables in made)


async def test_what_raises_is_rolled_back_whole(database: Database) -> None:
    await database.run(lambda s: s.execute(text("CREATE TABLE t (n INTEGER)")))

    def half(session: Session) -> None:
        session.execute(text("INSERT INTO t VALUES (1)"))
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await database.run(half)
    assert await database.run(lambda s: s.execute(text("SELECT count(*) FROM t")).scalar(), write=False) == 0


async def test_a_failure_names_the_database_and_never_its_password(tmp_path: Path) -> None:
    url = f"postgresql+psycopg://voxpop:hunter2@/x?host={tmp_path}"
    with pytest.raises(VoxpopError, match="failed") as caught:
        async with Database(url):
            pass
    assert "hunter2" not in str(caught.value)
    assert "records.url" in caught.value.cure


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgresql_is_understood_as_others_write_it(scheme: str) -> None:
    url = Database(f"{scheme}://voxpop:pw@db/voxpop").url
    assert (url.drivername, url.password, url.host) == ("postgresql+psycopg", "pw", "db")


@pytest.mark.parametrize("url", ["mysql://voxpop:hunter2@db/x", "no url", "postgresql+asyncpg://db/x"])
def test_another_database_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match=r"Only SQLite and PostgreSQL are served|cannot be read") as caught:
        Database(url)
    assert "hunter2" not in str(caught.value)
