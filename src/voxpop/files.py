"""Files of text that accounts upload: bytes in a folder, rows in the database; nothing but UTF-8 text is taken.

Each is its owner's alone, bounded in size, and gone when its time is over. A row without its bytes cannot be: the
bytes are in their place before the row is written; bytes without a row are swept.
"""

import asyncio
import codecs
import os
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from sqlalchemy import BigInteger, Index, String, delete, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from voxpop.errors import UsageError, VoxpopError
from voxpop.records import Base, Database

FOLDER = "files"  # of the data folder
PURPOSES = ("assistants", "batch", "batch_output", "evals", "fine-tune", "user_data")
SHORTEST_S, LONGEST_S = 3600, 30 * 86_400
_NAME = 255
_MOST = 10_000  # files of one account
_SWEEP_S = 600.0
_PART = 1 << 18
_SECOND = 1_000_000


class FileRow(Base):
    """What is known of a file; `made_by` is the batch whose results it shows, empty for one that was uploaded."""

    __tablename__ = "files"
    __table_args__ = (Index("ix_files_owner", "owner", "created_at"),)
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    owner: Mapped[str] = mapped_column(String(128))
    name: Mapped[str] = mapped_column(String(_NAME))
    purpose: Mapped[str] = mapped_column(String(32))
    size: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[int | None] = mapped_column(BigInteger, index=True)
    made_by: Mapped[str] = mapped_column(String(80))


@dataclass(frozen=True, slots=True)
class File:
    """A stored file; `size` in bytes, times in seconds of UTC, `expires_at` None where it stays."""

    id: str
    name: str
    purpose: str
    size: int
    created_at: int
    expires_at: int | None = None
    made_by: str = ""


