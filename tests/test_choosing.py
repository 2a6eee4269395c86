"""The choice of passages: who is heard, who counts, what is searched for besides, and the reasons told."""

from collections.abc import Sequence
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxpop.authorities import Authorities
from voxpop.choosing import choose
from voxpop.expansion import against, expansion
from voxpop.messages import Message, Passage, Request
from voxpop.posts import Author, Event, Post
from voxpop.questions import read
from voxpop.retrieval import Retrieved, plan, retrieve
from voxpop.store import Applied, Hit, Query
from voxpop.text import words
from voxpop.times import MICROS

MINUTE = 60 * MICROS
DAY = 24 * 60 * MINUTE
NOW = 20_000 * DAY
ASKED = "Is the Harl bridge in Oss closed?"
LISTS = Authorities.of(["did:board"], ["did:paper"])


def post(number: int, text: str, who: str = "", *, ago: int = 0, **more: object) -> Post:
    at = NOW - ago * MINUTE
    author = Author(f"did:{who or number}", f"{who or number}.example")
    return Post(f"at://{number}", "test", author, text, at, at, **more)  # type: ignore[arg-type]


def chosen(question: str, *posts: Post, limit: int = 12, lists: Authorities = LISTS) -> list[Passage]:
    hits = [Hit(p, 1.0 - n / 1000) for n, p in enumerate(posts)]
    return choose(read(question), hits, lists, limit)


def of(passages: Sequence[Passage], number: int) -> Passage:
    return next(p for p in passages if p.post.id == f"at://{number}")


CROWD = [
    "Harl bridge in Oss closed, we walk home", "Stuck here, the Harl bridge is closed in Oss",
    "Oss: they closed Harl bridge",
    "closed! the bridge over the Harl, Oss side", "So Harl bridge stays closed tonight, thanks Oss",
    "My bus turned round, Harl bridge closed in Oss", "Police closed the bridge in Oss, the Harl one",
    "Oss traffic is mad, Harl bridge is closed", "why close the Harl bridge in Oss, closed again",
    "Everybody in Oss: the Harl bridge is closed now", "Anyone near Oss, the Harl bridge is closed",
    "It is the third time that Oss has closed the Harl bridge", "Harl bridge (Oss) is closed due to wind",
    "Oss news, the Harl bridge got closed an hour ago",
]  # fmt: skip


def test_who_denies_it_and_the_oldest_and_the_newest_are_heard_beside_the_best() -> None:
    crowd = [post(n, text, ago=30 + n) for n, text in enumerate(CROWD)]
    oldest = post(90, "It was said that Oss would see the Harl bridge closed, planned for months", ago=900)
    newest = post(91, "walking over the thing at Oss, the Harl bridge, which was closed, feels fine", ago=1)
    denial = post(92, "No, the Harl bridge in Oss is not closed.", ago=20)
    found = chosen(ASKED, *crowd, oldest, newest, denial, limit=10)
    assert len(found) == 10
    assert "denies or corrects it" in of(found, 92).why
    assert "oldest" in of(found, 90).why
    assert "newest" in of(found, 91).why
    agreed = chosen(ASKED, *crowd, oldest, newest, limit=10)
    assert not {"oldest", "newest"} & {reason for p in agreed for reason in p.why}


def test_near_copies_are_one_passage_spoken_for_by_a_listed_account() -> None:
    text = "The Harl bridge in Oss is closed until further notice"
    found = chosen(
        ASKED, post(1, text, ago=9), post(2, f"{text} #oss", "board", ago=5), post(3, f"RT {text}", ago=4)
    )
    assert [(p.post.id, p.duplicates, p.independent_authors) for p in found] == [("at://2", 3, 1)]
    assert found[0].why == ("names the topic", "listed authority", "3 copies count as one")


def test_an_account_has_its_share_and_no_more_while_there_are_others() -> None:
    loud = [post(n, text, "loud") for n, text in enumerate(CROWD[:8])]
    others = [post(n, text) for n, text in enumerate(CROWD[8:], 8)]
    found = chosen(ASKED, *loud, *others, limit=9)
    assert sum(p.post.author.id == "did:loud" for p in found) == 3
    assert len(chosen(ASKED, *loud, limit=9)) == 8


