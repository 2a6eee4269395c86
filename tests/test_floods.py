"""Floods: how many speak for themselves among those who say one thing."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxpop.floods import Copy, independent, together, voices
from voxpop.posts import Author, Post
from voxpop.times import MICROS

MINUTE = 60 * MICROS
DAY = 24 * 60 * MINUTE
NOW = 20_000 * DAY
CLAIM = "They are hiding the truth about the Harl bridge collapse in Oss, wake up people"
OWN_WORDS = [
    "The Harl bridge in Oss has come down, I am standing right there.",
    "Harl bridge just collapsed. Cars in the water.",
    "omg the bridge over the Harl is gone",
    "Oss: bridge collapse, ambulances everywhere along the quay",
    "My tram stopped because the Harl bridge fell into the river",
    "Police close the quay after the fall of the bridge in Oss",
    "Huge noise a minute ago, the old bridge at Harl broke in two",
    "Can confirm from my window: half of the Harl bridge is missing",
    "A bridge has fallen in Oss this morning, at least two cars below",
    "Le pont Harl à Oss vient de s'effondrer",
    "Die Harlbrücke in Oss ist eingestürzt",
    "Se ha caído el puente Harl en Oss",
]


def post(
    number: int, text: str, *, at: int = NOW, since: int = 0, who: str = "", links: tuple[str, ...] = ()
) -> Post:
    author = Author(f"did:{who or number}", since=since)
    return Post(f"at://{number}", "test", author, text, at, at, links=links)


def test_a_flood_of_young_accounts_within_a_minute_is_one_voice() -> None:
    luck = random.Random(1)
    flood = [
        post(n, f"{CLAIM} {'!' * (n % 4)} #{luck.choice(['oss', 'harl'])}", at=NOW + luck.randrange(MINUTE),
             since=NOW - luck.randrange(1, 20) * DAY, who=str(n % 400))
        for n in range(500)
    ]  # fmt: skip
    assert voices(flood) == 1
    assert voices([*flood, post(900, OWN_WORDS[0])]) == 2


def test_a_number_of_its_own_makes_no_copy_a_voice() -> None:
    assert voices([post(n, f"{CLAIM} {n}{n}", at=NOW + n) for n in range(50)]) == 1


def test_twelve_who_write_in_their_own_words_are_twelve() -> None:
    assert voices([post(n, text, at=NOW + n) for n, text in enumerate(OWN_WORDS)]) == 12


def test_who_writes_twelve_times_is_one() -> None:
    assert voices([post(n, text, at=NOW + n * MINUTE, who="ann") for n, text in enumerate(OWN_WORDS)]) == 1


def test_the_young_add_nothing_to_others_and_are_one_alone() -> None:
    young = [post(n, text, since=NOW - DAY) for n, text in enumerate(OWN_WORDS[:6])]
    grown = [post(n, text, at=NOW + 1) for n, text in enumerate(OWN_WORDS[6:], 6)]
    assert (voices(young), voices(grown), voices([*young, *grown]), voices([])) == (1, 6, 6, 0)


def test_one_link_is_one_source() -> None:
    link = ("https://blog.example/bridge",)
    assert voices([post(n, text, at=NOW + n, links=link) for n, text in enumerate(OWN_WORDS)]) == 1
    assert len(together([post(n, text, links=link) for n, text in enumerate(OWN_WORDS)])) == 12


@pytest.mark.parametrize(
    ("copies", "count"),
    [
        ([], 1),
        ([Copy("a", NOW)], 1),
        ([Copy(n, NOW + n) for n in range(400)], 1),  # one minute
        ([Copy(n, NOW + n * MINUTE) for n in range(12)], 12),
        ([Copy("a", NOW + n * MINUTE) for n in range(12)], 1),  # one account
        ([Copy(n, NOW + n * MINUTE, NOW - 3 * DAY) for n in range(12)], 1),  # young ones
        ([Copy(n, NOW + n * MINUTE, NOW - 300 * DAY) for n in range(12)], 12),
        ([Copy(n, NOW + n * MINUTE, NOW - 300 * DAY * (n % 2) - DAY) for n in range(12)], 6),
    ],
)
def test_copies_count_once_a_minute_and_the_young_for_nobody(copies: list[Copy], count: int) -> None:
    assert independent(copies) == count


def test_near_copies_are_together_and_news_of_other_words_is_not() -> None:
    near = [
        "Harl bridge in Oss has collapsed, two dead, police say",
        "BREAKING: Harl bridge in Oss has collapsed, two dead",
    ]
    assert together([post(n, t) for n, t in enumerate([near[0], OWN_WORDS[1], near[1]])]) == [[0, 2], [1]]
    long = "The old stone bridge over the Harl in Oss fell this morning and two people died, says the clinic"
    for told, other in (("two people", "nine people"), ("died", "never died"), ("in Oss", "in Dern")):
        assert together([post(1, long), post(2, long.replace(told, other))]) == [[0], [1]]
    assert together([post(1, long), post(2, long.replace("this morning", "at nightfall"))]) == [[0, 1]]
    assert together([post(1, "Oss now"), post(2, "Oss now")]) == [[0], [1]]


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from(OWN_WORDS), st.integers(0, 9), st.integers(0, 3 * MINUTE)), max_size=20))
def test_never_more_voices_than_accounts_and_each_post_once(made: list[tuple[str, int, int]]) -> None:
    posts = [post(n, text, who=str(who), at=NOW + late) for n, (text, who, late) in enumerate(made)]
    groups = together(posts)
    assert sorted(i for g in groups for i in g) == list(range(len(posts)))
    assert [g[0] for g in groups] == sorted(g[0] for g in groups)
    assert bool(posts) <= voices(posts) <= sum(len({posts[i].author.id for i in g}) for g in groups)
