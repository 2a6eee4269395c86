"""Words that a sentence puts side by side stand near each other in its post."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxpop.company import keep_together
from voxpop.messages import Passage
from voxpop.posts import Author, Post

POST = (
    "DECLARED: Oss is counted. Lind 31,200 votes, Beek 28,400. The ferry to Marle sank after the storm, nobody was "
    "hurt. Divers found the old bell near the harbour wall."
)


def passage(text: str = POST) -> Passage:
    return Passage(1, Post("at://x", "test", Author("did:x", "acct.example"), text, 1, 1), author_class="press")


@pytest.mark.parametrize(
    "said",
    [
        "The ferry to Marle sank after the storm.",
        "The ferry to Marle sank after the storm and nobody was hurt.",
        "Divers found the bell near the harbour wall.",
        "The old bell was found.",
        "@acct.example says Lind has 31,200 votes and Beek 28,400.",
    ],
)
def test_what_a_post_says_in_another_way_stays_together(said: str) -> None:
    assert keep_together(said, [passage()]) == ""


@pytest.mark.parametrize(
    "said",
    [
        "Divers sank after the storm.",
        "The ferry to Marle found the old bell.",
        "Lind was hurt near the harbour wall.",
        "The storm harbour wall.",
        "DECLARED: Oss divers found nobody.",
        "The ferry to Marle sank after the old bell.",
        "The ferry to Marle sank to the.",
        "Beek Beek 28,400.",
        "Divers found the golden bell.",
        "Divers found the wall.",
    ],
)
def test_what_no_post_puts_side_by_side_is_refused(said: str) -> None:
    assert keep_together(said, [passage()]) != ""


def test_it_is_one_post_that_holds_a_sentence_together() -> None:
    posts = [passage("The mayor of Oss opened the library."), passage("A burglar ran to the harbour.")]
    assert keep_together("The mayor ran to the harbour.", posts) != ""
    assert keep_together("A burglar ran to the harbour.", posts) == ""


@settings(max_examples=100)
@given(st.text(max_size=80), st.text(max_size=80))
def test_it_answers_whatever_it_reads(said: str, post: str) -> None:
    assert isinstance(keep_together(said, [passage(post)]), str)
