"""Questions: what they ask, of what and of whom, alone and after what was said before."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxpop.questions import SCORE, read
from voxpop.text import words


@pytest.mark.parametrize(
    ("text", "lang", "asks", "about_result"),
    [
        ("Who won the election?", "en", "who", True),
        ("Has Lind been declared the winner?", "en", "whether", True),
        ("Did the board declare Beek president?", "en", "whether", True),
        ("Who is the new mayor of Oss?", "en", "who", True),
        ("Who is the suspect?", "en", "who", False),
        ("What is the result of the vote?", "en", "what", True),
        ("How many votes did Lind get?", "en", "how_many", False),
        ("What was the score of the match?", "en", "how_many", False),
        ("When do the polls close?", "en", "when", False),
        ("Why is tram 4 late?", "en", "why", False),
        ("Where is the fire?", "en", "where", False),
        ("What do people say about the storm?", "en", "what", False),
        ("Qui a gagné l'élection ?", "fr", "who", True),
        ("Combien de blessés à Lyon ?", "fr", "how_many", False),
        ("Où est la manifestation ?", "fr", "where", False),
        ("Pourquoi le métro est-il fermé ?", "fr", "why", False),
        ("Est-ce que le pont est ouvert ?", "fr", "whether", False),
        ("¿Quién ganó las elecciones?", "es", "who", True),
        ("¿Cuántos heridos hay en Sevilla?", "es", "how_many", False),
        ("Wer hat die Wahl gewonnen?", "de", "who", True),
        ("Wann schließen die Wahllokale?", "de", "when", False),
        ("誰が選挙で当選した？", "ja", "who", True),
        ("地震はどこで？", "ja", "where", False),
    ],
)
def test_read(text: str, lang: str, asks: str, about_result: bool) -> None:
    question = read(text)
    assert (question.lang, question.asks, question.about_result) == (lang, asks, about_result)


@pytest.mark.parametrize(
    ("before", "text", "asks", "concepts"),
    [
        ("Who won in Hallovar?", "And in Kestrin?", "who", {"kestrin", "won"}),
        ("How many votes did Lind get in Oss?", "and Beek?", "how_many", {"beek", "votes", "oss"}),
        ("How many votes did Lind get in Oss?", "what about in Pell?", "how_many", {"pell", "votes", "lind"}),
        ("Qui a gagné à Oss ?", "et à Pell ?", "who", {"pell", "gagne"}),
        ("Who is Mara Lind?", "did she resign?", "whether", {"mara", "lind", "resign"}),
        ("Did the chair resign?", "why?", "why", {"chair", "resign"}),
        ("Did the chair resign?", "when did it happen?", "when", {"chair", "resign"}),
        ("Who won the election?", "who is he?", "who", {"won", "election"}),
        ("Who won the election?", "Is the tram strike in Oss over?", "whether", {"tram", "strike", "oss", "over"}),
    ],
)
def test_follow_ups(before: str, text: str, asks: str, concepts: set[str]) -> None:
    question = read(text, (before,))
    assert question.asks == asks
    assert {c.word for c in question.concepts} == concepts


def test_a_follow_up_about_a_result_is_about_a_result() -> None:
    assert read("And in Kestrin?", ("Who won in Hallovar?",)).about_result
    assert not read("And the weather there?", ("How many people voted in Hallovar?",)).about_result


def test_an_empty_question_and_small_talk_before_it_are_passed_over() -> None:
    question = read("and in Oss?", ("Who won in Pell?", "thanks!"))
    assert {c.word for c in question.concepts} >= {"oss"}
    assert read("").concepts == ()


def test_phrases_and_speakers() -> None:
    assert read('Who said "we have not won" tonight?').phrases == ("we have not won",)
    assert read("Qui a dit « rien n'est joué » ?").phrases == ("rien n'est joué",)
    assert read("What does @tpa.example say about the count?").handles == ("tpa.example",)
    assert read("Que dit @tpa.example de la grève ?").handles == ("tpa.example",)
    assert read("posts by @tpa.example").handles == ("tpa.example",)
    assert read("Is @tpa.example down?").handles == ()


@pytest.mark.parametrize(
    ("text", "words_left"),
    [
        ("What happened in Oss since 20:00?", {"oss"}),
        ("News of the fire in the last two hours", {"fire"}),
        ("Que s'est-il passé à Oss depuis 20 h 30 ?", {"oss", "30"}),
        ("What was the turnout at 17:00?", {"turnout", "17"}),
    ],
)
def test_times_that_bound_a_question_are_no_topics(text: str, words_left: set[str]) -> None:
    assert {c.word for c in read(text).concepts} == words_left


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("The count is at 49 %", False),
        ("Who leads the count? Lind leads", True),
        ("An account named so leads", False),
    ],
)
def test_a_short_word_is_not_found_inside_another(text: str, met: bool) -> None:
    question = read("Who counts the ballots?")
    assert question.coverage(frozenset(["account", "discounts"])) == 0.0
    assert bool(read("Who leads the count?").coverage(frozenset(words(text))) > 0.9) is met


def test_a_hashtag_holds_its_first_word() -> None:
    assert read("What happened in Ottawa?").met_by(frozenset({"ottawashooting"}))


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("2-1", True),
        ("Oss 2–1 Pell", True),
        ("Oss Rovers 2, Port Hallow 1", True),
        ("17:00", False),
        ("2026-11-21", False),
        ("1.5-2", False),
        ("Lind 48, Beek 47 %", False),
    ],
)
def test_score(text: str, score: bool) -> None:
    assert bool(SCORE.search(text)) is score


@given(st.text(max_size=80), st.lists(st.text(max_size=40), max_size=3))
def test_read_takes_anything(text: str, earlier: list[str]) -> None:
    question = read(text, tuple(earlier))
    assert 0 <= question.coverage(frozenset(words(text))) <= 1
    assert question == read(text, tuple(earlier))
