"""Open a kept answer again: what of it still holds, and whether the same steps make it once more; it mends nothing.

A sentence is gone where a post that it cites is gone or has another text now. What can be opened is verified as if
it were written now, beside what was posted since: a later post may have replaced what it says.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import unified_diff
from typing import Literal

from voxpop.answering import LABELS, Made
from voxpop.assistant import Assistant, Since
from voxpop.drafts import Draft
from voxpop.engines import EngineInfo
from voxpop.errors import VoxpopError
from voxpop.evidence import Evidence
from voxpop.history import History, Listed
from voxpop.messages import Citation, Done, Passage, Text, Withheld
from voxpop.recipes import How, Kept, Opened, digest, told
from voxpop.schemas import Schema
from voxpop.store import Store
from voxpop.structured import judge
from voxpop.verification import verify

State = Literal["holds", "gone", "replaced", "fails"]


@dataclass(frozen=True, slots=True)
class Line:
    """A piece of a kept answer and whether it still holds.

    `text` is None where a post that it rests on is gone; `numbers` are its citations all the same. `why` says for a
    reader why it does not hold; `by` is the post that replaced what it says.
    """

    text: Text | None
    numbers: tuple[int, ...] = ()
    state: State = "holds"
    why: str = ""
    by: Passage | None = None


@dataclass(frozen=True, slots=True)
class Missing:
    """A post of an answer that is not there as it was: `deleted`, or `edited` where it has another text now.

    `number` is that of its citation, None where the answer does not cite it.
    """

    id: str
    how: How
    number: int | None


@dataclass(frozen=True, slots=True)
class Reopened:
    """A kept answer at this moment (`at`, microseconds); `done` is None where a post is missing."""

    kept: Kept
    at: int
    lines: tuple[Line, ...]
    cited: tuple[Passage, ...]
    withheld: tuple[Withheld, ...]
    missing: tuple[Missing, ...]
    done: Done | None

    @property
    def holds(self) -> bool:
        """Whether every line does."""
        return all(line.state == "holds" for line in self.lines)


@dataclass(frozen=True, slots=True)
class Reproduced:
    """Whether an answer came out the same, and what is not as it was: where that differs, no `diff` is made.

    `diff` has the lines of `diff -u` between the events of then and of now; `done` tells what making it used, None
    where it could not be made.
    """

    identical: bool
    why: tuple[str, ...] = ()
    diff: tuple[str, ...] = ()
    done: Done | None = None


class Answers:
    """The kept answers of a history, over a store and an assistant. Each raises UsageError for an unknown id.

    Of an `owner` only those are known that it asked; None, for the operator's commands, knows all.
    """

    def __init__(self, history: History, store: Store, assistant: Assistant, clock: Callable[[], int]) -> None:
        self._history, self._store, self._assistant, self._clock = history, store, assistant, clock

    async def listed(self, limit: int, *, owner: str | None = "") -> list[Listed]:
        """The newest, newest first."""
        return await self._history.listed(limit, owner=owner)

    async def remove(self, id_: str, *, owner: str | None = "") -> None:
        """Remove one."""
        await self._history.remove(id_, owner=owner)

    async def open(self, id_: str, *, owner: str | None = "") -> Reopened:
        """One with each sentence held against its posts and against what was posted since."""
        kept = await self._history.get(id_, owner=owner)
        recipe = kept.recipe
        opened = kept.opened(await self._store.posts(recipe.posts))
        events = [e.event for e in opened.events]
        cited = tuple(e.passage for e in events if isinstance(e, Citation))
        now = await self._assistant.since(recipe.request, recipe.at, _numbered(opened, cited))
        done = next((replace(e, id=kept.id) for e in events if isinstance(e, Done)), None)
        declared = now.result == "declared" and done is not None and done.receipt.result == "not declared"
        numbers = {e.rests[0]: e.numbers[0] for e in opened.events if e.kind == "Citation"}
        missing = tuple(Missing(id_, how, numbers.get(id_)) for id_, how in opened.missing)
        return Reopened(
            kept,
            self._clock(),
            tuple(_lines(opened, missing, now, recipe.request.schema, declared=declared)),
            cited,
            tuple(e for e in events if isinstance(e, Withheld)),
            missing,
            done,
        )

    async def reproduce(self, id_: str, *, owner: str | None = "") -> Reproduced:
        """One made again by the same steps: whether each event comes out the same, or what stands in the way."""
        kept = await self._history.get(id_, owner=owner)
        recipe = kept.recipe
        opened = kept.opened(await self._store.posts(recipe.posts))
        if opened.looked is None:
            return Reproduced(False, tuple(_gone(Missing(*each, None)) for each in opened.missing))
        try:
            again = await self._assistant.again(recipe.request, recipe.at, recipe.engine.name, opened.looked)
        except VoxpopError as error:
            return Reproduced(False, (error.what,))
        before, now = told(e.event for e in opened.events if e.event), told(again.events)
        reasons = _other(kept, again, self._history.rules)
        done = next((e for e in again.events if isinstance(e, Done)), None)
        if before == now and digest(again.prompt) == opened.prompt:
            return Reproduced(True, reasons, done=done)
        if reasons:
            return Reproduced(False, reasons, done=done)
        if before == now:
            return Reproduced(False, ("the engine saw another prompt",), done=done)
        return Reproduced(False, (), tuple(unified_diff(before, now, "kept", "now", lineterm="", n=0)), done)


def _numbered(opened: Opened, cited: Sequence[Passage]) -> list[Passage]:
    """All passages of then that are still there: the cited ones under their numbers, the others after all cited."""
    known = {p.post.id for p in cited}
    first = 1 + max((n for e in opened.events for n in e.numbers), default=0)
    others = [p for p in opened.passages if p and p.post.id not in known]
    return [*cited, *(replace(p, number=n) for n, p in enumerate(others, first))]


def _lines(
    opened: Opened, missing: Sequence[Missing], now: Since, schema: Schema | None, *, declared: bool
) -> Iterator[Line]:
    """Each piece; `declared`: a result that was not declared then is by now, and what was said of that is over."""
    gone, passages = {each.id: each for each in missing}, {p.number: p for p in now.passages}
    for each in opened.events:
        if isinstance(each.event, Text):
            if each.numbers and each.kind == "json":
                yield _filled(each.event, schema or {}, passages, now)
            elif each.numbers:
                yield _held(each.event, passages, now.evidence)
            elif declared and each.kind in ("notice", "quip") and each.event.text not in LABELS:
                by = passages[now.evidence.chosen[0].number] if now.evidence.chosen else None
                yield Line(each.event, (), "replaced", "a listed authority has declared since", by)
            else:
                yield Line(each.event)
        elif each.kind in ("sentence", "json"):
            why = "; ".join(_gone(gone[id_]) for id_ in each.rests if id_ in gone)
            yield Line(None, each.numbers, "gone", why)


def _gone(post: Missing) -> str:
    named = f"[{post.number}] ({post.id})" if post.number else post.id
    return f"the post {named} {'is gone' if post.how == 'deleted' else 'has another text now'}"


def _filled(text: Text, schema: Schema, passages: Mapping[int, Passage], now: Since) -> Line:
    """JSON of posts: it holds as long as they carry its values, and none of them was replaced."""
    standing = {c.number for c in now.evidence.chosen}
    later = {c.number: c.by for c in now.evidence.superseded if c.number not in standing and c.by}
    for number in text.citations:
        if number in later:
            return Line(
                text, text.citations, "replaced", "a later post replaced what it says", passages[later[number]]
            )
    cited = [passages[n] for n in text.citations]
    judged = judge(json.loads(text.text), schema, cited, result=bool(now.result))
    return Line(text, text.citations, "fails" if judged.reason else "holds", judged.reason)


def _held(text: Text, passages: Mapping[int, Passage], evidence: Evidence) -> Line:
    verdict = verify(Draft(text.text, text.citations), passages, evidence)
    if verdict.shown:
        return Line(text, text.citations)
    by = passages.get(verdict.by) if verdict.by else None
    if by:
        return Line(text, text.citations, "replaced", "a later post replaced what it says", by)
    return Line(text, text.citations, "fails", verdict.reason)


def _other(kept: Kept, again: Made, rules: str) -> tuple[str, ...]:
    """What is not as it was: where these differ, a difference of the answer says nothing."""
    recipe, found = kept.recipe, list[str]()
    if recipe.rules != rules:
        found.append(f"it was made by other rules (voxpop {recipe.version}, {recipe.rules[:12]}; now {rules[:12]})")
    if recipe.voice != digest(again.voice):
        found.append(f"the voice '{again.voice.name}' was changed")
    was, now = recipe.engine, again.engine
    if (was.name, was.model, was.digest) != (now.name, now.model, now.digest):
        found.append(f"it was written by {_named(was)}, and now by {_named(now)}")
    return tuple(found)


def _named(engine: EngineInfo) -> str:
    file = f" ({engine.digest[:12]})" if engine.digest else ""
    return f"{engine.name} {engine.model}{file}"
