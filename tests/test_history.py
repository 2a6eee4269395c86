"""Kept answers: nothing of a post without its text, bounded in time, whole or refused, beside other processes."""

import asyncio
import os
import re
import signal
import sqlite3
import stat
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import environment
from test_assistant import DECLARED, NOW, OSS, QUESTION, Scripted, Shelf, ask, assistant, done, post
from voxpop.answering import Looked, Made
from voxpop.engines import Engine
from voxpop.engines.echo import EchoEngine
from voxpop.engines.quote import QuoteEngine
from voxpop.errors import UsageError, VoxpopError
from voxpop.history import History, verify
from voxpop.messages import (
    AnswerEvent,
    Asker,
    Call,
    Citation,
    Done,
    Function,
    Message,
    Passage,
    Receipt,
    Request,
    Text,
    Tools,
)
from voxpop.posts import Author, Engagement, Media, Post
from voxpop.recipes import Kept, dump, kept, load, told

DAY = 24 * 3600 * 1_000_000
WINDOW = 12


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


def history(folder: Path, clock: Callable[[], int] = Clock(), days: float = 30, **more: Any) -> History:  # noqa: B008
    return History(folder, keep_days=days, clock=clock, **more)


async def made_by(engine: Engine, shelf: Shelf = OSS, *said: str, **more: Any) -> Made:
    """An answer, caught as it is given to be kept."""
    caught: list[Made] = []

    def keep(made: Made) -> str:
        caught.append(made)
        return "0123456789abcdef"

    await ask(assistant(engine, shelf, keep=keep), *(said or (QUESTION,)), **more)
    return caught[0]


def shut(made: Made) -> Kept:
    return kept("0123456789abcdef", made, bytes(range(100, 116)), "rules", "0.1.0")


def texts(events: Sequence[AnswerEvent]) -> list[str]:
    return [e.text for e in events if isinstance(e, Text)]


def held(folder: Path) -> bytes:
    """Every byte of the file and its log, and all that deflates out of them."""
    raw = b"".join(p.read_bytes() for p in sorted(folder.glob("answers.db*")) if not p.name.endswith("-shm"))
    found = [raw]
    for at in (m.start() for m in re.finditer(rb"\x78[\x01\x5e\x9c\xda]", raw)):
        try:
            found.append(zlib.decompressobj().decompress(raw[at:]))
        except zlib.error:
            continue
    return b"\0".join(found)


def windows(text: str, besides: str) -> Iterator[bytes]:
    """Each stretch of a text that stands nowhere in what the user asked."""
    raw, asked = text.encode(), besides.encode()
    for at in range(len(raw) - WINDOW + 1):
        if raw[at : at + WINDOW] not in asked:
            yield raw[at : at + WINDOW]


ENGINES: dict[str, Callable[[], Engine]] = {
    "quote": QuoteEngine,
    "echo": EchoEngine,
    "true": lambda: Scripted("Mara Lind is elected Mayor of Oss. [1]\n"),
    "false": lambda: Scripted(f"Tom Beek is elected Mayor of Oss, {DECLARED} [1]\n"),
    "breaking": lambda: Scripted(
        "Mara Lind is elected Mayor of Oss. [1]\nShe", VoxpopError("It broke.", "Mend it.")
    ),
}


@pytest.mark.parametrize("name", ENGINES)
async def test_no_stretch_of_a_post_is_in_the_file_whatever_the_engine(tmp_path: Path, name: str) -> None:
    made: list[Made] = []
    async with history(tmp_path) as kept_:

        def keep(answer: Made) -> str:
            made.append(answer)
            return kept_.keep(answer)

        events = await ask(assistant(ENGINES[name](), keep=keep), QUESTION)
        assert done(events).id
    found = held(tmp_path)
    assert QUESTION.encode() in found
    passages = made[0].looked.passages
    assert passages
    for passage in passages:
        for stretch in windows(passage.post.text, QUESTION):
            assert stretch not in found
        assert passage.post.author.handle.encode() not in found
    for said in texts(events):
        assert all(stretch not in found for stretch in windows(said, QUESTION)), said


