"""Who answers, in OpenAI's and xAI's shapes, and how a text is cut into tokens; pictures are told to be not served.

OpenAI's API reference (models) and xAI's (language-models, embedding-models, image-generation-models,
tokenize-text). A price is xAI's: ticks of 1e-10 US dollars for a token or a search.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from voxpop import __version__, dialects
from voxpop.api.asked import model_of
from voxpop.api.bodies import read_json
from voxpop.api.chat import Speaking, fingerprint, known
from voxpop.api.entry import account_of
from voxpop.api.fields import refuse
from voxpop.api.working import TOKENS, working
from voxpop.engines.pieces import pieces
from voxpop.errors import UsageError
from voxpop.tiers import Price

_LONGEST = 100_000  # characters that are cut into tokens at once


@dataclass(frozen=True, slots=True)
class ModelFaces:
    """The handlers, bound to the running program; `price` gives what a model costs, by our name of it."""

    running: Speaking
    price: Callable[[str], Price] = field(default=lambda _: Price())

    def routes(self) -> list[Route]:
        """Where they are served."""
        return [
            Route("/v1/models", self.models),
            Route("/v1/models/{name}", self.model),
            Route("/v1/language-models", self.language_models),
            Route("/v1/language-models/{name}", self.language_model),
            Route("/v1/image-generation-models", _none),
            Route("/v1/image-generation-models/{name}", _missing),
            Route("/v1/tokenize-text", self.tokenize, methods=["POST"]),
            *(Route(f"/v1/images/{what}", _pictures, methods=["POST"]) for what in ("generations", "edits")),
        ]

    async def models(self, request: Request) -> Response:
        rows = [self._row(name, name) for name in dialects.named(self.running.voices)]
        return JSONResponse({"object": "list", "data": rows})

    async def model(self, request: Request) -> Response:
        return JSONResponse(self._row(*self._found(request)))

    async def language_models(self, request: Request) -> Response:
        return JSONResponse({"models": [self._spoken(n, n) for n in dialects.named(self.running.voices)]})

    async def language_model(self, request: Request) -> Response:
        return JSONResponse(self._spoken(*self._found(request)))

    async def tokenize(self, request: Request) -> Response:
        """`{"token_ids": [{"token_id", "string_token", "token_bytes"}]}`; the bytes together are the text."""
        body = await read_json(request)
        if not isinstance(body, dict):
            raise UsageError("The body is not a JSON object.", "Send 'text' and 'model'.")
        model, _ = model_of(body, known(self.running))
        account_of(request).check("tokenize", model)
        text = body.get("text")
        if not isinstance(text, str) or not 0 < len(text) <= _LONGEST:
            refuse("text", f"'text' must be text of 1 to {_LONGEST} characters.", "Send it in parts.")
        if text.encode("utf-8", "replace").decode() != text:
            refuse("text", "'text' is not Unicode text.", "Leave out lone surrogates.")
        async with working(request, TOKENS, model=model) as work:
            cut = pieces(self.running.engine(), text)
        return JSONResponse({"token_ids": [_token(*p) for p in cut]}, headers=work.headers)

    def _found(self, request: Request) -> tuple[str, str]:
        """The name that was asked for, and our own of it. Raises FieldError."""
        name = request.path_params["name"]
        return name, dialects.resolve(name, self.running.voices, self.running.aliases)

    def _row(self, named: str, model: str) -> dict[str, Any]:
        price = self.price(model).each()
        return {
            "id": named,
            "object": "model",
            "created": self.running.started,
            "owned_by": "voxpop",
            "aliases": self._aliases(model),
            "context_length": self.running.engine().describe().context,
            "prompt_text_token_price": price.prompt,
            "cached_prompt_text_token_price": price.cached,
            "completion_text_token_price": price.completion,
            "policy": self.running.policy.json(),
        }

    def _spoken(self, named: str, model: str) -> dict[str, Any]:
        price = self.price(model).each()
        return {
            "id": named,
            "aliases": self._aliases(model),
            "version": __version__,
            "fingerprint": fingerprint(self.running),
            "input_modalities": ["text"],
            "output_modalities": ["text"],
            "object": "model",
            "created": self.running.started,
            "owned_by": "voxpop",
            "prompt_text_token_price": price.prompt,
            "cached_prompt_text_token_price": price.cached,
            "prompt_image_token_price": 0,
            "completion_text_token_price": price.completion,
            "search_price": price.searches,
        }

    def _aliases(self, model: str) -> list[str]:
        return list(self.running.aliases) if model == dialects.NAME else []


def _token(number: int, raw: bytes) -> dict[str, Any]:
    return {"token_id": number, "string_token": raw.decode("utf-8", "replace"), "token_bytes": list(raw)}


async def _none(request: Request) -> Response:
    return JSONResponse({"models": []})


async def _missing(request: Request) -> Response:
    cure = "See /v1/language-models for those that answer."
    raise UsageError(f"No model '{request.path_params['name'][:60]}'.", cure, code="model_not_found")


async def _pictures(request: Request) -> Response:
    cure = "Ask for text by /v1/chat/completions."
    raise UsageError("No picture is made here: voxpop has no model for pictures.", cure, code="not_implemented")
