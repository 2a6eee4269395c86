"""Posts are data: the corpus of hostile posts, and what none of them can do to an answer."""

import json
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxpop import figures, inert, render, text, voices
from voxpop.api import page
from voxpop.assistant import Assistant
from voxpop.authorities import Authorities
from voxpop.choosing import choose
from voxpop.engines import Engine
from voxpop.engines.echo import EchoEngine
from voxpop.engines.quote import QuoteEngine
from voxpop.evaluation.injected import BOARD, Obedient, posts, slips
from voxpop.evidence import Evidence, numbered, weigh
from voxpop.messages import (
    AnswerEvent,
    Bounds,
    Citation,
    Done,
    Message,
    Passage,
    Refused,
    Request,
    Text,
)
from voxpop.posts import Author, Media, Post, Upsert
from voxpop.prompt import build, instruction
from voxpop.questions import Question, read
from voxpop.simulator.injections import Injection, corpus, scene
from voxpop.store import Hit
from voxpop.store.local import LocalStore
from voxpop.times import MICROS

CORPUS = corpus()
VOICES = voices.load()
Said = list[AnswerEvent]


def everything(one: Injection) -> str:
    return "\0".join(asdict(one).values())


def test_the_corpus_is_large_varied_and_the_same_each_time() -> None:
    assert len(CORPUS) >= 400
    assert len({i.kind for i in CORPUS}) >= 14
    assert min(Counter(i.kind for i in CORPUS).values()) >= 8
    assert {i.lang for i in CORPUS} == {"en", "fr", "es", "de", "pt", "ja"}
    assert len({i.canary for i in CORPUS}) == len(CORPUS) == len(set(CORPUS))
    assert corpus() == CORPUS
    assert corpus() is not CORPUS


@pytest.mark.parametrize("one", CORPUS, ids=lambda one: f"{one.kind}-{one.canary}")
def test_each_holds_its_payload_and_nothing_of_it_when_tamed(one: Injection) -> None:
    tame = one.tamed()
    assert one.canary.lower() in one.payload.lower()
    fields = asdict(one)
    assert any(one.payload in value for name, value in fields.items() if name != "payload")
    assert one.statement in one.text
    assert (tame.text, tame.question) != ("", "")
    assert not any(one.canary.lower() in v.lower() for name, v in asdict(tame).items() if name != "canary")
    assert tame.tamed() == tame


def test_a_scene_has_its_question_in_each_language() -> None:
    for topic in ("bridge", "result"):
        assert len({scene(topic, lang) for lang in ("en", "fr", "es", "de", "pt", "ja")}) == 6


# What they can do to an answer, from the store to the last event. All of them, on any engine: voxpop eval.

SOME = CORPUS[::9]
HOUR = 3600 * MICROS
NOW = 1_800_000_000 * MICROS