POSTS = st.lists(
    st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=WINDOW, max_size=120),
    min_size=1,
    max_size=6,
)


@settings(max_examples=15, deadline=None)
@given(POSTS)
def test_whatever_posts_say_nothing_of_it_is_kept_in_clear(said: list[str]) -> None:
    shelf = Shelf(*(post(n, f"did:{n}", f"The tram is late. {text}") for n, text in enumerate(said, 1)))
    made = asyncio.run(made_by(QuoteEngine(), shelf, "Is the tram late?"))
    answer = shut(made)
    clear = dump(answer.recipe) + b"".join(s.data for s in answer.seals)
    for text in said:
        assert all(stretch not in clear for stretch in windows(text, "Is the tram late?"))
    assert texts([e.event for e in answer.opened(shelf.kept).events if e.event]) == texts(made.events)
    assert not any(e.event for e in answer.opened([]).events if e.rests)


async def test_opened_with_all_its_posts_it_is_the_answer_that_was_given() -> None:
    for engine in ENGINES.values():
        made = await made_by(engine())
        opened = shut(made).opened(OSS.kept)
        assert opened.missing == ()
        assert [e.event for e in opened.events] == list(made.events)
        assert opened.looked == made.looked
        assert opened.passages == made.looked.passages


async def test_without_a_posts_text_what_rests_on_it_stays_shut() -> None:
    made = await made_by(QuoteEngine(), OSS)
    answer = shut(made)
    board, street = OSS.kept
    without = answer.opened([street])
    assert without.missing == (("at://1", "deleted"),)
    assert without.looked is None
    assert [e.kind for e in without.events if e.event] == []
    assert not any("Mara" in str(e.event) for e in without.events)
    # The cited post is there, another one of the search is not: the sentence stands, what rests on all does not
    cited = answer.opened([board])
    shown = [e.event for e in cited.events if isinstance(e.event, Text)]
    assert [t.text for t in shown] == [t for t in texts(made.events) if "Mara Lind" in t]
    assert not any(isinstance(e.event, Done) for e in cited.events)


@pytest.mark.parametrize(
    "changed",
    [
        lambda p: replace(p, text=p.text + " "),
        lambda p: replace(p, text=p.text.replace("52.4", "52.5")),
        lambda p: replace(p, witnessed_at=p.witnessed_at + 1),
    ],
)
async def test_another_text_or_moment_opens_nothing(changed: Callable[[Post], Post]) -> None:
    answer = shut(await made_by(QuoteEngine()))
    opened = answer.opened([changed(OSS.kept[0]), OSS.kept[1]])
    assert opened.missing == (("at://1", "edited"),)
    assert not any(e.event for e in opened.events if "at://1" in e.rests)


async def test_what_else_is_known_of_a_post_may_change() -> None:
    answer = shut(await made_by(QuoteEngine()))
    renamed = replace(OSS.kept[0], author=Author("did:board", "new.example", "New"), engagement=Engagement(9, 9, 9))
    opened = answer.opened([renamed, OSS.kept[1]])
    assert opened.missing == ()
    assert opened.passages[0]
    assert opened.passages[0].post.author.handle == "board.example"


def test_each_answer_has_its_own_salt(tmp_path: Path) -> None:
    async def twice() -> list[Kept]:
        made = await made_by(QuoteEngine())
        async with history(tmp_path) as kept_:
            return [await kept_.get(kept_.keep(made)) for _ in range(2)]

    one, two = asyncio.run(twice())
    assert one.recipe.salt != two.recipe.salt
    assert not {s.data for s in one.seals} & {s.data for s in two.seals}


# -- what is not kept -------------------------------------------------------------------------------------------


