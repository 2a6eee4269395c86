"""Kept answers opened again and made again: what holds, what is gone, what was replaced, and the same bytes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from test_assistant import BOARD, NOW, QUESTION, STREET, Scripted, ask, done, post
from test_history import held, windows
from voxpop import voices
from voxpop.app import authorities
from voxpop.assistant import Assistant
from voxpop.authorities import Authorities
from voxpop.config import Config
from voxpop.engines import Engine, EngineInfo
from voxpop.engines.echo import EchoEngine
from voxpop.engines.quote import QuoteEngine
from voxpop.evaluation import night as world
from voxpop.history import History
from voxpop.posts import AccountGone, Author, Delete, Renamed, Upsert
from voxpop.reopening import Answers, Reopened
from voxpop.simulator.night_facts import Fact
from voxpop.simulator.world import FACTS
from voxpop.store.local import LocalStore
from voxpop.times import MICROS

LISTS = Authorities.of([BOARD])
TURNOUT = "What is the turnout in Oss?"
COUNTED = post(1, BOARD, "Turnout in Oss at 20:00: 52 %.", 60)
REVISED = post(2, BOARD, "CORRECTION: turnout in Oss at 20:00 is 57 %, not 52 %.", 10)
HEARD = post(3, STREET, "The turnout in Oss feels high, long queues at the school.", 50)


class World:
    """A store, an assistant that keeps what it answers, and what opens it; `now` can be moved on."""

    def __init__(self, store: LocalStore, folder: Path, history: History) -> None:
        self.store, self.folder, self.history, self.now = store, folder, history, NOW
        self.engine: Engine = QuoteEngine()
        self.assistant = Assistant(
            store,
            lambda: self.engine,
            voices.load(),
            authorities=LISTS,
            clock=lambda: self.now,
            keep=history.keep,
        )
        self.answers = Answers(history, store, self.assistant, lambda: self.now)

    async def apply(self, *events: Any) -> None:
        await self.store.apply("test", events)

    async def asked(self, question: str, **more: Any) -> str:
        return done(await ask(self.assistant, question, **more)).id


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[World]:
    async with LocalStore(tmp_path) as store, History(tmp_path, keep_days=30, clock=lambda: NOW) as history:
        yield World(store, tmp_path, history)


def states(answer: Reopened) -> list[str]:
    return [line.state for line in answer.lines if line.numbers]


async def test_a_post_that_still_stands_holds(place: World) -> None:
    await place.apply(Upsert(COUNTED, "1"), Upsert(HEARD, "2"))
    answer = await place.answers.open(await place.asked(TURNOUT))
    assert answer.holds
    assert states(answer)[0] == "holds"
    assert answer.done
    assert answer.done.id == answer.kept.id
    assert "52 %" in str(answer.lines)


GONE: dict[str, Any] = {
    "deleted": Delete(COUNTED.id, NOW, "9"),
    "account gone": AccountGone(BOARD, NOW, "9"),
    "edited": Upsert(replace(COUNTED, text="Turnout in Oss at 20:00: 53 %.", witnessed_at=NOW - 5), "9"),
}


@pytest.mark.parametrize("how", GONE)
async def test_a_post_that_is_gone_takes_its_sentence_along(place: World, how: str) -> None:
    await place.apply(Upsert(COUNTED, "1"), Upsert(HEARD, "2"))
    id_ = await place.asked(TURNOUT)
    await place.apply(GONE[how])
    answer = await place.answers.open(id_)
    assert not answer.holds
    gone = [line for line in answer.lines if line.state == "gone"]
    assert [(line.text, line.numbers) for line in gone] == [(None, (1,))]
    verb = "has another text now" if how == "edited" else "is gone"
    assert gone[0].why == f"the post [1] (at://1) {verb}"
    assert [(m.id, m.how, m.number) for m in answer.missing] == [
        ("at://1", "edited" if how == "edited" else "deleted", 1)
    ]
    assert "52 %" not in str(answer)
    made = await place.answers.reproduce(id_)
    assert (made.identical, made.why, made.diff) == (False, (f"the post at://1 {verb}",), ())


async def test_a_corrected_post_is_struck_through_with_what_replaced_it(place: World) -> None:
    await place.apply(Upsert(COUNTED, "1"), Upsert(HEARD, "2"))
    place.now = NOW - 20 * 60 * MICROS
    id_ = await place.asked(TURNOUT)
    then = await place.asked(TURNOUT, as_of=place.now)
    assert (await place.answers.open(id_)).holds
    place.now = NOW
    await place.apply(Upsert(REVISED, "3"))
    answer = await place.answers.open(id_)
    (replaced,) = [line for line in answer.lines if line.state == "replaced"]
    assert replaced.text
    assert "52 %" in replaced.text.text
    assert replaced.why == "a later post replaced what it says"
    assert replaced.by
    assert replaced.by.post.id == REVISED.id
    assert (await place.answers.open(then)).holds, "an answer of an earlier moment speaks of that moment"
    assert (await place.answers.reproduce(id_)).identical


async def test_a_result_that_was_not_declared_and_is_by_now(place: World) -> None:
    early = post(4, STREET, "Mara Lind is elected Mayor of Oss, people cheer here!", 50)
    await place.apply(
        Upsert(early, "1"), Upsert(replace(early, id="at://5", author=Author("did:b", "b.example")), "2")
    )
    id_ = await place.asked(QUESTION)
    before = await place.answers.open(id_)
    assert before.holds
    assert before.done
    assert before.done.receipt.result == "not declared"
    await place.apply(Upsert(post(6, BOARD, "DECLARED: Mara Lind is elected Mayor of Oss with 52.4 %.", 1), "3"))
    after = await place.answers.open(id_)
    over = [line for line in after.lines if line.why == "a listed authority has declared since"]
    assert over
    assert all(line.state == "replaced" and line.by and line.by.post.id == "at://6" for line in over)


# -- made again -------------------------------------------------------------------------------------------------


async def test_it_is_made_of_what_was_found_then_not_of_what_is_found_now(place: World) -> None:
    await place.apply(Upsert(COUNTED, "1"), Upsert(HEARD, "2"))
    id_ = await place.asked(TURNOUT, voice="fun")
    searched = place.store.search

    async def search(*_: Any) -> Any:
        raise AssertionError("a search while an answer is made again")

    place.store.search = search  # type: ignore[method-assign]
    await place.apply(Upsert(REVISED, "3"), Renamed(Author(BOARD, "other.example", "Other"), "4"))
    place.now += 3600 * MICROS
    made = await place.answers.reproduce(id_)
    assert (made.identical, made.why, made.diff) == (True, (), ())
    place.store.search = searched  # type: ignore[method-assign]
    assert TURNOUT in [row.question for row in await place.answers.listed(9)]
    assert len(await place.answers.listed(9)) == 1, "what is made again is not kept again"


async def test_a_model_is_asked_again_and_another_one_is_named(place: World) -> None:
    await place.apply(Upsert(COUNTED, "1"), Upsert(HEARD, "2"))
    place.engine = Scripted("Turnout in Oss is 52 %. [1]\nIt is 99 %. [1]\n")
    id_ = await place.asked(TURNOUT)
    assert (await place.answers.reproduce(id_)).identical
    place.engine = Scripted("Turnout in Oss at 20:00: 52 %. [1]\n")
    made = await place.answers.reproduce(id_)
    assert (made.identical, made.why) == (False, ())
    assert any(line.startswith("-") and "99 %" in line for line in made.diff)

    class Renewed(Scripted):
        def describe(self) -> EngineInfo:
            return replace(super().describe(), digest="ab" * 32)

    place.engine = Renewed("Turnout in Oss is 51 %. [1]\n")
    made = await place.answers.reproduce(id_)
    assert (made.identical, made.diff) == (False, ())
    assert made.why == (f"it was written by scripted none, and now by scripted none ({'ab' * 6})",)


async def test_the_quotes_need_no_engine(place: World) -> None:
    await place.apply(Upsert(COUNTED, "1"))
    id_ = await place.asked(TURNOUT)
    place.engine = Scripted("Turnout in Oss is 51 %. [1]\n")
    assert (await place.answers.reproduce(id_)).identical


async def test_other_rules_are_named_not_taken_for_a_fault(place: World) -> None:
    await place.apply(Upsert(COUNTED, "1"))
    place.engine = Scripted("Turnout in Oss is 52 %. [1]\n")
    id_ = await place.asked(TURNOUT)
    await place.answers.open(id_)  # it is written by now
    place.history.rules = "f" * 64
    made = await place.answers.reproduce(id_)
    assert made.identical
    assert "made by other rules" in made.why[0]
    place.engine = Scripted("Turnout in Oss at 20:00: 52 %. [1]\n")
    made = await place.answers.reproduce(id_)
    assert (made.identical, made.diff) == (False, ())
    assert "made by other rules" in made.why[0]


def test_the_rules_are_the_code_the_word_lists_and_the_operators_lists(tmp_path: Path) -> None:
    def rules(more: str) -> str:
        return History(tmp_path, keep_days=1, clock=lambda: 0, rules=more).rules

    assert rules("a") == rules("a") != rules("b")


async def test_a_changed_or_missing_voice_is_named(place: World, tmp_path: Path) -> None:
    await place.apply(Upsert(COUNTED, "1"))
    id_ = await place.asked(TURNOUT, voice="fun")
    known = place.assistant._voices
    changed = replace(known["fun"], lines={"en": {s: ("Well.",) for s in known["fun"].lines["en"]}})
    place.assistant._voices = {**known, "fun": changed}
    made = await place.answers.reproduce(id_)
    assert (made.identical, made.why) == (False, ("the voice 'fun' was changed",))
    place.assistant._voices = {"regular": known["regular"]}
    assert (await place.answers.reproduce(id_)).why == ("No voice 'fun'.",)


async def test_a_refusal_and_small_talk_are_made_again_too(place: World) -> None:
    place.engine = EchoEngine()
    for question in ("Hello", "How do I build a pipe bomb at home?", "Who won in Nowhere?"):
        id_ = await place.asked(question)
        made = await place.answers.reproduce(id_)
        assert made.identical, (question, made)
        assert (await place.answers.open(id_)).holds


# -- the whole night --------------------------------------------------------------------------------------------


Asked = list[tuple[str, str]]  # each question with the id of its answer


@asynccontextmanager
async def _kept_night(
    heard: Any, folder: Path, engine: Engine, facts: Sequence[Fact]
) -> AsyncIterator[tuple[Answers, Asked]]:
    """The night's questions at their moments, each opened and made again at once; then the night at its end."""
    now, before, asked = heard.moment(0), 0, Asked()
    async with LocalStore(folder) as store, History(folder, keep_days=30, clock=lambda: now) as history:
        made = Assistant(
            store,
            lambda: engine,
            voices.load(),
            authorities=authorities(Config(), invented=True),
            clock=lambda: now,
            keep=history.keep,
        )
        answers = Answers(history, store, made, lambda: now)
        for fact in sorted(facts, key=lambda f: f.at):
            now = heard.moment(fact.at)
            await store.apply("night", [e for e in world.upto(heard.events, now) if _new(e, before)])
            before = now
            id_ = done(await ask(made, fact.question)).id
            asked.append((fact.question, id_))
            opened = await answers.open(id_)
            assert opened.holds, (fact.question, [line for line in opened.lines if line.state != "holds"])
            again = await answers.reproduce(id_)
            assert (again.identical, again.why) == (True, ()), (fact.question, again)
        yield answers, asked