def test_reasons_are_short_and_true() -> None:
    asked = post(1, "The Harl bridge in Oss looks closed from here")
    reply = post(2, "Yes, the Harl bridge in Oss is closed, they told us", reply_to="at://1")
    press = post(3, "Oss: Harl bridge closed after a crash", "paper")
    beside = post(4, "Lovely evening at the quay")
    hits = [Hit(p, 1.0, 9, 9, 7 if p is press else 1) for p in (asked, reply, press, beside)]
    found = choose(read(ASKED), hits, LISTS, 12)
    assert of(found, 2).why == ("names the topic", "9 copies count as one", "in reply to @1.example")
    assert of(found, 3).why == ("names the topic", "listed press", "7 independent accounts")
    assert of(found, 4).why[0] == "near the topic"


HITS = [
    Hit(post(n, text, ago=n), 1.0 - n / 20)
    for n, text in enumerate([*CROWD, "The Harl bridge in Oss is not closed"])
]


@settings(max_examples=40)
@given(st.permutations(HITS), st.integers(1, 15))
def test_the_choice_does_not_depend_on_the_order_of_hits(mixed: list[Hit], limit: int) -> None:
    first = choose(read(ASKED), HITS, LISTS, limit)
    assert [(p.post.id, p.why) for p in choose(read(ASKED), mixed, LISTS, limit)] == [
        (p.post.id, p.why) for p in first
    ]
    assert [p.number for p in first] == list(range(1, len(first) + 1))
    assert len(first) <= limit


# -- what is searched for besides


class Shelf:
    """A store of given posts: `search` finds those that share a word."""

    def __init__(self, *posts: Post) -> None:
        self.kept = posts
        self.asked: list[Query] = []

    async def apply(self, source: str, events: Sequence[Event]) -> Applied:
        raise NotImplementedError

    async def cursor(self, source: str) -> str | None:
        return None

    async def posts(self, ids: Sequence[str]) -> list[Post]:
        return [p for i in ids for p in self.kept if p.id == i]

    async def search(self, query: Query, now: int) -> list[Hit]:
        self.asked.append(query)
        wanted = {*query.words, *chain.from_iterable(query.kin)}
        within = (p for p in self.kept if query.until is None or p.witnessed_at <= query.until)
        scored = sorted(((len(wanted & set(words(p.text))), p) for p in within), key=lambda f: -f[0])
        return [Hit(p, float(n)) for n, p in scored if n][: query.limit]


async def found(shelf: Shelf, question: str, now: int = NOW) -> Retrieved:
    return await retrieve(shelf, plan(Request((Message("user", question),)), now), now, Authorities())


DENIED = {
    "Did Mayor Lind resign?": "False. Lind stays, says Oss council",
    "Est-ce que la maire Lind a démissionné ?": "Intox : Lind reste maire, démenti de la mairie",
    "¿Dimitió la alcaldesa Lind?": "Es falso, desmienten lo de Lind",
    "Ist Bürgermeisterin Lind zurückgetreten?": "Falschmeldung zu Lind, das Rathaus dementiert",
    "A prefeita Lind renunciou?": "Boato: a prefeitura desmente sobre Lind",
    "リンド市長は辞任しましたか？": "デマ リンド 市長 否定",
}


@pytest.mark.parametrize(("question", "denial"), DENIED.items())
async def test_denials_are_searched_for_on_purpose(question: str, denial: str) -> None:
    crowd = [post(n, f"{question} {CROWD[n % 14]} {n}", lang="en") for n in range(80)]
    shelf = Shelf(*crowd, post(99, denial, ago=2))
    result = await found(shelf, question)
    marks = set(against([read(question).lang]))
    assert any(marks & set(group) for query in shelf.asked for group in query.kin)
    assert any("denial" in told for told in result.searched)
    assert len(result.searched) == len(shelf.asked)


