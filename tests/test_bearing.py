"""How likely a sentence answers a question: what it must and must not take for an answer."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxpop.bearing import around, bearing, features, rarity
from voxpop.evidence import weigh
from voxpop.messages import Passage
from voxpop.posts import Author, Post
from voxpop.questions import read

ASKS = "What was the turnout in Kestrin at noon?"
_FOR = ("literal", "in_the_sentence", "mass", "pairs", "met")


def likely(ask: str, said: str, context: str = "", *, abroad: bool = False) -> float:
    return bearing(read(ask), said, context or said, abroad=abroad)


def test_an_answer_is_likelier_than_what_shares_a_word() -> None:
    answer = likely(ASKS, "Turnout in Kestrin was 41 % at noon.")
    assert answer > 0.8
    assert likely(ASKS, "Noon in the market, and it rains.") < 0.3 < answer
    assert likely(ASKS, "Turnout was low in Pell.") < answer


def test_another_language_is_met_by_its_kin() -> None:
    said = "La participation à Kestrin est de 41 % à midi."
    assert likely(ASKS, said, abroad=True) > likely(ASKS, said)


def test_words_that_are_said_everywhere_tell_little() -> None:
    assert rarity("the") < rarity("police") < rarity("dendrochronology") == 1.0


def test_a_long_post_is_read_around_the_sentence() -> None:
    said = [f"Sentence number {i} of a long report on many things and places." for i in range(20)]
    assert around(said, 10).splitlines() == [said[0], said[9], said[10], said[11]]
    assert around(said[:3], 1).splitlines() == said[:3]


@settings(deadline=None)  # the first text that has no language loads what tells them apart
@given(st.text(max_size=200), st.text(max_size=400))
def test_any_text_has_a_probability(ask: str, said: str) -> None:
    assert 0.0 <= likely(ask or "?", said) <= 1.0


@given(st.sampled_from(["Pell", "queue", "ferry", "rain"]))
def test_what_speaks_for_an_answer_never_falls_with_more_of_the_question(word: str) -> None:
    question = read(f"Why is the {word} late in Dornick?")
    less, more = ({**features(question, s, s)} for s in ("The harbour is full.", f"The {word} in Dornick is late."))
    assert all(more[name] >= less[name] for name in _FOR)


def test_a_question_that_names_nothing_is_not_met_by_the_newest_post() -> None:
    post = Post("at://a", "simulated", Author("a", "a.example"), "The board supports the new plan.", 1, 1)
    assert not weigh(read("Can you give me some more?"), [Passage(1, post)], 2).chosen
    assert weigh(read("What is going on?"), [Passage(1, post)], 2).chosen


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        ("What do people say about the film?", "Put new film in the old camera and took it for a walk with a dog."),
        ("What happened at the concert?", "My ticket for a concert in May is still on the fridge, next to a list."),
        ("What happened to the tram?", "Every tram driver I know drinks tea, and so does my uncle, who is one."),
    ],
)
def test_what_only_shares_words_with_a_question_is_no_answer(ask: str, said: str) -> None:
    post = Post("at://a", "test", Author("a", "a.example"), said, 1, 1)
    assert not weigh(read(ask), [Passage(1, post)], 2).chosen


def test_a_sentence_answers_by_its_own_words_and_not_by_its_posts() -> None:
    asked = Post("at://a", "test", Author("a", "a.example"), "Is the bridge in Kestrin open?", 1, 1)
    beside, told = (
        Post(f"at://{n}", "test", Author(n, f"{n}.example"), text, 1, 1, reply_to=asked.id)
        for n, text in (("b", "My cat says hello."), ("c", "They opened it again an hour ago."))
    )
    passages = [Passage(1, asked), Passage(2, beside, author_class="press"), Passage(3, told)]
    assert [c.number for c in weigh(read(asked.text), passages, 2).chosen] == [3]
    assert not weigh(read(asked.text), passages[:2], 2).chosen