async def test_turns_of_the_assistant_are_not_kept(tmp_path: Path) -> None:
    earlier = "@board.example: “DECLARED: Mara Lind is elected Mayor of Oss.”"
    turns = (Message("user", "Who won in Oss?"), Message("assistant", earlier), Message("user", QUESTION))
    async with history(tmp_path) as kept_:
        made = assistant(QuoteEngine(), keep=kept_.keep)
        events = [e async for e in made.answer(Request(turns))]
        answer = await kept_.get(done(events).id)
        assert [m.content for m in answer.recipe.request.messages] == ["Who won in Oss?", QUESTION]
        again = await made.again(answer.recipe.request, NOW, "quote", answer.opened(OSS.kept).looked or Looked())
        assert told(again.events) == told(events)
    assert b"DECLARED" not in held(tmp_path)


async def test_what_a_model_says_of_a_conversation_is_not_kept(tmp_path: Path) -> None:
    turns = (Message("user", "Hello"), Message("assistant", DECLARED), Message("user", "Shorter, please"))
    async with history(tmp_path) as kept_:
        made = assistant(EchoEngine(), keep=kept_.keep)
        assert done([e async for e in made.answer(Request(turns))]).id == ""
        assert done([e async for e in made.answer(Request(turns[:1]))]).id != ""
    assert b"DECLARED" not in held(tmp_path)


def weathers(*messages: Message) -> Request:
    parameters = {"type": "object", "properties": {"z": {"type": "string"}, "a": {"type": "string"}}}
    return Request(messages, tools=Tools((Function("weather", "", parameters),)))


CALLING = '{"calls": [{"name": "weather", "arguments": {"z": "Oss"}}]}'


async def test_what_a_function_led_to_is_not_kept(tmp_path: Path) -> None:
    asked = Message("user", "Hello")
    call, result = Message("assistant", "", (Call("c", "weather"),)), Message("tool", DECLARED, answers="c")
    async with history(tmp_path) as kept_:
        for engine in (EchoEngine(CALLING), EchoEngine(texts=('{"calls": []}', "Well."))):
            made = assistant(engine, keep=kept_.keep)
            assert done([e async for e in made.answer(weathers(asked, call, result))]).id == ""
        on_posts = weathers(Message("assistant", DECLARED), Message("user", "What is told about Lind in Oss?"))
        made = assistant(EchoEngine('{"calls": []}'), keep=kept_.keep)
        assert done([e async for e in made.answer(on_posts)]).id == ""
    assert b"DECLARED" not in held(tmp_path)


async def test_calls_and_json_are_kept_and_come_out_the_same(tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"won": {"type": "string"}, "by": {"type": "number"}}}
    json_ = Request((Message("user", QUESTION),), schema=schema, look="on")
    for request, text in (
        (weathers(Message("user", "Hello")), CALLING),
        (json_, '{"won": "Mara Lind", "by": 52.4}'),
        (json_, '{"won": "Tom Beek", "by": 47.6}'),
        (replace(json_, messages=(Message("user", "Hello"),), look="auto"), '{"won": "hens", "by": 1}'),
    ):
        async with history(tmp_path) as kept_:
            made = assistant(EchoEngine(text), keep=kept_.keep)
            events = [e async for e in made.answer(request)]
            id_ = done(events).id
        async with history(tmp_path) as kept_:
            answer = await kept_.get(id_)
            assert answer.recipe.request == request
            assert list((answer.recipe.request.schema or schema)["properties"]) == ["won", "by"]
            opened = answer.opened(OSS.kept)
            assert told(e.event for e in opened.events if e.event) == told(events)
            name = answer.recipe.engine.name
            again = await made.again(answer.recipe.request, NOW, name, opened.looked or Looked())
            assert told(again.events) == told(events)
    assert b"Mara Lind" not in held(tmp_path)


async def test_a_stopped_or_failed_answer_is_not_kept(tmp_path: Path) -> None:
    async with history(tmp_path) as kept_:
        stopped = assistant(QuoteEngine(), keep=kept_.keep).answer(Request((Message("user", QUESTION),)))
        await anext(stopped)
        await stopped.aclose()  # type: ignore[attr-defined]
        broken = assistant(Scripted(VoxpopError("It broke.", "Mend it.")), keep=kept_.keep)
        with pytest.raises(VoxpopError):
            await ask(broken, "Hello")
        assert await kept_.listed() == []


