"""Files over HTTP as OpenAI and xAI have them: upload, list, read, remove, search; it decides nothing about one."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from voxpop.api.bodies import in_time, read_json
from voxpop.api.entry import account_of
from voxpop.api.fields import number, refuse, told
from voxpop.api.working import FILES, working
from voxpop.documents import find
from voxpop.errors import UsageError
from voxpop.files import PURPOSES, File, Files
from voxpop.places import Places

UPLOAD_S = 600.0
_FIELDS = 16
_FIELD = 4096
_BESIDE = 64 << 10  # bytes of a form beside the file's own
_PART = 1 << 18
Made = Callable[[str, File], AsyncIterator[bytes]]


@dataclass(frozen=True, slots=True)
class FileFaces:
    """The handlers. `made` gives the bytes of what a batch made; `places` bounds uploads and searches under way."""

    files: Files
    made: Made
    places: Places

    def routes(self) -> list[Route]:
        """Where they are served."""
        return [
            Route("/v1/files", self.upload, methods=["POST"]),
            Route("/v1/files", self.list, methods=["GET"]),
            Route("/v1/files/{id}", self.get, methods=["GET"]),
            Route("/v1/files/{id}", self.remove, methods=["DELETE"]),
            Route("/v1/files/{id}/content", self.content, methods=["GET"]),
            Route("/v1/documents/search", self.search, methods=["POST"]),
        ]

    async def upload(self, request: Request) -> Response:
        account = account_of(request)
        account.check("files")
        with self.places.held():
            async with working(request, FILES) as work:
                form = await in_time(_form(request, self.files.each), UPLOAD_S)
                try:
                    file = form.get("file")
                    if not isinstance(file, UploadFile):
                        refuse(
                            "file", "The form has no file.", "Send it as the part named 'file', with a filename."
                        )
                    purpose = form.get("purpose", "user_data")
                    stored = await self.files.put(
                        account.id, file.filename or "", str(purpose), _parts(file), _expires(form)
                    )
                finally:
                    await form.close()
        return JSONResponse(rendered(stored), headers=work.headers)

    async def list(self, request: Request) -> Response:
        account_of(request).check("files")
        asked = request.query_params
        limit = _limit(asked.get("limit", "100"))
        order, by = asked.get("order", "desc"), asked.get("sort_by", "created_at")
        if order not in ("asc", "desc"):
            refuse("order", f"'order' cannot be {told(order)}.", "Give asc or desc.")
        if by not in _SORTED:
            refuse("sort_by", f"'sort_by' cannot be {told(by)}.", f"Choose one of: {', '.join(_SORTED)}.")
        after = asked.get("after") or asked.get("pagination_token", "")
        purpose = asked.get("purpose", "")
        if purpose and purpose not in PURPOSES:
            refuse("purpose", f"'purpose' cannot be {told(purpose)}.", f"Choose one of: {', '.join(PURPOSES)}.")
        files, more = await self.files.list(
            account_of(request).id,
            limit=limit,
            after=after,
            newest_first=order == "desc",
            by=_SORTED[by],  # type: ignore[arg-type]
            purpose=purpose,
        )
        return JSONResponse(page([rendered(f) for f in files], more))

    async def get(self, request: Request) -> Response:
        return JSONResponse(rendered(await self._file(request)))

    async def remove(self, request: Request) -> Response:
        file = await self._file(request)
        await self.files.remove(account_of(request).id, file.id)
        return JSONResponse({"id": file.id, "object": "file", "deleted": True})

    async def content(self, request: Request) -> Response:
        async with working(request, FILES) as work:
            file = await self._file(request)
        owner = account_of(request).id
        source = self.made(owner, file) if file.made_by else self.files.read(owner, file.id)
        named = {"content-disposition": f"attachment; filename*=UTF-8''{quote(file.name, safe='')}", **work.headers}
        return StreamingResponse(_closing(source), media_type="application/octet-stream", headers=named)

    async def search(self, request: Request) -> Response:
        account = account_of(request)
        account.check("files")
        body = await read_json(request)
        if not isinstance(body, dict) or not isinstance(body.get("query"), str) or not body["query"].strip():
            refuse("query", "There is nothing to search for.", "Give a 'query' of words.")
        if len(body["query"]) > _FIELD:
            refuse("query", f"The query has over {_FIELD} characters.", "Give a shorter one.", code="too_long")
        limit = number(body, "limit", 10, 1, 100)
        with self.places.held():
            async with working(request, FILES) as work:
                found = await find(self.files, account.id, body["query"], ids=_sources(body), limit=limit)
        matches = [
            {"file_id": f.file_id, "chunk_id": f.chunk_id, "chunk_content": f.text, "score": f.score}
            | {"collection_ids": []}
            for f in found
        ]
        return JSONResponse({"matches": matches}, headers=work.headers)

    async def _file(self, request: Request) -> File:
        account = account_of(request)
        account.check("files")
        return await self.files.get(account.id, request.path_params["id"])


_SORTED = {"created_at": "created_at", "filename": "name", "size": "size"}


def rendered(file: File) -> dict[str, Any]:
    """OpenAI's `file` object."""
    said = {"id": file.id, "object": "file", "bytes": file.size, "created_at": file.created_at}
    return said | {
        "filename": file.name,
        "purpose": file.purpose,
        "status": "processed",
        "expires_at": file.expires_at,
    }


