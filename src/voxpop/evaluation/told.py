"""One answer as the suites read it: what was shown, what it cites, how it was treated; it judges nothing."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from voxpop.messages import AnswerEvent, Citation, Done, Passage, Refused, Text, Withheld
from voxpop.posts import Post


@dataclass(slots=True)
class Told:
    """The events of one answer, sorted. `id` names its question, `verify_ms` the time that its checks took."""

    id: str
    question: str
    texts: list[Text] = field(default_factory=list)
    passages: dict[int, Passage] = field(default_factory=dict)
    withheld: list[Withheld] = field(default_factory=list)
    refused: Refused | None = None
    done: Done | None = None
    verify_ms: float = 0.0
    events: list[AnswerEvent] = field(default_factory=list)

    @property
    def sentences(self) -> list[Text]:
        return [t for t in self.texts if t.kind == "sentence"]

    @property
    def answered(self) -> bool:
        """Whether anything was said of the world: a sentence, or a model's own text."""
        return any(t.kind in ("sentence", "chat") for t in self.texts)

    @property
    def said(self) -> str:
        """All that was shown, notices too."""
        return "\n".join(t.text for t in self.texts)

    @property
    def cited(self) -> tuple[str, ...]:
        """The ids of the posts that its sentences cite, in their order."""
        return tuple(dict.fromkeys(p.id for t in self.sentences for p in self.posts(t)))

    @property
    def result(self) -> str:
        """What the receipt says of a result: nothing, declared, not declared."""
        return self.done.receipt.result if self.done else ""

    @property
    def status(self) -> str:
        """How the question was treated, in a word or two."""
        if self.refused:
            return f"refused: {self.refused.rule}"
        return f"{'answered' if self.answered else 'abstained'}{', ' if self.result else ''}{self.result}"

    def posts(self, text: Text) -> list[Post]:
        """The posts that a text cites."""
        return [self.passages[n].post for n in text.citations if n in self.passages]


async def read(id_: str, question: str, events: AsyncIterator[AnswerEvent]) -> Told:
    """Hear an answer to its end."""
    told = Told(id_, question)
    async for event in events:
        told.events.append(event)
        match event:
            case Text():
                told.texts.append(event)
            case Citation(passage):
                told.passages[passage.number] = passage
            case Withheld():
                told.withheld.append(event)
            case Refused():
                told.refused = event
            case Done():
                told.done = event
    return told
