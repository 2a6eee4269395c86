"""Planning: what to do with a request and what to search for; retrieval: which posts come back, in what order."""

from collections.abc import Sequence
from itertools import chain

import pytest

from voxpop.authorities import Authorities
from voxpop.choosing import choose as best
from voxpop.messages import Bounds, Message, Request
from voxpop.posts import Author, Event, Post
from voxpop.retrieval import Plan, plan, retrieve
from voxpop.store import Applied, Hit, Query
from voxpop.times import MICROS, iso, micros

NOW = micros("2026-11-21T22:10:00Z")
HOUR = 3600 * MICROS


def planned(*said: str, **more: object) -> Plan:
    return plan(Request(tuple(Message("user", text) for text in said), **more), NOW)  # type: ignore[arg-type]


POSTS = """
Who won the election?
What is happening in Oss?
Is the bridge closed?
How many people were hurt?
What do people think of the new album?
why is everyone talking about hens
latest on the storm
news
Did Lind resign?
When is the match?
What is the score?
Where is the protest?
Any news about trains?
What did @tpa.example say about the count?
Qui a gagné l'élection ?
Que se passe-t-il à Lyon ?
Où sont les manifestants ?
Le métro est-il fermé ?
Que dit-on du match ?
¿Qué pasa en Sevilla?
¿Quién ganó?
Was ist in Berlin los?
Wer hat gewonnen?
地震はどこで？
選挙の結果は？
Write me what people say about Oss in the posts of Lind
How to vote in Oss today according to the Commission?
What is the capital gain debate in Congress about?
"""
CONVERSATION = """
hi
Hello!
hey there
thanks
Thank you very much!
good morning
Bonjour !
Salut
Merci beaucoup
Hola
Hallo
Danke
olá
Who are you?
What can you do?
What did you just say?
What did I ask?
Can you summarize that?
Say that again, shorter
Translate that to French
rephrase your answer
Reformule ça
Résume ta réponse
Qui es-tu ?
Que sais-tu faire ?
"""
GENERAL = """
write a poem about the sea
Please write a haiku
explain how a tram works
how do i boil an egg?
how to tie a tie
define entropy
what is the capital of france
what is the square root of two
convert 3 miles to km
calculate 3 * 4
What is 3 + 4?
tell me a joke
solve x + 1 = 2
can you write a recipe for bread
écris un poème
explique la gravité
calcule 3 fois 4
quelle est la capitale de la france
raconte une blague
a python function that sorts
"""


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (line, kind)
        for kind, lines in (("posts", POSTS), ("conversation", CONVERSATION), ("general", GENERAL))
        for line in lines.strip().splitlines()
    ],
)
def test_kinds(text: str, kind: str) -> None:
    assert planned(text).kind == kind


@pytest.mark.parametrize(
    ("text", "since", "until"),
    [
        ("News of Oss", None, "2026-11-21T22:10"),
        ("News of Oss in the last hour", "2026-11-21T21:10", "2026-11-21T22:10"),
        ("News of Oss in the last 3 hours", "2026-11-21T19:10", "2026-11-21T22:10"),
        ("News of Oss in the past two hours", "2026-11-21T20:10", "2026-11-21T22:10"),
        ("News of Oss, last 15 minutes", "2026-11-21T21:55", "2026-11-21T22:10"),
        ("Oss: les 5 dernières minutes", "2026-11-21T22:05", "2026-11-21T22:10"),
        ("Oss dans la dernière heure", "2026-11-21T21:10", "2026-11-21T22:10"),
        ("News of Oss today", "2026-11-20T22:10", "2026-11-21T22:10"),
        ("Oss aujourd'hui ?", "2026-11-20T22:10", "2026-11-21T22:10"),
        ("News of Oss this week", "2026-11-14T22:10", "2026-11-21T22:10"),
        ("News of Oss since 20:00", "2026-11-21T20:00", "2026-11-21T22:10"),
        ("News of Oss since 11 pm", "2026-11-20T23:00", "2026-11-21T22:10"),
        ("News of Oss after 9:30 a.m.", "2026-11-21T09:30", "2026-11-21T22:10"),
        ("News of Oss after 12 am", "2026-11-21T12:00", "2026-11-21T22:10"),
        ("Oss depuis 20 h ?", "2026-11-21T20:00", "2026-11-21T22:10"),
        ("Oss depuis 20h30 ?", "2026-11-21T20:30", "2026-11-21T22:10"),
        ("¿Qué pasa en Oss desde las 18:30?", "2026-11-21T18:30", "2026-11-21T22:10"),
        ("Was ist in Oss los seit 20 Uhr?", "2026-11-21T20:00", "2026-11-21T22:10"),
        ("What happened in Oss yesterday?", "2026-11-20T00:00", "2026-11-21T00:00"),
        ("Oss hier ?", "2026-11-20T00:00", "2026-11-21T00:00"),
        ("What was the turnout at 17:00?", None, "2026-11-21T22:10"),
    ],
)
def test_times(text: str, since: str | None, until: str) -> None:
    query = planned(text).query
    assert (query.since and iso(query.since)[:16]) == since
    assert query.until is not None
    assert iso(query.until)[:16] == until