async def test_a_denial_that_the_words_alone_do_not_reach_is_found() -> None:
    crowd = [post(n, f"Mayor Lind resign resigns in Oss {CROWD[n % 14]} {n}") for n in range(80)]
    denial = post(99, "Hoax: in Oss Mayor Lind did not resign, correction follows", ago=2)
    result = await found(Shelf(*crowd, denial), "Did Mayor Lind resign in Oss?")
    assert "at://99" in {p.post.id for p in result.passages}


async def test_what_a_post_answers_and_quotes_comes_with_it_unless_it_is_later_than_asked() -> None:
    root = post(1, "Something is going on at the quay", ago=9)
    parent = post(2, "Which one do you mean", ago=8)
    quoted = post(3, "See you tomorrow", ago=7)
    later = post(5, "An hour later", ago=-60)
    reply = post(4, "The Harl bridge in Oss is closed", reply_to="at://2", root="at://1", quote_of="at://3")
    other = post(6, "Harl bridge, Oss, closed, they say", reply_to="at://5")
    passages = (await found(Shelf(root, parent, quoted, later, reply, other), ASKED)).passages
    assert {p.post.id for p in passages} == {f"at://{n}" for n in (1, 2, 3, 4, 6)}
    assert "in reply to @2.example" in of(passages, 4).why


def test_names_of_several_independent_accounts_widen_a_search() -> None:
    question = read("What happened at the harbour in Oss?")
    own = [
        "Boat on fire in the harbour of Oss, they call it #HarlFire", "Smoke over Oss harbour #HarlFire",
        "The Marigold burns in the harbour at Oss #HarlFire", "harbour of Oss closed, Marigold burning",
        "Oss harbour: everyone off the Marigold", "In Oss the harbour smells of Holt",
    ]  # fmt: skip
    hits = [Hit(post(n, text, ago=n), 1.0) for n, text in enumerate(own)]
    assert set(expansion(question, hits)) == {"harlfire", "marigold"}
    flood = [
        Hit(post(100 + n, f"Wake up, what happened in the harbour of Oss is a lie by Beek #BeekLies {n}"), 1.0)
        for n in range(40)
    ]
    assert set(expansion(question, [*hits, *flood])) == {"harlfire", "marigold"}
    assert expansion(question, flood) == ()
    tags = " ".join(f"#Tag{letter}" for letter in "ABCDEFG")
    many = [Hit(post(n, f"{text} {tags}", ago=n), 1.0) for n, text in enumerate(own)]
    assert len(expansion(question, many)) == 4


async def test_found_names_are_searched_where_the_words_bring_few() -> None:
    own = [f"{text} #HarlFire" for text in CROWD[:4]]
    tagged = post(50, "Fire boats on their way #HarlFire", ago=3)
    shelf = Shelf(*(post(n, text, ago=n) for n, text in enumerate(own)), tagged)
    result = await found(shelf, ASKED)
    assert shelf.asked[-1].words == ("harlfire",)
    assert "at://50" in {p.post.id for p in result.passages}
    crowded = Shelf(*(post(n, f"{CROWD[n % 14]} #HarlFire {n}", ago=n) for n in range(60)))
    await found(crowded, ASKED)
    assert all(query.words == () for query in crowded.asked)


def test_words_of_denial_are_those_of_the_languages_at_hand() -> None:
    assert against(["en"]) == against([]) == against(["xx"])
    assert {"hoax", "démenti"} < set(against(["fr"]))
    assert "démenti" not in against(["de"])


def test_what_an_account_with_many_posts_said_last_is_heard() -> None:
    said = "Harl bridge in Oss closed, the works are at step {} of forty"
    counts = [post(n, said.format(41 - n), "board", ago=n) for n in range(40, 0, -1)]
    found = chosen(ASKED, *counts, *(post(100 + n, text, ago=5) for n, text in enumerate(CROWD)), limit=6)
    assert "at://1" in {p.post.id for p in found}
