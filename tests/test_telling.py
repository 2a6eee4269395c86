"""Each shown sentence says why it stands there; where posts differ the answer says who says what."""

import pytest

from voxpop import voices
from voxpop.answering import Answer
from voxpop.engines.echo import EchoEngine
from voxpop.evidence import Evidence
from voxpop.messages import AnswerEvent, AuthorClass, Claim, Passage, Prompt, Request, Text, Withheld
from voxpop.posts import Author, Post
from voxpop.signs import is_statement
from voxpop.telling import differing
from voxpop.text import bare, sentences
from voxpop.writing import checked


def passage(number: int, who: str, text: str, kind: AuthorClass = "unknown", heard: int = 1) -> Passage:
    post = Post(f"at://{who}/{number}", "test", Author(f"did:{who}", f"{who}.example"), text, number, number)
    return Passage(number, post, author_class=kind, duplicates=heard, independent_authors=heard)


def evidence(*passages: Passage, disagree: bool = False) -> Evidence:
    claims = tuple(
        Claim(p.number, bare(s), "stated" if p.listed and not disagree else "attributed", 1.0)
        for p in passages
        for s in sentences(p.post.text)
        if is_statement(s)
    )
    stands = {bare(p.post.text): stand for p, stand in STANDS if p in passages} if disagree else {}
    return Evidence(chosen=claims, judged=claims, disagree=disagree, stands=stands)


async def answered(written: str, *passages: Passage, lang: str = "en", disagree: bool = False) -> list[AnswerEvent]:
    weighed = evidence(*passages, disagree=disagree)
    prompt = Prompt((), passages, weighed.chosen, lang)
    engine = EchoEngine(written)
    answer = Answer(Request(()), 0, voices.load()["regular"], engine.describe())
    answer.passages = {p.number: p for p in passages}
    return [event async for event in checked(prompt, engine, weighed, answer, 5.0)]


def shown(events: list[AnswerEvent]) -> list[Text]:
    return [e for e in events if isinstance(e, Text) and e.kind == "sentence"]


TRAM = passage(1, "trams", "Tram 4 is 20 minutes late at Fountain Square.", "authority")
RUMOUR = passage(2, "ann", "A fire burns at Mill Lane, four people hurt.")
CHORUS = passage(2, "ann", "A fire burns at Mill Lane, four people hurt.", heard=3)
PAPER = passage(3, "paper", "The bridge in Oss is closed until Monday.", "press")


@pytest.mark.parametrize(
    ("written", "cited", "outcome", "why"),
    [
        ("@paper.example: “The bridge in Oss is closed until Monday.” [3]", PAPER, "shown",
         "word for word from @paper.example, listed press"),
        ("The bridge in Oss is closed until Monday, says the post. [3]", PAPER, "shown",
         "in the engine's words; its names and numbers stand in the post of @paper.example, listed press"),
        ("@ann.example says: A fire burns at Mill Lane, four people hurt. [2]", RUMOUR, "attributed",
         "said by an unlisted account: told as theirs"),
        ("@ann.example says: A fire burns at Mill Lane, four people hurt. [2]", CHORUS, "attributed",
         "said by 3 independent accounts: told as theirs"),
        ("Tram 4 is 40 minutes late at Fountain Square. [1]", TRAM, "repaired",
         "the engine's sentence failed: the number 40 is in no cited post; quoted instead"),
        ("Tram 4 is 20 minutes late because of a strike. [1]", TRAM, "repaired",
         "the engine's sentence failed: gives a reason that no cited post gives; that part was left out"),
    ],
)  # fmt: skip
async def test_a_sentence_says_why_it_stands_there(written: str, cited: Passage, outcome: str, why: str) -> None:
    (text,) = shown(await answered(written, cited))
    assert text.outcome == outcome
    assert text.why.startswith(why)


async def test_a_reason_that_no_post_gives_is_left_out_and_the_rest_stands() -> None:
    events = await answered("Tram 4 is 20 minutes late because of a strike. [1]", TRAM)
    assert [e.text for e in events if isinstance(e, Withheld)] == ["Tram 4 is 20 minutes late because of a strike."]
    assert [t.text for t in shown(events)] == ["Tram 4 is 20 minutes late."]


async def test_a_rumour_is_quoted_as_its_authors_where_the_engine_told_it_as_fact() -> None:
    (text,) = shown(await answered("Four people are hurt in a fire at Mill Lane. [2]", RUMOUR))
    assert text.text == "@ann.example says: “A fire burns at Mill Lane, four people hurt.”"
    assert (text.outcome, text.support) == ("repaired", 1.0)


MANY = passage(1, "march", "We are 40,000 people in Nord!")
FEW = passage(2, "police", "We counted 12,000 people at the march in Nord.", "authority")
OPEN = passage(1, "ann", "The bridge in Oss is open.")
SHUT = passage(2, "board", "The bridge in Oss is not open.", "authority")
STANDS = [(MANY, "40000"), (FEW, "12000"), (OPEN, "yes"), (SHUT, "no")]


@pytest.mark.parametrize(
    ("lang", "said"),
    [
        ("en", "The posts do not agree: @march.example says 40,000; @police.example says 12,000."),
        ("fr", "Les messages ne concordent pas : @march.example dit 40,000 ; @police.example dit 12,000."),
        ("es", "Los mensajes no coinciden: @march.example dice 40,000; @police.example dice 12,000."),
        ("de", "Die Beiträge widersprechen sich: @march.example sagt 40,000; @police.example sagt 12,000."),
        ("pt", "As mensagens não concordam: @march.example diz 40,000; @police.example diz 12,000."),
        ("ja", "投稿の内容は一致していません：@march.exampleは「40,000」、@police.exampleは「12,000」。"),
    ],
)
async def test_where_posts_differ_the_answer_says_who_says_what(lang: str, said: str) -> None:
    events = await answered("", MANY, FEW, lang=lang, disagree=True)
    assert isinstance(events[0], Text)
    assert (events[0].text, events[0].kind) == (said, "notice")
    assert len(shown(events)) == 2


async def test_a_model_leaves_no_voice_out_where_they_differ() -> None:
    one = "@march.example says: “We are 40,000 people in Nord!” [1]"
    assert [t.citations for t in shown(await answered(one, MANY, FEW, disagree=True))] == [(1,), (2,)]


def test_yes_and_no_are_told_apart() -> None:
    found = evidence(OPEN, SHUT, disagree=True)
    assert differing(found, {1: OPEN, 2: SHUT}, "en") == (
        "The posts do not agree: @ann.example says yes; @board.example says no."
    )


def test_nothing_is_said_where_they_agree() -> None:
    assert differing(evidence(MANY, FEW), {1: MANY, 2: FEW}, "en") == ""
