"""xAI's Files and Documents services over the stored texts of an account; nothing of them is ever public."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

from google.protobuf.timestamp_pb2 import Timestamp
from xai_sdk.proto import documents_pb2, files_pb2

from voxpop.desk import Desk
from voxpop.documents import find
from voxpop.errors import FieldError, UsageError, VoxpopError
from voxpop.files import File
from voxpop.files import Files as Stored
from voxpop.places import Places
from voxpop.rpc.door import caller

_SORTED: dict[int, Literal["created_at", "name", "size"]] = {0: "created_at", 1: "name", 2: "size"}
_MOST, _USUAL = 1000, 100
_MOST_FOUND, _LONGEST_QUERY = 50, 1000
_PURPOSE = "user_data"


@dataclass(frozen=True, slots=True)
class Files:
    """The seven methods; `places` bounds the uploads under way."""

    stored: Stored
    desk: Desk
    places: Places

    async def UploadFile(self, requests: AsyncIterator[Any], context: Any) -> Any:
        """Store a file: first its name, then its bytes. Raises UsageError."""
        account = caller().account
        account.check("files")
        with self.places.held():
            first = await anext(requests, None)
            if first is None or first.WhichOneof("chunk") != "init":
                raise UsageError("The upload does not begin with the file's name.", "Send 'init' first.")
            expires = first.init.expires_after if first.init.HasField("expires_after") else None
            async with _working(self.desk, "files"):
                parts = _parts(requests)
                return _file(await self.stored.put(account.id, first.init.name, _PURPOSE, parts, expires))

    async def ListFiles(self, request: Any, context: Any) -> Any:
        """A page of the account's files; the token of the next page is its last file's id."""
        account = caller().account
        account.check("files")
        limit = request.limit or _USUAL
        if not 1 <= limit <= _MOST:
            raise FieldError("limit", f"'limit' cannot be {limit}.", f"Give 1 to {_MOST}.")
        if request.sort_by not in _SORTED or request.order not in (0, 1):
            raise FieldError("sort_by", "Files cannot be sorted so.", "Sort by time, name or size, up or down.")
        if request.filter:
            raise FieldError("filter", "Files cannot be filtered.", "Leave 'filter' out.", code="unsupported")
        listed, more = await self.stored.list(
            account.id,
            limit=limit,
            after=request.pagination_token,
            newest_first=request.order == files_pb2.DESCENDING,
            by=_SORTED[request.sort_by],
        )
        token = listed[-1].id if more else None
        return files_pb2.ListFilesResponse(data=[_file(f) for f in listed], pagination_token=token)

    async def RetrieveFile(self, request: Any, context: Any) -> Any:
        """What is known of a file."""
        return _file(await self._get(request.file_id))

    async def RetrieveFileContent(self, request: Any, context: Any) -> AsyncIterator[Any]:
        """Its bytes, in parts."""
        async with _working(self.desk, "files"):
            file = await self._get(request.file_id)
        if file.made_by:
            cure = f"GET /v1/files/{file.id}/content gives it."
            raise UsageError("What a batch made is not read by gRPC.", cure, code="unsupported")
        async with aclosing(self.stored.read(caller().account.id, file.id)) as parts:  # type: ignore[type-var]
            async for part in parts:
                yield files_pb2.FileContentChunk(data=part)

    async def DeleteFile(self, request: Any, context: Any) -> Any:
        """Remove a file and its bytes."""
        file = await self._get(request.file_id)
        await self.stored.remove(caller().account.id, file.id)
        return files_pb2.DeleteFileResponse(id=file.id, deleted=True)

    async def CreatePublicUrl(self, request: Any, context: Any) -> Any:
        """Raises VoxpopError: there is none."""
        raise _never_public()

    async def RevokePublicUrl(self, request: Any, context: Any) -> Any:
        """Raises VoxpopError: there is none."""
        raise _never_public()

    async def _get(self, id_: str) -> File:
        account = caller().account
        account.check("files")
        return await self.stored.get(account.id, id_)


@dataclass(frozen=True, slots=True)
class Documents:
    """The one method."""

    stored: Stored
    desk: Desk
    places: Places

    async def Search(self, request: Any, context: Any) -> Any:
        """The best pieces of the account's files, by their words; a collection is a file's id here."""
        account = caller().account
        account.check("files")
        if not request.query.strip() or len(request.query) > _LONGEST_QUERY:
            raise FieldError("query", "The query is empty or too long.", f"Give 1 to {_LONGEST_QUERY} characters.")
        limit = request.limit if request.HasField("limit") else 10
        if not 1 <= limit <= _MOST_FOUND:
            raise FieldError("limit", f"'limit' cannot be {limit}.", f"Give 1 to {_MOST_FOUND}.")
        with self.places.held():
            ids = list(request.source.collection_ids)
            async with _working(self.desk, "documents"):
                found = await find(self.stored, account.id, request.query, ids=ids, limit=limit)
        matches = [
            documents_pb2.SearchMatch(file_id=f.file_id, chunk_id=f.chunk_id, chunk_content=f.text, score=f.score)
            for f in found
        ]
        return documents_pb2.SearchResponse(matches=matches)


@asynccontextmanager
async def _working(desk: Desk, endpoint: str) -> AsyncIterator[None]:
    """What is done for the caller is taken from their allowance for files. Raises Denied or Limited."""
    async with desk.work(caller().account, "files", endpoint=endpoint, id=caller().id) as work:
        caller().told.update(work.headers)
        yield


async def _parts(requests: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request.data


def _file(file: File) -> Any:
    expires = Timestamp(seconds=file.expires_at) if file.expires_at is not None else None
    created = Timestamp(seconds=file.created_at)
    return files_pb2.File(id=file.id, filename=file.name, size=file.size, created_at=created, expires_at=expires)


def _never_public() -> VoxpopError:
    return VoxpopError("No file is public here.", "Give the text itself to who needs it.", code="not_served")