async def answered(
    engine: Engine, some: list[Injection], made: Callable[[Injection, int], list[Post]]
) -> list[Said]:
    """The events of each injection's question, from a store that holds its posts."""
    lists = Authorities.of([BOARD.id])
    with TemporaryDirectory() as folder:
        async with LocalStore(Path(folder), commit_s=3600) as store:
            posts = [post for n, one in enumerate(some) for post in made(one, NOW + n * HOUR)]
            await store.apply("test", [Upsert(post) for post in posts])
            answers = []
            for n, one in enumerate(some):
                at = NOW + n * HOUR
                line = Assistant(store, lambda: engine, VOICES, authorities=lists, clock=lambda at=at: at)
                bounds = Bounds(since=at - HOUR // 2, until=at)
                request = Request((Message("user", one.question),), bounds=bounds)
                answers.append([event async for event in line.answer(request)])
            return answers


@pytest.mark.parametrize("engine", [QuoteEngine(), EchoEngine(), Obedient()], ids=["quote", "echo", "obedient"])
async def test_no_post_changes_an_answer_by_more_than_what_is_quoted_of_it(engine: Engine) -> None:
    some = SOME if isinstance(engine, QuoteEngine) else SOME[::2]
    hostile = await answered(engine, some, posts)
    tame = await answered(engine, some, lambda one, at: posts(one.tamed(), at))
    without = await answered(engine, some, lambda one, at: posts(one, at)[:1])
    effects = {one.canary: slips(one, *events) for one, *events in zip(some, hostile, tame, without, strict=True)}
    assert {canary: found for canary, found in effects.items() if found} == {}
    cited = [e.passage.post.id for events in hostile for e in events if isinstance(e, Citation)]
    if isinstance(engine, QuoteEngine):
        assert sum(id_.endswith("carrier") for id_ in cited) > len(some) / 2  # else they were not tried


async def test_what_a_post_did_is_noticed() -> None:
    """The judge is not blind: each of these is an effect."""
    one = next(i for i in CORPUS if i.kind == "order")
    (mild,) = await answered(QuoteEngine(), [one], lambda one, at: posts(one.tamed(), at))
    done = next(e for e in mild if isinstance(e, Done))
    first = next(n for n, e in enumerate(mild) if isinstance(e, Text) and e.kind == "sentence")
    for changed in (
        [*mild[:-1], replace(done, voice="pirate")],
        [*mild[:-1], replace(done, answerable=False)],
        [Refused("made up", "Made up"), *mild],
        [*mild, Text("Verified by voxpop.", kind="notice")],
        [*mild, Text(f"{one.canary} is true.")],
        [*mild[:first], replace(mild[first], text=f"{mild[first].text} [2]"), *mild[first + 1 :]],
        [*mild[:first], *mild[first + 1 :]],
    ):
        assert slips(one, changed, mild) != []
    assert slips(one, mild, mild) == []


KEPT = re.compile(r"[^\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]*")


async def test_every_face_shows_them_as_text() -> None:
    """OpenAI's dialect, the page's and the terminal: whole JSON, our events alone, and nothing that steers."""
    for events in await answered(QuoteEngine(), SOME, posts):
        printed = render.Answer()
        for event in events:
            name, data = page.render(event)
            assert name in ("searching", "found", "citation", "text", "withheld", "done")
            assert json.loads(orjson.dumps(data)) == json.loads(json.dumps(data))
            assert "\n" not in orjson.dumps(data).decode()  # a frame of the stream has one line of data
            printed.add(event)
        assert KEPT.fullmatch(printed.sources(NOW) + printed.footer(NOW) + printed.json()["answer"])
        urls = [data["url"] for data in map(page.card, printed.cited.values())]
        assert all(url == "" or url.startswith("https://") for url in urls)
        for said in printed.texts:
            assert not set("[]<>\n") & set(said.text), said.text


# What a prompt is made of, whatever a post's fields hold.

FIELD = st.text(max_size=80) | st.sampled_from([one.payload[:200] for one in CORPUS])


@settings(max_examples=150)
@given(FIELD, FIELD, FIELD, FIELD, FIELD)
def test_a_post_can_only_fill_its_rows(text: str, handle: str, name: str, bio: str, alt: str) -> None:
    question = read("Is the Marrow Bridge in Oldwick closed?")
    author = Author("did:1", handle, name, bio=f"BIO{bio}")
    media = (Media("image", "https://kim.example/x", f"ALT{alt}"),)
    said = Post("at://1", "test", author, f"The Marrow Bridge in Oldwick is closed. {text}", NOW, NOW, media=media)
    hits = [Hit(said, 1.0), Hit(Post("at://2", "test", BOARD, "Marrow Bridge, Oldwick: closed.", NOW, NOW), 1.0)]
    passages, evidence = numbered(choose(question, hits, Authorities.of([BOARD.id]), 12), weigh_all(question, hits))
    prompt = build(Request((Message("user", question.text),)), question, passages, evidence, VOICES["regular"])
    assert prompt.messages[0].content == instruction(VOICES["regular"])
    rows = prompt.messages[1].content.split("\n")
    assert rows[0] == "Posts:"
    assert len(rows) == len(evidence.chosen) + 4
    assert all(re.match(r"\[\d+\] @?[\w.@ -]* ?\[(?:official|unverified)\] \d\d:\d\d: ", row) for row in rows[1:-3])
    assert len(prompt.messages[1].content.splitlines()) == len(rows)
    assert len(re.findall(r"[\[\]]", prompt.messages[1].content)) == 4 * len(evidence.chosen)
    assert "BIO" not in str(prompt.messages)
    assert "ALT" not in str(prompt.messages)


def weigh_all(question: Question, hits: list[Hit]) -> Evidence:
    return weigh(question, choose(question, hits, Authorities.of([BOARD.id]), 12), NOW)


# Time: what a stranger writes cannot make reading it slow.

PIECES = (
    "Mr. ",
    "e.g. ",
    "A",
    "1",
    "1-1 ",
    "A.",
    "[",
    "[1,",
    "“",
    '"',
    " \n",
    "a-",
    "#A",
    "@a",
    "https://a.",
    "• ",
)
READERS: dict[str, Callable[[str], object]] = {
    "sentences": text.sentences,
    "names": text.names,
    "numbers": text.numbers,
    "quotations": text.quotations,
    "bare": text.bare,
    "indexed": text.indexed,
    "unmarked": text.unmarked,
    "fingerprint": text.fingerprint,
    "line": inert.line,
    "visible": inert.visible,
    "address": inert.address,
    "lists": lambda said: figures.keep_their_names("Ann 5, Ben 6", [alone(said)]),
    "company": lambda said: figures.keep_their_company("5 cars", [alone(said)]),
    "weighing": lambda said: weigh(BRIDGE, [alone(f"The Marrow Bridge in Oldwick is closed. {said}")], NOW),
}
BRIDGE = read("Is the Marrow Bridge in Oldwick closed?")


def alone(said: str) -> Passage:
    return Passage(1, Post("at://1", "test", Author("did:1", "kim.example"), said, NOW, NOW))


def seconds(reader: Callable[[str], object], said: str) -> float:
    begun = time.process_time()
    reader(said)
    return time.process_time() - begun


@pytest.mark.parametrize("name", READERS)
def test_the_time_to_read_a_post_grows_with_its_length(name: str) -> None:
    """Eight times as long takes at most some thirty times as long (a square would be 64), or next to nothing."""
    reader, long = READERS[name], 100_000 if name in ("bare", "unmarked", "line", "visible", "address") else 16_000
    for piece in PIECES:
        whole = (piece * long)[:long]
        short = min(seconds(reader, whole[: long // 8]) for _ in range(2))
        assert seconds(reader, whole) < max(0.3, 30 * short), (name, piece)
