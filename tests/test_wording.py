"""A sentence changes no event, denial, condition, aim, reason, side or day of its posts."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxpop.drafts import Draft
from voxpop.evidence import Evidence
from voxpop.messages import AuthorClass, Claim, Passage
from voxpop.posts import Author, Post
from voxpop.signs import is_statement
from voxpop.support import features, least, score
from voxpop.text import bare, numbers, sentences
from voxpop.verification import verify


def passage(text: str, number: int = 1, kind: AuthorClass = "authority") -> Passage:
    author = Author(f"did:{number}", f"acct{number}.example")
    return Passage(number, Post(f"at://{number}", "test", author, text, number, number), author_class=kind)


def judged(*passages: Passage, superseded: bool = False) -> Evidence:
    claims = [
        Claim(p.number, bare(s), "superseded" if superseded else "stated" if p.listed else "attributed", 1.0, 9)
        for p in passages
        for s in sentences(p.post.text)
        if is_statement(bare(s))
    ]
    return Evidence(judged=tuple(claims))


def refused(line: str, *texts: str) -> str:
    passages = {n: passage(text, n) for n, text in enumerate(texts, 1)}
    return verify(Draft(line, tuple(passages)), passages, judged(*passages.values())).reason


@pytest.mark.parametrize(
    ("line", "post", "reason"),
    [
        (
            "The amber warning for the coast is lifted.",
            "Amber warning for the coast from 21:00.",
            "the event 'lifted'",
        ),
        ("Norvex sued Halden over a patent.", "Halden sued Norvex over a patent.", "have changed sides"),
        ("The bill was rejected by the senate.", "The bill was approved by the senate.", "the event 'rejected'"),
        ("The commission has been declared.", "The commission has declared.", "is done by whom it was done to"),
        ("The union is on strike in Oss.", "The union plans to strike in Oss.", "only plans or asks"),
        ("Oss gets a new bridge.", "Oss gets a new bridge if the council agrees.", "the condition"),
        ("The council met yesterday in Oss.", "The council met in Oss.", "the day 'yesterday'"),
        ("Oriental is a term for rugs, people.", "Oriental is a term for rugs, not people.", "a negation was lost"),
        ("Only one side is not told.", "Only one side is told.", "a negation was added"),
        ("The report about the fire is false.", "The report about the fire is long.", "a denial was added"),
        ("Le préavis de grève est levé.", "Préavis de grève des trams à partir de 6 h.", "the event 'leve'"),
        ("Die Brücke in Oss ist gesperrt.", "Die Brücke in Oss wird gestrichen.", "the event"),
        ("El puente de Oss está cerrado.", "El puente de Oss está pintado.", "the event 'cerrado'"),
        ("橋は再開した。", "橋は工事中です。", "the event '再開'"),
    ],
)
def test_what_is_changed_is_refused(line: str, post: str, reason: str) -> None:
    assert reason in refused(line, post)


@pytest.mark.parametrize(
    ("line", "post"),
    [
        ("The amber warning for the coast is lifted.", "Amber warning for the coast lifted."),
        ("Halden has sued Norvex over a patent.", "Halden sued Norvex over a patent."),
        ("Norvex is sued by Halden over a patent.", "Halden sued Norvex over a patent."),
        ("The union plans a strike in Oss.", "The union plans to strike in Oss."),
        ("Oss gets a bridge if the council agrees.", "Oss gets a new bridge if the council agrees."),
        ("A gunman has been shot dead.", "Gunman shot dead."),
        ("The bridge in Oss is not closed.", "The bridge in Oss is not closed."),
    ],
)
def test_what_is_kept_is_shown(line: str, post: str) -> None:
    assert refused(line, post) == ""


def test_two_posts_make_no_third_claim() -> None:
    posts = ("The mayor of Oss opened the library.", "A burglar was arrested at the harbour.")
    assert refused("The mayor of Oss was arrested at the harbour.", *posts) != ""
    assert refused("The mayor of Oss opened the library and a burglar was arrested.", *posts) != ""
    assert refused("A burglar was arrested at the harbour.", *posts) == ""


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("@acct1.example says the bridge in Oss is closed.", True),
        ("The bridge in Oss is closed, according to @acct1.example.", True),
        ("@acct1.example: “The bridge in Oss is closed.”", True),
        ("One post says the bridge in Oss is closed.", True),
        ("The bridge in Oss is closed, and @acct1.example stood near it when the mayor said so.", False),
        ("An account of the bridge in Oss, which is closed as the mayor of the town said.", False),
    ],
)
def test_a_name_somewhere_makes_a_sentence_nobodys_word(line: str, told: bool) -> None:
    post = passage(
        "The bridge in Oss is closed. I stood near it when the mayor of the town said so.", kind="unknown"
    )
    verdict = verify(Draft(line, (1,)), {1: post}, judged(post))
    assert (verdict.reason != "states as fact what only an unlisted account says") is told


def test_the_score_falls_with_each_word_that_no_post_holds() -> None:
    post = [passage("The bridge in Oss is closed until Monday morning for repairs.")]
    lines = [
        "The bridge in Oss is closed until Monday morning.",
        "The wooden bridge in Oss is closed until Monday morning.",
        "The wooden bridge in Oss is closed until Monday morning sunrise.",
        "The wooden castle in Oss is guarded until Monday morning sunrise.",
    ]
    scores = [score(line, post) or 0.0 for line in lines]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] >= least() > scores[-1]
    assert features(lines[0], post)["all held"] == 1.0


def test_no_score_is_told_across_languages() -> None:
    assert score("The bridge is closed.", [passage("Le pont est fermé jusqu'à lundi dans la ville.")]) is None


TEXTS = st.lists(
    st.sampled_from(
        [
            "Lind",
            "Beek",
            "Oss",
            "the",
            "bridge",
            "is",
            "closed",
            "open",
            "not",
            "because",
            "of",
            "3",
            "47.6",
            "percent",
            "council",
            "says",
            "Monday",
            "橋",
            "fermé",
        ]
    ),
    min_size=3,
    max_size=12,
).map(" ".join)


@settings(max_examples=120, deadline=None)
@given(TEXTS, TEXTS, st.integers(100, 10**9))
def test_a_number_that_no_cited_post_holds_never_passes(line: str, post: str, number: int) -> None:
    made = passage(post)
    told = f"{line} {number}."
    if numbers(told) - numbers(post):
        assert not verify(Draft(told, (1,)), {1: made}, judged(made)).shown


@settings(max_examples=120, deadline=None)
@given(TEXTS)
def test_a_posts_own_sentence_in_its_authors_name_passes_unless_replaced(post: str) -> None:
    made = passage(post)
    for claim in judged(made).judged:
        draft = Draft(f"@acct1.example says: “{claim.text}”", (1,))
        assert verify(draft, {1: made}, judged(made)).shown
        assert not verify(draft, {1: made}, judged(made, superseded=True)).shown


@settings(max_examples=120, deadline=None)
@given(TEXTS, TEXTS, TEXTS)
def test_a_verdict_does_not_hang_on_posts_that_are_not_cited(line: str, post: str, other: str) -> None:
    one, two = passage(post), passage(other, 2)
    alone = verify(Draft(line, (1,)), {1: one}, judged(one))
    assert verify(Draft(line, (1,)), {1: one, 2: two}, judged(one, two)) == alone
