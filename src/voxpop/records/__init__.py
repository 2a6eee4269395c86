"""One SQL database for what is neither a post nor an answer: who may ask, what was used, what is stored for whom.

SQLite by default, PostgreSQL by its URL. It holds no post's text in clear: what rests on posts is sealed before.
Each table's module is imported by who uses it; `migrations/` makes and changes the tables.
"""

import asyncio
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path
from threading import Lock
from typing import Any, Self, TypeVar

from alembic import command
from alembic.config import Config as Alembic
from sqlalchemy import URL, Connection, Engine, MetaData, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DataError, IntegrityError, ProgrammingError, SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Session

from voxpop.errors import UsageError, VoxpopError
from voxpop.reach import Reach

T = TypeVar("T")
_log = logging.getLogger(__name__)
NAME = "accounts.db"
_BUSY_S = 10
_THREADS = 8  # of PostgreSQL; SQLite has one writer, so one thread for it, and these for who only reads
_READERS = 4
_MIGRATING = Lock()  # Alembic keeps what it migrates in its module: one at a time in a process
_LOCK = 0x766F78  # "vox": two servers that start at once do not migrate at once


class Base(DeclarativeBase):
    """All tables; names of constraints are fixed, so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Database:
    """The database at a URL, such as `sqlite:////data/accounts.db` or `postgresql+psycopg://…`, to be entered.

    Raises VoxpopError where it cannot be opened, or a driver is missing.
    """

    def __init__(self, url: str) -> None:
        self.url = _understood(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.reach = Reach("database of accounts")
        self._engine: Engine | None = None
        self._writers = ThreadPoolExecutor(1 if self.is_sqlite else _THREADS, "voxpop-records")
        self._readers = ThreadPoolExecutor(_READERS, "voxpop-reading") if self.is_sqlite else self._writers

    @classmethod
    def beside(cls, folder: Path, url: str = "") -> Self:
        """The database at `url`; empty: a SQLite file in `folder`, its owner's alone."""
        return cls(url or f"sqlite:///{folder / NAME}")

    async def __aenter__(self) -> Self:
        await self._on(self._open)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._engine:
            await self._on(self._engine.dispose)
        for workers in (self._readers, self._writers):
            await asyncio.to_thread(workers.shutdown)

    async def run(self, work: Callable[[Session], T], *, write: bool = True) -> T:
        """Do `work` in one transaction on a thread: committed when it returns, rolled back when it raises.

        `write=False` lets readers pass a writer. Raises VoxpopError where the database fails, UsageError for a
        value that it cannot hold.
        """

        def job() -> T:
            if self._engine is None:
                raise RuntimeError("the database was not entered")
            with self._engine.connect().execution_options(write=write) as connection, connection.begin():
                with Session(connection, expire_on_commit=False) as session:
                    done = work(session)
                    session.flush()
                return done

        return await self._on(job, self._writers if write else self._readers)

    async def _on(self, job: Callable[[], T], workers: ThreadPoolExecutor | None = None) -> T:
        try:
            done = await asyncio.get_running_loop().run_in_executor(workers or self._writers, job)
        except DataError as error:  # such as a NUL for PostgreSQL
            what = "A text or number of this request can be in no database."
            raise UsageError(what, "Leave out control characters, and numbers beyond 64 bits.") from error
        except (SQLAlchemyError, OSError) as error:
            where = self.url.render_as_string(hide_password=True)
            said = str(getattr(error, "orig", None) or error).partition("\n")[0]
            what = f"The database {where} failed: {said[:200].rstrip('. ')}."
            if isinstance(error, IntegrityError | ProgrammingError):  # it answered: no
                _log.warning("%s", what)
            elif self._engine:  # at the start it is the program that ends, and says why
                self.reach.failed(what)
            cure = "Check that it runs, its disk, and records.url."
            raise VoxpopError(what, cure, code="records_failed") from error
        if self._engine:
            self.reach.worked()
        return done

    def _open(self) -> None:
        try:
            engine = create_engine(self.url, **({} if self.is_sqlite else _POSTGRES))
        except ModuleNotFoundError as error:
            cure = "Install it with: pip install 'voxpop[team]'"
            raise VoxpopError(
                f"The driver for {self.url.drivername} is missing.", cure, code="no_driver"
            ) from error
        if self.is_sqlite:
            _private(Path(self.url.database or ""))
            event.listen(engine, "connect", _sqlite)
            event.listen(engine, "begin", _begin)
        with engine.connect().execution_options(write=True) as connection, connection.begin():
            if not self.is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": _LOCK})
            migrate(connection)
        self._engine = engine


def migrate(connection: Connection) -> None:
    """Bring the tables up to this version, within the transaction that is open."""
    config = Alembic()
    config.set_main_option("script_location", str(resources.files("voxpop.records").joinpath("migrations")))
    config.attributes["connection"] = connection
    with _MIGRATING:
        command.upgrade(config, "heads")


def _understood(text: str) -> URL:
    """A URL with our driver in it, also where it is written as other programs have it. Raises UsageError."""
    cure = "Set records.url to such as postgresql://voxpop@db/voxpop, or leave it out for a file."
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        raise UsageError("The database's URL cannot be read.", cure) from error
    if url.drivername in ("postgres", "postgresql"):
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername not in ("sqlite", "postgresql+psycopg"):
        raise UsageError(f"Only SQLite and PostgreSQL are served, not '{url.drivername[:40]}'.", cure)
    return url


_POSTGRES: dict[str, Any] = {
    "pool_size": _THREADS,
    "pool_pre_ping": True,
    "connect_args": {"connect_timeout": _BUSY_S},
}


def _private(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    path.chmod(0o600)


def _sqlite(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy says when a transaction begins, not the driver
    for setting in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
        connection.execute(f"PRAGMA {setting}")
    connection.execute(f"PRAGMA busy_timeout={_BUSY_S * 1000}")


def _begin(connection: Connection) -> None:
    write = connection.get_execution_options().get("write", True)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
