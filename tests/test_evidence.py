"""Evidence: which sentences of posts answer, in which order, and what a later post replaced."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxpop.evidence import Evidence, answers, numbered, weigh
from voxpop.messages import AuthorClass, Claim, Passage
from voxpop.posts import Author, Post
from voxpop.questions import read
from voxpop.signs import is_statement, opposed, settles, unsure
from voxpop.stances import denies, figures
from voxpop.times import MICROS

MINUTE = 60 * MICROS
NOW = 600 * MINUTE
CLASSES: dict[str, AuthorClass] = {"board": "authority", "press": "press"}


def passage(number: int, who: str, text: str, minute: int = 500, **more: str) -> Passage:
    at = minute * MINUTE
    post = Post(f"at://{number}", "test", Author(f"did:{who}", f"{who}.example", who), text, at, at, **more)
    return Passage(number, post, author_class=CLASSES.get(who, "unknown"))


def weighed(question: str, *passages: Passage, limit: int = 3) -> Evidence:
    return weigh(read(question), passages, NOW, limit)


def texts(evidence: Evidence) -> list[str]:
    return [c.text for c in evidence.chosen]


def test_a_correction_replaces_what_its_author_said() -> None:
    found = weighed(
        "How many votes did Dreyl get in Hallovar?",
        passage(1, "board", "Hallovar: Dreyl 312,540 votes.", 500),
        passage(2, "board", "CORRECTION for Hallovar: Dreyl has 321,540 votes, not 312,540.", 520),
    )
    assert texts(found) == ["CORRECTION for Hallovar: Dreyl has 321,540 votes, not 312,540."]
    assert [(c.text, c.standing, c.by) for c in found.superseded] == [
        ("Hallovar: Dreyl 312,540 votes.", "superseded", 2)
    ]


def test_an_authority_that_denies_replaces_a_rumour() -> None:
    found = weighed(
        "Did a ballot box burn in Dornick?",
        passage(1, "ann", "A ballot box burned in Dornick at the mill.", 500),
        passage(2, "board", "Dornick: no ballot box burned at the mill.", 520),
    )
    assert [(c.number, c.standing) for c in found.chosen] == [(2, "stated")]
    assert [c.by for c in found.superseded] == [2]


def test_a_stranger_replaces_nobody() -> None:
    found = weighed(
        "Did a ballot box burn in Dornick?",
        passage(1, "board", "A ballot box burned in Dornick.", 500),
        passage(2, "ann", "CORRECTION: no ballot box burned in Dornick.", 520),
    )
    assert not found.superseded
    assert found.chosen[0].number == 1


def test_an_earlier_correction_replaces_nothing_later() -> None:
    found = weighed(
        "Is the tram strike over?",
        passage(1, "ann", "Correction: the tram strike is not over.", 500),
        passage(2, "ann", "The tram strike is over.", 520),
    )
    assert "The tram strike is over." in texts(found)


def test_the_same_author_counts_on() -> None:
    found = weighed(
        "How many people were hurt in Oss?",
        passage(1, "ann", "Three people hurt in Oss.", 500),
        passage(2, "ann", "Now five people hurt in Oss, says the clinic.", 520),
    )
    assert texts(found) == ["Now five people hurt in Oss, says the clinic."]


def test_a_crowd_cannot_call_a_result_where_a_listed_account_speaks() -> None:
    rumours = [passage(n, f"fan{n}", f"Beek has won the election, {n}0 % in my street!") for n in (1, 2, 3)]
    official = passage(9, "board", "The board has declared no winner of the election.", 400)
    found = weighed("Who won the election?", *rumours, official)
    assert texts(found) == ["The board has declared no winner of the election."] or not found.chosen
    assert not any("Beek" in text for text in texts(found))
    calm = [passage(n, f"fan{n}", f"Tom Beek has won the election, I counted {n}0 % myself.") for n in (1, 2, 3)]
    assert len(weighed("Who won the election?", *calm).chosen) > 1
    press = passage(9, "press", "Mara Lind has won the election, says the board.", 400)
    assert [c.number for c in weighed("Who won the election?", *calm, press).chosen] == [9]


def test_a_lone_voice_does_not_call_a_result_but_several_are_quoted_as_theirs() -> None:
    one = passage(1, "ann", "Beek has won the election, says my uncle.", 500)
    two = passage(2, "bob", "Celebrating: Tom Beek won the election in Oss tonight.", 501)
    assert not weighed("Who won the election?", one).chosen
    both = weighed("Who won the election?", one, two)
    assert {c.standing for c in both.chosen} == {"attributed"}


@pytest.mark.parametrize("who", ["press", "ann"])
def test_nobody_but_an_authority_states_who_won(who: str) -> None:
    told = weighed("Who won the election in Oss?", passage(1, who, "Mara Lind has won the election in Oss.", 500))
    assert all(c.standing == "attributed" for c in told.chosen)
    declared = weighed(
        "Who won the election in Oss?", passage(1, "board", "Mara Lind has won the election in Oss.")
    )
    assert [c.standing for c in declared.chosen] == ["stated"]


def test_a_projection_and_another_race_are_no_result() -> None:
    assert not weighed(
        "Who won the election in Oss?", passage(1, "press", "We project that Beek wins the election in Oss.")
    ).chosen
    other = passage(1, "board", "DECLARED: the Pell region. Beek 60 %, Lind 40 %.")
    assert not weighed("Who won the election?", other).chosen
    region = weighed("Who won the Pell region?", other)
    assert texts(region) == ["DECLARED: the Pell region. Beek 60 %, Lind 40 %."]


def test_no_passage_no_claim() -> None:
    assert weighed("Who won?") == Evidence()
    assert not weighed("What is the price of bread in Oss?", passage(1, "board", "Lind is mayor of Oss.")).chosen


def test_a_reply_speaks_of_what_it_answers() -> None:
    asked = passage(1, "ann", "Is the bridge in Oss open?", 590)
    answer = passage(2, "bob", "Yes, they opened it again an hour ago.", 595, reply_to="at://1")
    assert not weighed("Is the bridge in Oss open?", answer).chosen
    assert texts(weighed("Is the bridge in Oss open?", asked, answer)) == ["Yes, they opened it again an hour ago."]


def test_disagreement_on_a_number_is_told() -> None:
    found = weighed(
        "How many people were hurt in Oss?",
        passage(1, "ann", "Three people hurt in Oss."),
        passage(2, "bob", "Clinic: 7 people were hurt in the Oss fire."),
    )
    assert found.disagree


def test_where_voices_differ_an_authoritys_word_stands_and_what_it_replaced_does_not() -> None:
    found = weighed(
        "How many people were hurt in Oss?",
        passage(1, "press", "Three people were hurt in Oss.", 500),
        passage(2, "board", "Correction: the fire at the mill has hurt five people in Oss.", 520),
        passage(3, "ann", "The clinic counts nine people hurt in Oss.", 525),
    )
    assert found.disagree
    assert [(c.number, c.standing) for c in found.chosen] == [(2, "stated"), (3, "attributed")]
    assert [(c.number, c.standing) for c in found.judged if c.number == 1] == [(1, "superseded")]


def test_voices_with_a_figure_in_common_agree() -> None:
    found = weighed(
        "How many people were hurt in Oss?",
        passage(1, "ann", "The clinic says 7 people were hurt in Oss, 2 of them badly."),
        passage(2, "bob", "Report from the mill: 7 people hurt in the Oss fire."),
    )
    assert len(found.chosen) == 2
    assert not found.disagree


def test_a_jest_disagrees_with_nobody() -> None:
    word = passage(1, "ann", "The bridge in Oss is open again, I drove over it.")
    jest = passage(2, "hens", "The bridge in Oss is not open, hens hold both ends of it.")
    assert weighed("Is the bridge in Oss open?", word, jest).disagree
    assert not weighed("Is the bridge in Oss open?", word, replace(jest, tone="satire")).disagree


@pytest.mark.parametrize(
    ("question", "sentence", "holds"),
    [
        ("How many gunmen?", "30 shots were fired", False),
        ("How many gunmen?", "Police speak of two gunmen", True),
        ("How many stations stay open until 20:00?", "Stations are open until 19:00", False),
        ("What was the score of Rovers against Town?", "Rovers 2-1 Town", True),
        ("What was the score of Rovers against Town?", "FULL TIME: Oss Rovers 2, Town 1", True),
        ("What was the score of Rovers against Town?", "Rovers play Town at 19:00", False),
        ("By how many votes did Lind win?", "Lind won with 31,200 votes", False),
        ("By how many votes did Lind win?", "Margin: 1,204 votes", True),
        ("When does it open?", "It opens at 9:00", True),
        ("When does it open?", "It opens soon", False),
        ("Why is the tram late?", "The tram is late because of a strike", True),
        ("Why is the tram late?", "The tram is late", False),
        ("Where is the fire?", "The fire is in Oss", True),
        ("Where is the fire?", "The fire is big", False),
        ("Who is the suspect?", "The suspect was named as Jan Holt", True),
        ("Who is the suspect?", "The suspect was seen", False),
        ("Who won the race?", "Jan Holt won the race", True),
        ("Who won the race?", "If Jan Holt wins the race", False),
        ("Who won the race?", "We expect Jan Holt wins the race", False),
    ],
)
def test_answers(question: str, sentence: str, holds: bool) -> None:
    assert answers(read(question), sentence) is holds


def test_signs() -> None:
    assert settles("Lind is elected")
    assert settles("Two people died")
    assert not settles("Lind is not elected")
    assert not settles("Lind votes")
    assert unsure("Lind may win")
    assert not unsure("Lind wins")
    assert opposed("The bridge is open", "The bridge is closed") == "open"
    assert not opposed("The bridge is open", "The bridge, closed at noon, is open")
    assert not is_statement("Is the bridge open?")
    assert not is_statement("#Oss")
    assert is_statement("The bridge is open")


POOL = [
    passage(1, "board", "Partial count, 40 % of stations: Beek 50.1 %, Lind 49.9 %.", 500),
    passage(2, "board", "Partial count, 60 % of stations: Lind 50.5 %, Beek 49.5 %.", 530),
    passage(3, "press", "Lind leads the count for the first time.", 531),
    passage(4, "ann", "Beek leads the count! I counted it myself.", 532),
    passage(5, "bob", "Hearing that the count is stopped, not confirmed.", 533),
    passage(6, "board", "The count is not stopped.", 540),
]


@settings(max_examples=60)
@given(
    st.permutations(POOL), st.sampled_from(["Who leads the count?", "Is the count stopped?", "How many stations?"])
)
def test_weigh_does_not_depend_on_the_order_of_passages(mixed: list[Passage], question: str) -> None:
    asked = read(question)
    first = weigh(asked, POOL, NOW)
    before = list(mixed)
    assert weigh(asked, mixed, NOW) == first == weigh(asked, mixed, NOW)
    assert mixed == before


@settings(max_examples=60)
@given(st.permutations(POOL), st.lists(st.integers(1, 6), max_size=3))
def test_numbered_is_a_bijection(passages: list[Passage], chosen: list[int]) -> None:
    claims = tuple(Claim(n, f"text {n}", "stated") for n in chosen)
    replaced = tuple(Claim(n, f"old {n}", "superseded", by=7 - n) for n in (1, 2))
    moved, evidence = numbered(passages, Evidence(claims, replaced, claims))
    assert [p.number for p in moved] == list(range(1, 7))
    assert {p.post.id for p in moved} == {p.post.id for p in passages}
    old = {p.number: p.post.id for p in passages}
    new = {p.number: p.post.id for p in moved}
    assert [new[c.number] for c in evidence.chosen] == [old[n] for n in chosen]
    assert [new[c.by or 0] for c in evidence.superseded] == [old[7 - n] for n in (1, 2)]
    assert [c.number for c in evidence.chosen] == [list(dict.fromkeys(chosen)).index(n) + 1 for n in chosen]
    assert evidence.judged == evidence.chosen
    assert all(replace(c, number=0) == replace(o, number=0) for c, o in zip(evidence.chosen, claims, strict=True))


def test_a_newer_denial_leads() -> None:
    def told(number: int, minute: int, copies: int, text: str) -> Passage:
        at = minute * 60_000_000
        post = Post(f"at://{number}", "test", Author(f"did:{number}", f"{number}.example"), text, at, at)
        return Passage(number, post, duplicates=copies, independent_authors=copies, author_class="press")

    passages = [
        told(1, 1, 12, "Police confirm a shooting at the Larkspur mall in the old town of Dern."),
        told(2, 9, 1, "Police say there was no shooting at the Larkspur mall in Dern."),
    ]
    found = weigh(read("Was there a shooting at the Larkspur mall?"), passages, 10 * 60_000_000)
    assert [c.number for c in found.chosen] == [2, 1]
    assert found.disagree
    assert [found.stands[c.text] for c in found.chosen] == ["no", "yes"]
    assert {c.standing for c in found.chosen} == {"attributed"}
    older = weigh(read("Was there a shooting at the Larkspur mall?"), passages[:1], 10 * 60_000_000)
    assert not older.disagree


def test_a_denial_of_somebody_else_is_no_disagreement() -> None:
    question = read("Was the gunman killed?")
    assert not denies(question, "Gunman shot dead in Nord, no report soldier dead.")
    assert denies(question, "No evidence that the gunman is dead.")
    assert denies(question, "The gunman was not killed.")


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("Who leads the count?", "Partial count, 40 % of stations: Lind 51.2 %, Beek 44.1 %, Orr 4.7 %."),
        ("When does the library close?", "The library is open until 21:00 today."),
        ("Until when can people vote?", "Polling stations in Oss are open until 19:00."),
        ("What is the margin of the vote?", "The vote is counted, with a margin of 1,204."),
    ],
)
def test_what_a_text_shows_without_the_word_answers(question: str, text: str) -> None:
    assert texts(weighed(question, passage(1, "board", text))) == [text]


def test_one_share_or_a_list_of_times_is_no_standing() -> None:
    asked = "Who leads the count?"
    assert not weighed(asked, passage(1, "board", "The count: Lind has 51 % in Oss.")).chosen
    assert not weighed(asked, passage(1, "board", "The count 100 % live: Oss 19:30, Harl 20:15.")).chosen


def test_an_account_that_tells_of_itself_tells_nothing_of_another() -> None:
    of_himself = passage(1, "beek", "I accept, it is over. I have called Mara Lind to wish her luck.", 595)
    assert not weighed("Has Lind conceded?", of_himself).chosen
    assert texts(weighed("Has Beek conceded?", of_himself))


def test_what_stands_beside_an_answer_must_speak_of_what_is_asked() -> None:
    text = "The Harl bridge in Oss is closed. Bring warm socks and some patience with you."
    found = texts(weighed("Is the Harl bridge in Oss closed?", passage(1, "board", text, 595)))
    assert found == ["The Harl bridge in Oss is closed."]


def test_who_accepts_a_result_is_not_who_won() -> None:
    assert not read("Did Beek accept the result?").about_result
    assert read("What is the result of the election?").about_result


def test_the_state_that_ends_what_is_asked_is_heard_too() -> None:
    closed = passage(1, "press", "The Quay bridge is closed.", 500)
    again = passage(2, "press", "The Quay bridge is open again.", 520)
    for question in ("Is the Quay bridge closed?", "Is the Quay bridge open?"):
        assert texts(weighed(question, closed, again)) == ["The Quay bridge is open again."]
        assert texts(weighed(question, closed)) == ["The Quay bridge is closed."]
    assert not texts(
        weighed("When does the Quay bridge reopen?", passage(1, "press", "The Quay bridge is closed: fire."))
    )


def test_voices_that_tell_opposite_states_disagree() -> None:
    closed, opened = passage(1, "bob", "The Quay bridge is closed.", 500), "The Quay bridge is {}open."
    question = "Is the Quay bridge closed?"
    assert weighed(question, closed, passage(2, "ann", opened.format(""), 502)).disagree
    assert not weighed(question, closed, passage(2, "ann", opened.format("not "), 502)).disagree


def test_a_state_that_is_only_planned_ends_none() -> None:
    closed = passage(1, "press", "The Quay bridge is closed.", 500)
    for plan in ("The Quay bridge is to be open again on Monday.", "The Quay bridge will open again soon."):
        found = weighed("Is the Quay bridge closed?", closed, passage(2, "press", plan, 520))
        assert texts(found)[:1] == ["The Quay bridge is closed."]
        found = weighed("Is the Quay bridge open?", closed, passage(2, "press", plan, 520))
        assert "The Quay bridge is closed." in texts(found)
        assert not found.superseded


def test_what_its_author_calls_off_is_told_no_more() -> None:
    for off in ("The strike at Halden is called off.", "The strike at Halden is postponed."):
        found = weighed(
            "When is the strike at Halden?",
            passage(1, "press", "The strike at Halden is on Thursday.", 500),
            passage(2, "press", off, 520),
        )
        assert texts(found) == [off]


def test_the_same_words_with_another_number_are_another_voice() -> None:
    found = weighed(
        "How many people were hurt in the Velp crash?",
        passage(1, "press", "Three people were hurt in the Velp crash.", 500),
        passage(2, "ann", "Five people were hurt in the Velp crash.", 502),
    )
    assert len(found.chosen) == 2
    assert found.disagree


def test_parts_that_add_up_to_the_whole_do_not_disagree() -> None:
    found = weighed(
        "How many people were hurt in the Velp crash?",
        passage(1, "press", "Three adults and two children were hurt in the Velp crash.", 500),
        passage(2, "ann", "Five people were hurt in the Velp crash.", 502),
    )
    assert not found.disagree


def test_a_figure_is_that_of_its_own_clause() -> None:
    told = figures(read("How many people died in the Oss bombing?"), "23 hurt, 2 dead in the Oss blasts.")
    assert told == ("2",)