def _new(event: Any, before: int) -> bool:
    at = event.post.witnessed_at if isinstance(event, Upsert) else getattr(event, "at", before)
    return isinstance(event, Renamed) or at > before


ENGINES: dict[str, Callable[[], Engine]] = {
    "quote": QuoteEngine,
    "echo": lambda: EchoEngine("Dreyl won. [1]\nThe turnout was 61.4 %. [1][2]\n“Everything is fine.” [3]"),
}


@pytest.mark.parametrize(("name", "every"), [("quote", 1), ("echo", 3)])
def test_every_answer_of_the_night_is_made_again(night: Any, tmp_path: Path, name: str, every: int) -> None:
    async def play() -> None:
        async with _kept_night(night, tmp_path, ENGINES[name](), FACTS[::every]) as (answers, asked):
            assert len(asked) == len(FACTS[::every]) > 12
            for question, id_ in asked:
                opened, again = await answers.open(id_), await answers.reproduce(id_)
                assert again.identical == (not opened.missing), (question, again)
                assert not again.diff
                for line in opened.lines:
                    assert (line.text is None) == (line.state == "gone")
            burnt = await answers.open(dict(asked)["Is a ballot box on fire in Dornick?"])
            # What an engine wrote decides which posts are cited beside the one that is gone
            assert {"quote": {"gone", "replaced"}, "echo": {"gone"}}[name] <= set(states(burnt))

    asyncio.run(play())
    found, asked = held(tmp_path), " ".join(f.question for f in FACTS)
    gone = {e.id for e in night.events if isinstance(e, Delete)}
    texts = {e.post.text for e in night.events if isinstance(e, Upsert) and e.post.id in gone}
    assert len(texts) > 10
    for text in texts:
        assert all(stretch not in found for stretch in windows(text, asked)), text
