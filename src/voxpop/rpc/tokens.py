"""xAI's Tokenize and Embedder services: how a text is cut into tokens, and what its vector is."""

import asyncio
import base64
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from xai_sdk.proto import embed_pb2, tokenize_pb2, usage_pb2

from voxpop.accounts import Spent
from voxpop.desk import Desk
from voxpop.dialects import NAME, resolve
from voxpop.engines.pieces import pieces
from voxpop.errors import FieldError
from voxpop.places import Places
from voxpop.rpc.door import caller
from voxpop.rpc.running import Running
from voxpop.rpc.writing import FINGERPRINT
from voxpop.vectors import ALIASES, Vectors
from voxpop.vectors import NAME as VECTORS

_LONGEST = 100_000  # characters that are cut into tokens at once
_MOST_TEXTS, _LONGEST_TEXT = 2048, 32_000
_CHARS = 4  # of a token, where only an estimate is to be had


@dataclass(frozen=True, slots=True)
class Tokenize:
    """The one method."""

    running: Running
    desk: Desk

    async def TokenizeText(self, request: Any, context: Any) -> Any:
        """The engine's tokens; their bytes together are the text."""
        running = self.running
        model = resolve(request.model or NAME, running.voices, running.aliases)
        account = caller().account
        account.check("tokenize", model)
        if not 0 < len(request.text) <= _LONGEST:
            raise FieldError("text", f"'text' must be text of 1 to {_LONGEST} characters.", "Send it in parts.")
        async with self.desk.work(account, "tokens", endpoint="tokenize", model=model, id=caller().id) as work:
            caller().told.update(work.headers)
            cut = await asyncio.to_thread(pieces, running.engine(), request.text)
        tokens = [
            tokenize_pb2.Token(token_id=p.id, string_token=p.bytes.decode("utf-8", "replace"), token_bytes=p.bytes)
            for p in cut
        ]
        return tokenize_pb2.TokenizeTextResponse(tokens=tokens, model=request.model or NAME)


@dataclass(frozen=True, slots=True)
class Embedder:
    """The one method. `load` gives the vectors, at the first need."""

    desk: Desk
    places: Places
    load: Callable[[], Vectors]

    async def Embed(self, request: Any, context: Any) -> Any:
        """A vector a text, as floats or packed as little-endian float32. Raises FieldError."""
        texts, packed = _texts(request)
        account, id_ = caller().account, caller().id
        account.check("embeddings", VECTORS)
        with self.places.held():
            vectors = await asyncio.to_thread(self.load)
            tokens = sum(len(t) for t in texts) // _CHARS
            named = {"endpoint": "embeddings", "model": VECTORS, "id": id_}
            async with self.desk.work(account, "embeddings", **named, tokens=tokens) as work:
                caller().told.update(work.headers)
                rows, counts = await asyncio.to_thread(vectors.embed, texts)
                work.spent = Spent(prompt_tokens=sum(counts), answers=1)
        return embed_pb2.EmbedResponse(
            id=f"embd_{secrets.token_hex(12)}",
            embeddings=[
                embed_pb2.Embedding(index=n, embeddings=[_vector(row, packed=packed)]) for n, row in enumerate(rows)
            ],
            usage=usage_pb2.EmbeddingUsage(num_text_embeddings=len(texts)),
            model=request.model or VECTORS,
            system_fingerprint=FINGERPRINT,
        )


def _texts(request: Any) -> tuple[list[str], bool]:
    if request.model not in ("", VECTORS, *ALIASES):
        what = f"No embedding model '{request.model[:60]}'."
        raise FieldError("model", what, f"Choose {VECTORS}.", code="model_not_found")
    if not 1 <= len(request.input) <= _MOST_TEXTS:
        raise FieldError("input", f"There are {len(request.input)} inputs.", f"Give 1 to {_MOST_TEXTS} texts.")
    for one in request.input:
        if one.WhichOneof("input") != "string":
            raise FieldError(
                "input", "An input is no text.", "Give texts: pictures are not read.", code="unsupported"
            )
        if not 0 < len(one.string) <= _LONGEST_TEXT:
            raise FieldError("input", "An input is empty or too long.", f"Give 1 to {_LONGEST_TEXT} characters.")
    if request.encoding_format not in (0, embed_pb2.FORMAT_FLOAT, embed_pb2.FORMAT_BASE64):
        what = f"No encoding {request.encoding_format}."
        raise FieldError("encoding_format", what, "Choose float or base64.")
    return [one.string for one in request.input], request.encoding_format == embed_pb2.FORMAT_BASE64


def _vector(row: Any, *, packed: bool) -> Any:
    if packed:
        return embed_pb2.FeatureVector(base64_array=base64.b64encode(row.astype("<f4").tobytes()).decode())
    return embed_pb2.FeatureVector(float_array=row.tolist())