async def test_nothing_is_kept_for_no_days_and_what_was_goes(tmp_path: Path) -> None:
    made = await made_by(QuoteEngine())
    async with history(tmp_path) as kept_:
        id_ = kept_.keep(made)
    async with history(tmp_path, days=0) as none:
        assert none.keep(made) == ""
        assert await none.listed() == []
        with pytest.raises(UsageError):
            await none.get(id_)
    assert QUESTION.encode() not in held(tmp_path)


# -- time, size and trouble -------------------------------------------------------------------------------------


async def test_what_is_too_old_is_dropped_with_its_question(tmp_path: Path) -> None:
    clock = Clock()
    made = await made_by(QuoteEngine())
    async with history(tmp_path, clock) as kept_:
        old = kept_.keep(replace(made, now=NOW - 29 * DAY))
        new = kept_.keep(replace(made, request=replace(made.request, messages=(Message("user", "And new?"),))))
        assert [row.id for row in await kept_.listed()] == [new, old]
        clock.now += 2 * DAY
        assert [row.id for row in await kept_.listed()] == [new]
        with pytest.raises(UsageError, match="No answer"):
            await kept_.get(old)
        assert QUESTION.encode() in held(tmp_path)
        assert await kept_.drop() == 1
    assert QUESTION.encode() not in held(tmp_path)
    assert b"And new?" in held(tmp_path)


async def test_keeping_drops_what_is_too_old_too(tmp_path: Path) -> None:
    clock = Clock()
    made = await made_by(QuoteEngine())
    async with history(tmp_path, clock) as kept_:
        kept_.keep(made)
        clock.now += 31 * DAY
        kept_.keep(replace(made, now=clock.now))
        await kept_.listed()
    with closing(sqlite3.connect(tmp_path / "answers.db")) as con:
        assert con.execute("SELECT count(*) FROM answers").fetchone() == (1,)


async def test_a_removed_answer_is_gone_with_its_question(tmp_path: Path) -> None:
    made = await made_by(QuoteEngine())
    async with history(tmp_path) as kept_:
        id_ = kept_.keep(made)
        await kept_.remove(id_)
        with pytest.raises(UsageError) as refused:
            await kept_.remove(id_)
        assert refused.value.code == "answer_not_found"
    assert QUESTION.encode() not in held(tmp_path)


async def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    os.umask(before := os.umask(0))
    os.umask(0)
    try:
        made = await made_by(QuoteEngine())
        async with history(tmp_path) as kept_:
            kept_.keep(made)
            await kept_.listed()
            with closing(sqlite3.connect(tmp_path / "answers.db")) as con:
                con.execute("SELECT * FROM answers").fetchone()
                modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert set(modes.values()) == {0o600}, modes
    (tmp_path / "answers.db").chmod(0o644)
    async with history(tmp_path) as kept_:
        await kept_.listed()
    assert stat.S_IMODE((tmp_path / "answers.db").stat().st_mode) == 0o600


async def test_a_disk_that_refuses_stops_no_answer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "answers.db").mkdir()
    async with history(tmp_path) as kept_:
        events = await ask(assistant(QuoteEngine(), keep=kept_.keep), QUESTION)
        assert texts(events)
        with pytest.raises(VoxpopError, match=r"answers\.db failed"):
            await kept_.get(done(events).id)
        assert kept_.tally == {"lost": 1}
    assert "could not be kept" in caplog.text
    assert "Oss" not in caplog.text


async def test_a_disk_that_is_too_slow_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voxpop.history._WAITING", 8)
    made = await made_by(QuoteEngine())
    async with history(tmp_path) as kept_:
        free = asyncio.Event()
        loop = asyncio.get_running_loop()
        kept_._worker.submit(lambda: asyncio.run_coroutine_threadsafe(free.wait(), loop).result())
        ids = [kept_.keep(made) for _ in range(10)]
        assert ids == [*filter(None, ids[:8]), "", ""]
        assert kept_.tally["lost"] == 2
        free.set()
    assert kept_.tally["kept"] == 8