def page(rows: list[dict[str, Any]], more: bool) -> dict[str, Any]:
    """A page of a list, with OpenAI's marks of where it goes on and xAI's."""
    ends = {"first_id": rows[0]["id"] if rows else None, "last_id": rows[-1]["id"] if rows else None}
    token = ends["last_id"] if more else None
    return {"object": "list", "data": rows, **ends, "has_more": more, "pagination_token": token}


async def _form(request: Request, most: int) -> Any:
    """The parts of the form; a file of over a mebibyte lies on the disk. Raises UsageError."""
    kind = request.headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != "multipart/form-data":
        what = f"The body's type is '{kind[:60]}'."
        raise UsageError(what, "Send a form: multipart/form-data.", code="unsupported_media_type")
    parser = MultiPartParser(
        request.headers, _bounded(request.stream(), most), max_files=1, max_fields=_FIELDS, max_part_size=_FIELD
    )
    try:
        return await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise UsageError("The form cannot be read.", "Send it as RFC 7578 says.", code="bad_form") from error


async def _bounded(parts: AsyncIterator[bytes], most: int) -> AsyncGenerator[bytes, None]:
    size = 0
    async for part in parts:
        size += len(part)
        if size > most + _BESIDE:
            what = f"The file has over {most} bytes."
            raise UsageError(what, "Send it in parts, or have files.each_mb raised.", code="too_large")
        yield part


async def _parts(file: UploadFile) -> AsyncIterator[bytes]:
    while part := await file.read(_PART):
        yield part


async def _closing(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async with aclosing(parts):  # type: ignore[type-var]
        async for part in parts:
            yield part


def _expires(form: Mapping[str, Any]) -> int | None:
    """`expires_after[seconds]` as OpenAI's forms send it, or xAI's plain number of seconds."""
    said = form.get("expires_after[seconds]") or form.get("expires_after")
    if said is None:
        return None
    if form.get("expires_after[anchor]", "created_at") != "created_at":
        refuse("expires_after", "A file's time is counted from when it was made.", "Give 'created_at' as anchor.")
    if not isinstance(said, str) or not (said.isascii() and said.isdigit() and len(said) < 10):
        refuse("expires_after", f"'expires_after' cannot be {told(said)}.", "Give whole seconds.")
    return int(said)


def _limit(said: str) -> int:
    if not (said.isascii() and said.isdigit() and len(said) < 6 and 1 <= int(said) <= 10_000):
        refuse("limit", f"'limit' cannot be {told(said)}.", "Give a whole number from 1 to 10000.")
    return min(int(said), 1000)


def _sources(body: Mapping[str, Any]) -> list[str]:
    """Which files are looked at; none named are all. There are no collections here."""
    source = body.get("source") or {}
    if not isinstance(source, dict) or source.get("collection_ids"):
        cure = "Leave 'collection_ids' out; name files in 'file_ids', or none for all."
        refuse("source", "There are no collections here.", cure, code="unsupported")
    ids = source.get("file_ids") or []
    if not isinstance(ids, list) or len(ids) > 100 or not all(isinstance(i, str) for i in ids):
        refuse("source.file_ids", f"'file_ids' cannot be {told(ids)}.", "Give a list of at most 100 ids.")
    return ids
