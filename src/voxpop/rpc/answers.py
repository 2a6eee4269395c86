"""One admitted call on its way: the answers that were asked for, as they come, and what is said beside."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from xai_sdk.proto import usage_pb2

from voxpop.choices import interleaved
from voxpop.desk import Turn
from voxpop.messages import AnswerEvent, Citation
from voxpop.posts import Post
from voxpop.rpc.reading import Asked
from voxpop.rpc.writing import FINGERPRINT, Told, usage


@dataclass(slots=True)
class Answering:
    """`at` is the second in which it was asked; `told` and `events` fill while `outputs` is read."""

    asked: Asked
    turn: Turn
    id: str
    at: int
    told: list[Told] = field(init=False)
    events: list[list[AnswerEvent]] = field(init=False)

    def __post_init__(self) -> None:
        self.told = [Told(self.asked, self.id, n) for n in range(self.asked.answers)]
        self.events = [[] for _ in self.told]

    async def outputs(self) -> AsyncIterator[Any]:
        """Each CompletionOutputChunk as it comes; closing it stops the engine."""
        streams = [self.turn.events(told.choice) for told in self.told]
        async with aclosing(interleaved(streams)) as events:  # type: ignore[type-var]
            async for choice, event in events:
                self.events[choice].append(event)
                for output in self.told[choice].add(event):
                    yield output

    @property
    def frame(self) -> dict[str, Any]:
        """What every chunk, and the whole answer, says of itself."""
        return {
            "id": self.id,
            "created": Timestamp(seconds=self.at),
            "model": self.asked.named,
            "system_fingerprint": FINGERPRINT,
            "service_tier": usage_pb2.SERVICE_TIER_DEFAULT,
        }

    @property
    def beside(self) -> dict[str, Any]:
        """What an answer says at its end: the addresses of the cited posts, and what was used."""
        cited = dict.fromkeys(url for told in self.told for url in told.citations)
        return {"citations": list(cited), "usage": usage(self.told, self.turn.ticks)}

    @property
    def posts(self) -> list[Post]:
        """The cited posts, as they stood."""
        return [e.passage.post for events in self.events for e in events if isinstance(e, Citation)]