@pytest.mark.parametrize("column", ["question", "recipe", "seals", "at"])
async def test_what_was_changed_is_refused_and_named(tmp_path: Path, column: str) -> None:
    made = await made_by(QuoteEngine())
    async with history(tmp_path) as kept_:
        id_ = kept_.keep(made)
        await kept_.listed()
        assert verify(kept_.path) == []
        kind = "TEXT" if column == "question" else "BLOB"
        change = "at + 1" if column == "at" else f"CAST(CAST({column} AS BLOB) || x'20' AS {kind})"
        with closing(sqlite3.connect(kept_.path)) as con, con:
            con.execute(f"UPDATE answers SET {column} = {change}")
        with pytest.raises(VoxpopError, match="was changed or damaged") as refused:
            await kept_.get(id_)
        assert refused.value.code == "damaged"
        assert verify(kept_.path) == [f"The kept answer {id_} in {kept_.path} was changed or damaged."]


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "answers.db"
    assert verify(path) == []
    path.write_bytes(b"SQLite format 3\0" + bytes(4096))
    (word,) = verify(path)
    assert str(path) in word


async def test_two_may_write_at_once(tmp_path: Path) -> None:
    made = await made_by(QuoteEngine())
    async with history(tmp_path) as one, history(tmp_path) as two:
        ids = {each.keep(made) for _ in range(20) for each in (one, two)}
        await one.listed()
        assert {row.id for row in await two.listed(100)} == ids
    assert len(ids) == 40


KILLED = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_history import history, made_by, QuoteEngine

async def go():
    made = await made_by(QuoteEngine())
    async with history(Path(sys.argv[1])) as kept:
        while True:
            print(kept.keep(made), flush=True)
            await asyncio.sleep(0.002)