class Files:
    """The files of all accounts, to be entered; `each` and `account` bound one file and one account, in bytes."""

    def __init__(
        self,
        records: Database,
        folder: Path,
        clock: Callable[[], int],
        *,
        each: int = 100 << 20,
        account: int = 1 << 30,
    ) -> None:
        self._records, self._folder, self._clock = records, folder, clock
        self.each, self._account = each, account

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._folder.mkdir, mode=0o700, parents=True, exist_ok=True)
        await self.drop()
        self._sweeping = asyncio.create_task(self._repeat())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._sweeping.cancel()
        await asyncio.gather(self._sweeping, return_exceptions=True)

    async def put(
        self, owner: str, name: str, purpose: str, parts: AsyncIterator[bytes], expires_s: int | None = None
    ) -> File:
        """Store the bytes under a name. Raises UsageError for what may not be, VoxpopError for a full disk."""
        _check(name, purpose, expires_s)
        now = self._clock() // _SECOND
        id_ = f"file-{secrets.token_hex(16)}"
        writing = self._folder / f"{id_}.part"
        try:
            size = await self._write(writing, parts)
            file = File(id_, name, purpose, size, now, None if expires_s is None else now + expires_s)
            await asyncio.to_thread(os.replace, writing, self._folder / id_)
            await self._records.run(lambda s: self._add(s, owner, file))
        except OSError as error:
            cure = "Free space on its disk, or remove files."
            what = f"The file could not be stored: {error.strerror}."
            raise VoxpopError(what, cure, code="files_failed") from error
        except BaseException:
            (self._folder / id_).unlink(missing_ok=True)
            raise
        finally:
            writing.unlink(missing_ok=True)
        return file

    async def note(self, owner: str, file: File) -> None:
        """Show what a batch made as a file; its bytes are made when it is read."""
        await self._records.run(lambda s: s.merge(_row(owner, file)))

    async def get(self, owner: str, id_: str) -> File:
        """Raises UsageError (`file_not_found`) for one that is not there, is over, or is another's."""
        now = self._clock() // _SECOND

        def look(session: Session) -> File | None:
            row = session.get(FileRow, id_)
            there = row is not None and row.owner == owner and (row.expires_at is None or row.expires_at > now)
            return _file(row) if row is not None and there else None

        found = await self._records.run(look, write=False) if _can_be(id_) else None
        if found is None:
            raise UsageError(f"There is no file '{id_[:60]}'.", "GET /v1/files lists yours.", code="file_not_found")
        return found

    async def list(
        self,
        owner: str,
        *,
        limit: int = 100,
        after: str = "",
        newest_first: bool = True,
        by: Literal["created_at", "name", "size"] = "created_at",
        purpose: str = "",
    ) -> tuple[list[File], bool]:
        """A page of an account's files, after the one of that id, and whether there are more. Raises UsageError."""
        start = await self.get(owner, after) if after else None
        now = self._clock() // _SECOND
        column = getattr(FileRow, by)
        sought = select(FileRow).where(FileRow.owner == owner)
        sought = sought.where(FileRow.expires_at.is_(None) | (FileRow.expires_at > now))
        if purpose:
            sought = sought.where(FileRow.purpose == purpose)
        if start:
            at = getattr(start, by)
            beyond = column < at if newest_first else column > at
            tied = FileRow.id < after if newest_first else FileRow.id > after
            sought = sought.where(beyond | ((column == at) & tied))
        order = (column.desc(), FileRow.id.desc()) if newest_first else (column, FileRow.id)
        sought = sought.order_by(*order).limit(limit + 1)
        rows = await self._records.run(lambda s: [_file(r) for r in s.scalars(sought)], write=False)
        return rows[:limit], len(rows) > limit

    async def read(self, owner: str, id_: str) -> AsyncIterator[bytes]:
        """The bytes of an uploaded file, in parts. Raises UsageError."""
        await self.get(owner, id_)
        source = await asyncio.to_thread((self._folder / id_).open, "rb")
        try:
            while part := await asyncio.to_thread(source.read, _PART):
                yield part
        finally:
            source.close()

    async def text_of(self, owner: str, id_: str, most: int = 100_000) -> str:
        """The text of an uploaded file. Raises UsageError where it has over `most` characters."""
        file = await self.get(owner, id_)
        if file.size > 4 * most:
            raise _too_long(file, most)
        text = b"".join([part async for part in self.read(owner, id_)]).decode("utf-8-sig")
        if len(text) > most:
            raise _too_long(file, most)
        return text

    async def remove(self, owner: str, id_: str) -> None:
        """Remove a file and its bytes. Raises UsageError where there is none."""
        await self.get(owner, id_)
        await self._records.run(lambda s: s.execute(delete(FileRow).where(FileRow.id == id_)))
        await asyncio.to_thread((self._folder / id_).unlink, missing_ok=True)

    async def drop(self) -> None:
        """Remove what is over, and bytes that belong to nothing (an upload that is under way is left alone)."""
        now = self._clock() // _SECOND

        def known(session: Session) -> set[str]:
            session.execute(delete(FileRow).where(FileRow.expires_at <= now))
            return set(session.scalars(select(FileRow.id)))

        before = await asyncio.to_thread(self._old, now)
        rows = await self._records.run(known)
        for name in before - rows:
            await asyncio.to_thread((self._folder / name).unlink, missing_ok=True)

    def _old(self, now: int) -> set[str]:
        """Names of what was written over an hour ago: a row is written soon after its bytes."""
        return {e.name for e in os.scandir(self._folder) if e.stat().st_mtime < now - SHORTEST_S}

    async def _repeat(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            with suppress(VoxpopError, OSError):
                await self.drop()

    async def _write(self, path: Path, parts: AsyncIterator[bytes]) -> int:
        """Its size. Raises UsageError for what is no text or too large."""
        size, reads = 0, codecs.getincrementaldecoder("utf-8")()
        descriptor = await asyncio.to_thread(os.open, path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as target:
            async for part in parts:
                size += len(part)
                if size > self.each:
                    what = f"The file has over {self.each} bytes."
                    raise UsageError(what, "Send it in parts, or raise files.each_mb.", code="too_large")
                try:
                    if "\0" in reads.decode(part):
                        raise _no_text()
                except UnicodeDecodeError as error:
                    raise _no_text() from error
                await asyncio.to_thread(target.write, part)
            try:
                reads.decode(b"", True)
            except UnicodeDecodeError as error:
                raise _no_text() from error
            target.flush()
            await asyncio.to_thread(os.fsync, target.fileno())
        if not size:
            raise UsageError("The file is empty.", "Send one that has text.")
        return size

    def _add(self, session: Session, owner: str, file: File) -> None:
        held, many = session.execute(
            select(func.coalesce(func.sum(FileRow.size), 0), func.count())
            .where(FileRow.owner == owner)
            .where(FileRow.made_by == "")
        ).one()
        if held + file.size > self._account or many >= _MOST:
            what = f"Your files would have over {self._account} bytes, or be over {_MOST}."
            raise UsageError(what, "Remove some, or have files.account_mb raised.", code="too_large")
        session.add(_row(owner, file))


def forget(session: Session, owner: str) -> list[str]:
    """Remove an account's rows, within a transaction that is open; the ids of what is then to be wiped."""
    return list(session.scalars(delete(FileRow).where(FileRow.owner == owner).returning(FileRow.id)))


def wipe(folder: Path, ids: Sequence[str]) -> None:
    """Remove the bytes of files that have no row any more; what cannot be removed now is swept later."""
    for id_ in ids:
        with suppress(OSError):
            (folder / id_).unlink(missing_ok=True)


def _check(name: str, purpose: str, expires_s: int | None) -> None:
    if not 1 <= len(name) <= _NAME or not name.isprintable() or name.encode("utf-8", "replace").decode() != name:
        raise UsageError("The file has no name that can be kept.", f"Give one of 1 to {_NAME} characters.")
    if purpose not in PURPOSES:
        raise UsageError(f"A file's purpose cannot be '{purpose[:40]}'.", f"Choose one of: {', '.join(PURPOSES)}.")
    if expires_s is not None and not SHORTEST_S <= expires_s <= LONGEST_S:
        cure = f"Give {SHORTEST_S} to {LONGEST_S} seconds."
        raise UsageError(f"A file cannot expire after {expires_s} s.", cure)


def _no_text() -> UsageError:
    cure = "Send text as UTF-8, such as .txt, .md, .csv, .json or .jsonl."
    return UsageError("The file is not UTF-8 text.", cure, code="unsupported")


def _too_long(file: File, most: int) -> UsageError:
    cure = "Send a shorter one, or search in it: POST /v1/documents/search."
    return UsageError(f"'{file.name[:60]}' has over {most} characters.", cure, code="too_long")


def _row(owner: str, file: File) -> FileRow:
    return FileRow(
        id=file.id,
        owner=owner,
        name=file.name,
        purpose=file.purpose,
        size=file.size,
        created_at=file.created_at,
        expires_at=file.expires_at,
        made_by=file.made_by,
    )


def _file(row: FileRow) -> File:
    return File(row.id, row.name, row.purpose, row.size, row.created_at, row.expires_at, row.made_by)


def _can_be(id_: str) -> bool:
    """PostgreSQL takes no NUL and no lone surrogate; and it names a path."""
    return id_.startswith("file-") and id_.removeprefix("file-").isalnum() and id_.isascii() and len(id_) <= 64
