"""Vectors of texts over HTTP as OpenAI has them: it parses, sets aside what is wanted, renders; it knows no model.

OpenAI's API reference (embeddings): `base64` is little-endian float32, as its Python client asks by default.
"""

import asyncio
import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from voxpop.accounts import Spent
from voxpop.api.bodies import read_json
from voxpop.api.entry import account_of
from voxpop.api.fields import refuse, told
from voxpop.api.working import working
from voxpop.errors import UsageError, VoxpopError
from voxpop.places import Places
from voxpop.vectors import ALIASES, NAME, SIZES, Vectors

LARGEST = 4 << 20  # bytes of a body
_MOST = 2048
_LONGEST = 32_000  # characters of one text
_CHARS = 4  # of a token, where only an estimate is to be had


@cache
def loaded() -> Vectors:
    """The vectors, read once. Raises VoxpopError."""
    return Vectors.load()


@dataclass(frozen=True, slots=True)
class EmbeddingFaces:
    """The handlers. `load` gives the vectors, at the first need."""

    places: Places
    started: int
    load: Callable[[], Vectors] = field(default=loaded)

    def routes(self) -> list[Route]:
        """Where they are served."""
        return [
            Route("/v1/embeddings", self.embed, methods=["POST"]),
            Route("/v1/embedding-models", self.models),
            Route("/v1/embedding-models/{name}", self.model),
        ]

    async def embed(self, request: Request) -> Response:
        texts, named, size, packed = _read(await read_json(request, LARGEST))
        account = account_of(request)
        account.check("embeddings", NAME)
        with self.places.held():
            vectors = await asyncio.to_thread(self.load)
            tokens = sum(len(t) for t in texts) // _CHARS
            async with working(request, "embeddings", model=NAME, tokens=tokens) as work:
                rows, counts = await asyncio.to_thread(vectors.embed, texts, size)
                work.spent = Spent(prompt_tokens=sum(counts), answers=1)
        data = [
            {"object": "embedding", "index": n, "embedding": _packed(row) if packed else row.tolist()}
            for n, row in enumerate(rows)
        ]
        usage = {"prompt_tokens": sum(counts), "total_tokens": sum(counts), "cost_in_usd_ticks": work.ticks}
        said = {"object": "list", "data": data, "model": named, "usage": usage}
        return JSONResponse(said, headers=work.headers)

    async def models(self, request: Request) -> Response:
        return JSONResponse({"models": [self._row()] if await self._is_there() else []})

    async def model(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in (NAME, *ALIASES) or not await self._is_there():
            raise _unknown(name)
        return JSONResponse(self._row() | {"id": name})

    async def _is_there(self) -> bool:
        try:
            await asyncio.to_thread(self.load)
        except VoxpopError:
            return False
        return True

    def _row(self) -> dict[str, Any]:
        said = {"id": NAME, "object": "model", "created": self.started, "owned_by": "voxpop", "version": "1"}
        return said | {"aliases": list(ALIASES), "input_modalities": ["text"], "output_modalities": ["embedding"]}


def _read(body: Any) -> tuple[list[str], str, int, bool]:
    """The texts, the model, how many numbers, whether packed. Raises UsageError."""
    if not isinstance(body, dict):
        raise UsageError("The body is not a JSON object.", "Send 'input' and 'model'.")
    given = body.get("input")
    texts = [given] if isinstance(given, str) else given
    if isinstance(texts, list) and texts and all(isinstance(t, int | list) for t in texts):
        cure = "Send texts (LangChain: check_embedding_ctx_length=False)."
        refuse("input", "Token ids of another model mean nothing here.", cure, code="unsupported")
    if not isinstance(texts, list) or not 1 <= len(texts) <= _MOST:
        refuse("input", "'input' must be a text, or a list of texts.", f"Give 1 to {_MOST} texts.")
    for n, text in enumerate(texts):
        if not isinstance(text, str) or not text or len(text) > _LONGEST:
            refuse(f"input[{n}]", "An input must be text.", f"Give 1 to {_LONGEST} characters.")
        if text.encode("utf-8", "replace").decode() != text:
            refuse(f"input[{n}]", "An input is not Unicode text.", "Leave out lone surrogates.")
    if (model := body.get("model") or NAME) not in (NAME, *ALIASES):
        raise _unknown(model)
    size = body.get("dimensions") or max(SIZES)
    if isinstance(size, bool) or size not in SIZES:
        cure = f"Choose one of: {', '.join(map(str, SIZES))}."
        refuse("dimensions", f"'dimensions' cannot be {told(size)}.", cure)
    form = body.get("encoding_format") or "float"
    if form not in ("float", "base64"):
        refuse("encoding_format", f"'encoding_format' cannot be {told(form)}.", "Choose float or base64.")
    return texts, model, int(size), form == "base64"


def _packed(row: Any) -> str:
    return base64.b64encode(row.astype("<f4").tobytes()).decode()


def _unknown(name: Any) -> UsageError:
    return UsageError(f"No embedding model {told(name)}.", f"Choose {NAME}.", code="model_not_found")