asyncio.run(go())
"""


def test_killed_while_it_writes_what_was_written_is_whole(tmp_path: Path) -> None:
    for _ in range(3):
        command = [sys.executable, "-c", KILLED, str(tmp_path), str(Path(__file__).parent)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment()) as process:
            assert process.stdout
            for _ in range(20):
                process.stdout.readline()
            process.send_signal(signal.SIGKILL)
    assert verify(tmp_path / "answers.db") == []

    async def read() -> int:
        async with history(tmp_path) as kept_:
            rows = await kept_.listed(1000)
            for row in rows:
                assert (await kept_.get(row.id)).opened(OSS.kept).missing == ()
            return len(rows)

    assert asyncio.run(read()) >= 3


# -- values and bytes -------------------------------------------------------------------------------------------


TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
WHOLE = st.integers(-(2**53), 2**53)
PASSAGES = st.builds(
    Passage,
    number=st.integers(1, 99),
    post=st.builds(
        Post,
        id=TEXT,
        network=TEXT,
        author=st.builds(Author, TEXT, TEXT, TEXT, TEXT, TEXT, WHOLE, TEXT),
        text=TEXT,
        created_at=WHOLE,
        witnessed_at=WHOLE,
        media=st.tuples(st.builds(Media, kind=TEXT, alt=TEXT)),
        links=st.lists(TEXT, max_size=2).map(tuple),
        engagement=st.builds(Engagement, WHOLE, WHOLE, WHOLE),
    ),
    score=st.floats(allow_nan=False, allow_infinity=False),
    author_class=st.sampled_from(["authority", "person"]),
    why=st.lists(TEXT, max_size=2).map(tuple),
)


@settings(deadline=None)
@given(PASSAGES)
def test_what_is_dumped_is_loaded(passage: Passage) -> None:
    assert load(Passage, orjson.loads(dump(passage))) == passage
    assert load(Citation, orjson.loads(dump(Citation(passage)))) == Citation(passage)


def test_fields_of_another_version_do_no_harm() -> None:
    assert load(Receipt, {"posts": 3, "added_in_2030": [1]}) == Receipt(posts=3)


async def test_told_leaves_out_only_what_time_and_memory_decide() -> None:
    first, second = [told((await made_by(QuoteEngine())).events) for _ in range(2)]
    assert first == second
    assert first != told((await made_by(QuoteEngine(), OSS, "Who is Mara Lind?")).events)
    assert "usage" in first[-1]
    assert "timings" not in first[-1]


# -- whose an answer is -----------------------------------------------------------------------------------------


def asked_by(made: Made, owner: str) -> Made:
    return replace(made, request=replace(made.request, asker=Asker(owner)))


async def test_an_answer_is_only_its_accounts(tmp_path: Path) -> None:
    made = await made_by(QuoteEngine())
    async with history(tmp_path) as kept_:
        anns, bobs, nobodys = (kept_.keep(asked_by(made, owner)) for owner in ("ann", "bob", ""))
        assert [row.id for row in await kept_.listed(owner="ann")] == [anns]
        assert [(row.id, row.owner) for row in await kept_.listed(owner="bob")] == [(bobs, "bob")]
        assert [row.id for row in await kept_.listed()] == [nobodys]
        assert {row.owner for row in await kept_.listed(owner=None)} == {"ann", "bob", ""}
        for stranger in ("bob", "", "an"):
            for refused in (kept_.get(anns, owner=stranger), kept_.remove(anns, owner=stranger)):
                with pytest.raises(UsageError) as error:
                    await refused
                assert error.value.code == "answer_not_found"
                assert str(error.value) == str(await unknown(kept_, anns))
        assert (await kept_.get(anns, owner="ann")).id == anns
        assert (await kept_.get(anns, owner=None)).recipe.request.asker == Asker()


async def unknown(kept_: History, id_: str) -> UsageError:
    """What is said of an id that never was."""
    with pytest.raises(UsageError) as error:
        await kept_.get("f" * 16, owner="ann")
    return UsageError(error.value.what.replace("f" * 16, id_), error.value.cure, code=error.value.code)


async def test_an_account_that_goes_takes_its_answers_along(tmp_path: Path) -> None:
    made = await made_by(QuoteEngine())
    async with history(tmp_path) as kept_:
        kept_.keep(asked_by(made, "ann"))
        kept_.keep(
            asked_by(replace(made, request=replace(made.request, messages=(Message("user", "And?"),))), "bob")
        )
        assert await kept_.forget("ann") == 1
        assert [row.owner for row in await kept_.listed(owner=None)] == ["bob"]
    assert QUESTION.encode() not in held(tmp_path)
    assert b"And?" in held(tmp_path)


async def test_another_owner_written_into_the_file_is_seen(tmp_path: Path) -> None:
    made = await made_by(QuoteEngine())
    async with history(tmp_path) as kept_:
        id_ = kept_.keep(asked_by(made, "ann"))
        await kept_.listed()
        with closing(sqlite3.connect(tmp_path / "answers.db")) as con, con:
            con.execute("UPDATE answers SET owner = 'bob'")
        with pytest.raises(VoxpopError, match="changed or damaged"):
            await kept_.get(id_, owner="bob")


OF_BEFORE = """CREATE TABLE answers (
  id TEXT PRIMARY KEY, at INTEGER NOT NULL, question TEXT NOT NULL, recipe BLOB NOT NULL, seals BLOB NOT NULL,
  sum BLOB NOT NULL) STRICT;"""


async def test_a_file_of_before_there_were_accounts_is_taken_over(tmp_path: Path) -> None:
    made = await made_by(QuoteEngine())
    async with history(tmp_path) as kept_:
        id_ = kept_.keep(made)
    with closing(sqlite3.connect(tmp_path / "answers.db")) as con:
        rows = con.execute("SELECT id, at, question, recipe, seals, sum FROM answers").fetchall()
        con.execute("DROP TABLE answers")
        con.executescript(OF_BEFORE)
        con.executemany("INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?)", rows)
        con.commit()
    assert verify(tmp_path / "answers.db") == []
    async with history(tmp_path) as one, history(tmp_path) as two:
        assert (await one.get(id_)).id == id_
        with pytest.raises(UsageError):
            await two.get(id_, owner="ann")
        new = two.keep(asked_by(made, "ann"))
        assert [row.id for row in await two.listed(owner="ann")] == [new]
    assert verify(tmp_path / "answers.db") == []