def test_bounds_of_the_request_hold() -> None:
    bounds = Bounds(since=NOW - HOUR, until=NOW - 60, handles=("a.example",), lang="fr", min_likes=3)
    query = planned("News of Oss since 20:00 from @b.example", bounds=bounds).query
    assert (query.since, query.until, query.handles) == (NOW - HOUR, NOW - 60, ("a.example",))
    assert (query.lang, query.min_likes) == ("fr", 3)
    bounds = Bounds(networks=("rss",), domains=("a.example",), not_domains=("b.example",), not_handles=("c",))
    query = planned("News of Oss", bounds=bounds).query
    assert (query.networks, query.domains) == (("rss",), ("a.example",))
    assert (query.not_domains, query.not_handles) == (("b.example",), ("c",))
    assert planned("News of Oss since 20:00", bounds=Bounds(since=1)).query.since == micros("2026-11-21T20:00:00Z")
    assert planned("News of Oss", as_of=NOW - 5 * HOUR).query.until == NOW - 5 * HOUR
    assert planned("News of Oss", as_of=NOW + 5 * HOUR).query.until == NOW


def test_phrases_and_speakers_are_searched_for() -> None:
    assert planned('who said "we have not won"?').query.phrases == ("we have not won",)
    assert planned("what does @tpa.example say about the count?").query.handles == ("tpa.example",)
    assert planned("地震").query.phrases == ("地震",)
    assert planned("地震", "選挙の結果").query.phrases == ()


class Shelf:
    """A store of given posts: `search` finds those that share a word, by the accounts that are asked for."""

    def __init__(self, *posts: Post) -> None:
        self.kept = posts
        self.asked: list[Query] = []

    async def apply(self, source: str, events: Sequence[Event]) -> Applied:
        raise NotImplementedError

    async def cursor(self, source: str) -> str | None:
        return None

    async def posts(self, ids: Sequence[str]) -> list[Post]:
        return [p for p in self.kept if p.id in ids]

    async def search(self, query: Query, now: int) -> list[Hit]:
        self.asked.append(query)
        known = [p for p in self.kept if not query.handles or {p.author.id, p.author.handle} & set(query.handles)]
        asked = [*query.words, *chain.from_iterable(query.kin)]
        found = [(sum(w in p.text.lower() for w in asked), p) for p in known]
        return [Hit(p, float(n)) for n, p in sorted(found, key=lambda f: -f[0]) if n][: query.limit]


def post(number: int, who: str, text: str) -> Post:
    at = NOW - number * 60 * MICROS
    return Post(f"at://{number}", "test", Author(f"did:{who}", f"{who}.example", who), text, at, at)


async def test_listed_accounts_are_searched_apart() -> None:
    crowd = [post(n, f"fan{n}", f"the bridge in Oss is open open open for {n} days") for n in range(60)]
    shelf = Shelf(*crowd, post(90, "board", "The bridge in Oss is closed."))
    lists = Authorities.of(["did:board"])
    retrieved = await retrieve(shelf, planned("Is the bridge in Oss closed or open?"), NOW, lists)
    found = retrieved.passages
    assert retrieved.searched[0] == "the question's words and their kin: bridge oss closed open"
    assert len(retrieved.searched) == len(shelf.asked)
    assert "did:board" in [p.post.author.id for p in found]
    assert [p.number for p in found] == list(range(1, len(found) + 1))
    assert len(found) == 12
    assert [q.handles for q in shelf.asked] == [(), ("did:board",), ()]


async def test_only_the_one_who_is_asked_for() -> None:
    shelf = Shelf(post(1, "ann", "The count is slow."), post(2, "board", "The count is done."))
    found = await retrieve(
        shelf, planned("What does @ann.example say about the count?"), NOW, Authorities.of(["did:board"])
    )
    assert [p.post.author.handle for p in found.passages] == ["ann.example"]
    assert all(q.handles == ("ann.example",) for q in shelf.asked)


async def test_a_question_without_a_topic_asks_for_the_newest() -> None:
    shelf = Shelf(post(1, "ann", "The count is slow tonight."))
    await retrieve(shelf, planned("What is going on?"), NOW, Authorities())
    assert [(q.words, q.until) for q in shelf.asked] == [((), NOW)]
    assert shelf.asked[0].since == NOW - 30 * 60 * 1_000_000


def test_best_puts_what_answers_first_and_says_who_speaks() -> None:
    question = planned("Is the bridge in Oss closed?").question
    hits = [Hit(post(1, "fan", "hens!"), 1.0), Hit(post(2, "board", "The bridge in Oss is closed."), 0.5)]
    found = best(question, hits, Authorities.of(["board.example"]), 5)
    assert [(p.number, p.post.id, p.author_class) for p in found] == [
        (1, "at://2", "authority"),
        (2, "at://1", "person"),
    ]
    assert len(best(question, hits, Authorities(), 1)) == 1
