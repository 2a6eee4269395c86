"""xAI's Models service: our voices as language models; there is none for pictures."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from xai_sdk.proto import models_pb2

from voxpop import __version__
from voxpop.accounts import Account
from voxpop.dialects import NAME, named, resolve
from voxpop.errors import UsageError, VoxpopError
from voxpop.rpc.door import caller
from voxpop.rpc.running import Running
from voxpop.rpc.writing import FINGERPRINT
from voxpop.tiers import Price
from voxpop.vectors import ALIASES, Vectors
from voxpop.vectors import NAME as VECTORS

_LONGEST = 32_768  # tokens of a prompt; what an engine cannot hold it leaves out itself


@dataclass(frozen=True, slots=True)
class Models:
    """The six methods; a key sees the models that it may use. `load` gives the vectors, `price` what one costs."""

    running: Running
    load: Callable[[], Vectors]
    price: Callable[[str], Price] = field(default=lambda _: Price())

    async def ListLanguageModels(self, request: Any, context: Any) -> Any:
        """Every model that speaks."""
        account = caller().account
        names = [n for n in named(self.running.voices) if _may(account, n)]
        return models_pb2.ListLanguageModelsResponse(models=[self._model(n) for n in names])

    async def GetLanguageModel(self, request: Any, context: Any) -> Any:
        """One model, by its name or another that it goes by. Raises FieldError."""
        name = resolve(request.name, self.running.voices, self.running.aliases)
        if not _may(caller().account, name):
            raise UsageError(f"No model '{name}' for this key.", "List the models.", code="model_not_found")
        return self._model(name)

    async def ListEmbeddingModels(self, request: Any, context: Any) -> Any:
        """The one whose vectors are here, if they are."""
        there = await self._vectors() and _may(caller().account, VECTORS)
        return models_pb2.ListEmbeddingModelsResponse(models=[self._embedding()] if there else ())

    async def GetEmbeddingModel(self, request: Any, context: Any) -> Any:
        """The one there is. Raises UsageError for another."""
        if (
            request.name not in (VECTORS, *ALIASES)
            or not await self._vectors()
            or not _may(caller().account, VECTORS)
        ):
            raise _missing("embedding", request.name)
        return self._embedding()

    async def ListImageGenerationModels(self, request: Any, context: Any) -> Any:
        """None."""
        return models_pb2.ListImageGenerationModelsResponse()

    async def GetImageGenerationModel(self, request: Any, context: Any) -> Any:
        """Raises UsageError: there is none."""
        raise _missing("image", request.name)

    async def _vectors(self) -> bool:
        with suppress(VoxpopError):
            await asyncio.to_thread(self.load)
            return True
        return False

    def _embedding(self) -> Any:
        modality = models_pb2.Modality
        return models_pb2.EmbeddingModel(
            name=VECTORS,
            aliases=ALIASES,
            version=__version__,
            input_modalities=[modality.TEXT],
            output_modalities=[modality.EMBEDDING],
            created=Timestamp(seconds=self.running.started),
            system_fingerprint=FINGERPRINT,
            prompt_text_token_price=self.price(VECTORS).each().prompt,
        )

    def _model(self, name: str) -> Any:
        text, price = models_pb2.Modality.TEXT, self.price(name).each()
        return models_pb2.LanguageModel(
            name=name,
            aliases=self.running.aliases if name == NAME else (),
            version=__version__,
            input_modalities=[text],
            output_modalities=[text],
            created=Timestamp(seconds=self.running.started),
            max_prompt_length=_LONGEST,
            prompt_text_token_price=price.prompt,
            cached_prompt_token_price=price.cached,
            completion_text_token_price=price.completion,
            search_price=price.searches,
            system_fingerprint=FINGERPRINT,
        )


def _may(account: Account, model: str) -> bool:
    return bool(account.models & {"*", model})


def _missing(kind: str, name: str) -> UsageError:
    cure = "List the language models for what there is."
    return UsageError(f"No {kind} model '{name[:60]}'.", cure, code="model_not_found")
