"""Where a client comes back to its answer: read on after the last event that it saw, or end it; it makes none."""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from voxpop.api.resuming import Resumable
from voxpop.api.streams import resumed
from voxpop.errors import UsageError


@dataclass(frozen=True, slots=True)
class StreamFaces:
    """The handlers."""

    resumable: Resumable

    def routes(self) -> list[Route]:
        """Where they are served."""
        return [
            Route("/v1/streams/{id}", self.read, methods=["GET"]),
            Route("/v1/streams/{id}", self.stop, methods=["DELETE"]),
        ]

    async def read(self, request: Request) -> Response:
        """The events after `after`, or after `Last-Event-ID` as browsers send it."""
        said = request.query_params.get("after") or request.headers.get("last-event-id") or "0"
        if not (said.isascii() and said.isdigit() and len(said) <= 12):
            cure = "Give the id of the last event that you saw; 0 is before the first."
            raise UsageError(f"No event has the id '{said[:20]}'.", cure)
        one = await self.resumable.resume(request.path_params["id"], request.state.account)
        return resumed(request, one, int(said), {})

    async def stop(self, request: Request) -> Response:
        id_ = request.path_params["id"]
        await self.resumable.stop(id_, request.state.account)
        return JSONResponse({"id": id_, "object": "stream", "deleted": True})
