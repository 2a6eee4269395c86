"""Positions: what the posts of a moment answer, and that it flips by what is said and by nothing else."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxpop import stances
from voxpop.evidence import weigh
from voxpop.messages import AuthorClass, Passage
from voxpop.positions import Position, flipped, kept, position, same
from voxpop.posts import Author, Post
from voxpop.questions import read
from voxpop.times import MICROS

MINUTE = 60 * MICROS
CLASSES: dict[str, AuthorClass] = {"board": "authority", "press": "press", "daily": "press"}
WINNER = "Who won the presidential election?"
BURNED = "Did a ballot box burn in Dornick?"
TURNOUT = "What is the turnout?"
BANKRUPT = "Is Hearth Union bankrupt?"
STRIKE = "Is the tram strike over?"


def passage(number: int, who: str, text: str, minute: int = 500, **more: object) -> Passage:
    at = minute * MINUTE
    post = Post(f"at://{number}", "test", Author(f"did:{who}", f"{who}.example", who), text, at, at)
    listed = Passage(number, post, author_class=CLASSES.get(who, "unknown"), calls=("*",) if who == "board" else ())
    return replace(listed, **more)  # type: ignore[arg-type]


def held(question: str, *passages: Passage, before: Position | None = None) -> Position:
    asked = read(question)
    return position(asked, passages, weigh(asked, passages, 0), before)


# each is what one account said, then what came; and what became of the answer
FLIPS = [
    (WINNER, [], ["board: DECLARED: Ann Korvane is elected President with 48 % of the votes."], "declared"),
    (BURNED, ["ann: A ballot box burned in Dornick."], ["board: No ballot box burned in Dornick."], "denied"),
    (BURNED, ["ann: A ballot box burned in Dornick."], ["bob: No ballot box burned in Dornick."], "contested"),
    (BURNED, ["ann: A ballot box burned in Dornick."], ["press: The Dornick ballot box fire is a hoax."], "denied"),
    (BURNED, ["ann: A ballot box burned in Dornick."], ["press: A ballot box burned in Dornick."], "confirmed"),
    (BURNED, [], ["ann: A ballot box is on fire in Dornick."], "answered"),
    (BANKRUPT, ["ann: Hearth Union is bankrupt."], ["board: Hearth Union is not bankrupt."], "denied"),
    (BANKRUPT, ["board: Hearth Union is not bankrupt."], ["board: Hearth Union is bankrupt now."], "affirmed"),
    (STRIKE, ["press: The tram strike is not over."], ["press: The tram strike is over, lines run."], "affirmed"),
    ("Is there a tram strike?", ["press: Tram strike today."], ["press: The tram strike is over."], "denied"),
    (TURNOUT, ["board: Turnout at 17:00: 48.2 %."], ["board: Turnout at 18:00: 57.9 %."], "revised"),
    (TURNOUT, ["board: Turnout: 48.2 %."], ["board: CORRECTION: turnout is 49.2 %, not 48.2 %."], "revised"),
    (TURNOUT, ["ann: Turnout is 48 %."], ["bob: Turnout is 61 %."], "contested"),
    ("Who is the suspect?", ["press: The suspect is Ada Brill."], ["press: The suspect is Joe Tamm."], "revised"),
    ("Quelle est la participation ?", [], ["board: Participation à 17 h : 48,2 % des inscrits."], "answered"),
]  # fmt: skip
# the same again: in other words, by others, once more, in another order, rounded, or of something else
PEACE = [
    (WINNER, ["board: DECLARED: Ann Korvane is elected President."], ["press: Ann Korvane has won."]),
    (WINNER, [], ["ann: Dreyl has won the presidential election!", "bob: Dreyl won the election, my friends."]),
    (WINNER, [], ["press: We project that Dreyl wins the presidential election."]),
    (WINNER, ["board: Ann Korvane is elected President."], ["board: Korvane is declared President of us all."]),
    (BURNED, ["board: No ballot box burned in Dornick."], ["ann: A ballot box burned in Dornick, I saw it."]),
    (BURNED, ["ann: A ballot box burned in Dornick."], ["bob: In Dornick there is a ballot box on fire."]),
    (BURNED, ["board: No ballot box burned in Dornick."], ["press: Not one ballot box in Dornick was on fire."]),
    (BURNED, ["press: A ballot box burned in Dornick."], ["ann: Did a ballot box burn in Dornick?"]),
    (BURNED, ["press: A ballot box burned in Dornick."], ["ann: If a ballot box burned in Dornick, I go."]),
    (STRIKE, ["press: The tram strike is over."], ["ann: Tram strike or not, line 3 is late."]),
    (TURNOUT, ["board: Turnout: 71.3 % of voters."], ["press: Voter turnout was 71 %."]),
    (TURNOUT, ["board: Turnout: 71.3 %."], ["ann: Turnout is 99 %, I say."]),
    (TURNOUT, ["board: Turnout: 71.3 %."], ["press: La participation est de 71,3 %."]),
    (TURNOUT, ["board: Turnout: 71.3 %."], ["board: We thank our 41,000 poll workers for this turnout."]),
    ("Who is the suspect?", ["press: The suspect is Ada Brill."], ["daily: Police name Brill as the suspect."]),
    ("What do the exit polls say?", ["press: Exit polls: Dreyl leads."], ["daily: The exit polls say it is near."]),
]  # fmt: skip


def said(lines: list[str], first: int, minute: int) -> list[Passage]:
    rows = [line.split(": ", 1) for line in lines]
    return [passage(first + n, who, text, minute + n) for n, (who, text) in enumerate(rows)]


@pytest.mark.parametrize(("question", "before", "after", "why"), FLIPS)
def test_what_changes_an_answer_flips_it(question: str, before: list[str], after: list[str], why: str) -> None:
    old, new = said(before, 1, 500), said(after, 50, 560)
    was = held(question, *old)
    flip = flipped(was, held(question, *old, *new, before=was))
    assert flip
    assert (flip.why, flip.before) == (why, was)
    assert set(flip.posts) & {p.post.id for p in new}


@pytest.mark.parametrize(("question", "before", "after"), PEACE)
def test_what_says_the_same_or_has_no_say_flips_nothing(question: str, before: list[str], after: list[str]) -> None:
    old, new = said(before, 1, 500), said(after, 50, 560)
    was = held(question, *old)
    assert was.stance != "unknown"
    for passages in ((*old, *new), (*new, *old), (*old, *new, *said(before, 90, 600))):
        now = held(question, *passages, before=was)
        assert flipped(was, now) is None
        assert kept(was, now).said == was.said


@pytest.mark.parametrize(("question", "before"), [(q, b) for q, b, *_ in [*FLIPS, *PEACE] if b])
def test_an_answer_whose_posts_are_gone_is_gone(question: str, before: list[str]) -> None:
    was = held(question, *said(before, 1, 500))
    flip = flipped(was, held(question, before=was))
    assert flip
    assert flip.why in ("gone", "retracted")
    assert flip.posts == was.posts


def test_an_answer_does_not_fade() -> None:
    asked, posts = read(TURNOUT), said(["board: Turnout: 71.3 %."], 1, 500)
    was = held(TURNOUT, *posts)
    for later in (0, 1000 * MINUTE, 10**6 * MINUTE):  # the clock has no say
        assert position(asked, posts, weigh(asked, posts, 0 * later), was) == was


def test_copies_and_ranks_move_nothing() -> None:
    posts = said(["ann: A ballot box burned in Dornick.", "bob: No ballot box burned in Dornick."], 1, 500)
    was = held(BURNED, *posts)
    assert was.stance == "contested"
    for copies in (1, 3, 40, 4000):  # who was heard stays heard, however many shout the other thing
        crowd = [replace(posts[0], independent_authors=copies, score=copies), posts[1]]
        for passages in (crowd, crowd[::-1]):
            assert flipped(was, held(BURNED, *passages, before=was)) is None


def test_one_against_many_is_not_heard_at_first() -> None:
    posts = said(["ann: A ballot box burned in Dornick.", "bob: No ballot box burned in Dornick."], 1, 500)
    posts[0] = replace(posts[0], independent_authors=40)
    assert held(BURNED, *posts).stance == "yes"


def test_satire_takes_no_stand() -> None:
    post = passage(1, "ann", "A ballot box burned in Dornick.", tone="parody")
    assert held(BURNED, post) == Position()


def test_an_author_who_takes_it_back_leaves_the_others_word() -> None:
    posts = said(["ann: Hearth Union is bankrupt.", "bob: Hearth Union is not bankrupt."], 1, 500)
    was = held(BANKRUPT, *posts)
    assert was.stance == "contested"
    now = held(BANKRUPT, *posts, *said(["ann: I was wrong: Hearth Union is not bankrupt."], 9, 530), before=was)
    flip = flipped(was, now)
    assert flip
    assert (flip.why, now.stance) == ("settled", "no")


@pytest.mark.parametrize(
    ("question", "sentence", "told"),
    [
        ("How many votes did Dreyl get in Hallovar?", "Hallovar: Dreyl 312,540 votes, Korvane 238,112.", "312540"),
        ("How many votes did Dreyl get in Hallovar?", "Dreyl has 321,540 votes, not 312,540.", "321540"),
        (
            "What share of stations is counted?",
            "Partial count, 5 % of stations: Dreyl 51.8 %, Korvane 43.6 %.",
            "5",
        ),
        ("What share of stations is counted?", "Four stations in Kestrin have run short of pencils.", ""),
        ("How many people were killed?", "Three people were killed, up from two.", "3"),
        ("What is the score of Rovers against Hallow?", "FULL TIME: Lirren Rovers 2, Port Hallow 1.", "2-1"),
        ("Who leads the count?", "The lead changes: Korvane 47.8, Dreyl 47.6 with 74 % counted.", "korvane"),
        ("Who leads the count?", "La file à Dornick avance bien.", ""),
        ("When do the polls close?", "The polls close at 8 pm.", "20:00"),
        ("Where did the fire break out?", "A fire broke out in Dornick.", "dornick"),
    ],
)
def test_what_a_sentence_tells(question: str, sentence: str, told: str) -> None:
    assert (stances.told(read(question), sentence) or ("",))[0] == told


def test_figures_are_one_up_to_what_the_rounder_leaves_out() -> None:
    assert stances.equal("71", "71.3")
    assert stances.equal("71.3", "71.26")
    assert not stances.equal("71", "72")
    assert not stances.equal("300", "321")
    assert not stances.equal("korvane", "dreyl")


words = st.lists(st.sampled_from(["12", "12.4", "12.41", "7", "ann", "bob", "cleo"]), max_size=3).map(tuple)
kinds = st.sampled_from(["unknown", "yes", "no", "contested", "not declared", "declared", "told"])
positions = st.builds(
    Position, kinds, words, st.booleans(), st.lists(st.sampled_from("abc"), max_size=3).map(tuple)
)


@given(positions, positions)
def test_a_flip_has_two_sides(one: Position, other: Position) -> None:
    assert same(one, one)
    assert same(one, other) == same(other, one)
    assert flipped(one, one) is None
    if not same(one, other):
        assert flipped(one, other)
        assert flipped(other, one)


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ann", "bob", "cy", "press", "board"]),
            st.sampled_from(
                ["A ballot box burned in Dornick.", "No ballot box burned in Dornick.", "Look at this."]
            )
            | st.text(max_size=60),
            st.integers(1, 90),
        ),
        max_size=7,
    ),
    st.randoms(),
)
def test_the_order_in_which_posts_are_found_tells_nothing(rows: list[tuple[str, str, int]], luck: object) -> None:
    posts = [passage(n, who, text, 500 + at) for n, (who, text, at) in enumerate(rows, 1)]
    was = held(BURNED, *posts)
    mixed = list(posts)
    luck.shuffle(mixed)  # type: ignore[attr-defined]
    again = held(BURNED, *(replace(p, number=n) for n, p in enumerate(mixed, 1)))
    assert (again.stance, again.said, again.confirmed) == (was.stance, was.said, was.confirmed)
    assert flipped(was, again) is None
    assert flipped(was, held(BURNED, *posts, before=was)) is None
