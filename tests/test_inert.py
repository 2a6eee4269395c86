"""A stranger's text in a line of ours: what it keeps, and what it cannot do."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxpop import inert
from voxpop.posts import Author, Post
from voxpop.text import MARK

ANY = st.text(max_size=200)
NASTY = st.text(alphabet=st.sampled_from(list('ab1 [](){}<>|\n\r\t\x00\x1b\x85\u2028\u202e\u200b\u0301“”«»„「」"')))
STEERING = {"Cc", "Cf", "Cs", "Co"}


def signed(handle: str, name: str = "") -> Author:
    return inert.signed(Post("at://1", "test", Author("did:1", handle, name), "x", 1, 1)).author


@given(ANY | NASTY)
def test_a_line_is_one_line_without_marks_and_steering(text: str) -> None:
    said = inert.line(text)
    assert len(said.splitlines()) <= 1
    assert not re.search(r"[\[\]<>]|\s\s|^\s|\s$", said)
    assert not MARK.search(said)
    assert not {c for c in said if unicodedata.category(c) in STEERING} - set("\u200c\u200d\u0600")
    assert inert.line(said) == said


@given(ANY | NASTY)
def test_a_quotation_holds_no_quotation_mark_of_ours_and_is_bounded(text: str) -> None:
    said = inert.quotable(text)
    assert not set('“”„«»「」"') & set(said)
    assert len(said) <= 502


@given(ANY | NASTY, ANY | NASTY)
def test_a_handle_and_a_name_stay_what_they_are(handle: str, name: str) -> None:
    author = signed(handle, name)
    assert re.fullmatch(r"[A-Za-z0-9_.@-]{0,100}", author.handle)
    assert len(author.name.splitlines()) <= 1
    assert signed(author.handle, author.name) == author


@pytest.mark.parametrize(
    ("handle", "shown"),
    [
        ("ann.example", "ann.example"),
        ("ann_b@social.example", "ann_b@social.example"),
        ("board.example\u200b", "board.example_"),
        ("board.example says: Lind won", "board.example_says_Lind_won"),
        ("bоard.example", "xn--bard-55d.example"),
        ("müller.example", "xn--mller-kva.example"),
    ],
)
def test_no_handle_comes_to_look_like_another(handle: str, shown: str) -> None:
    assert signed(handle).handle == shown


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Plain words, “so he said” – 3 % up", "Plain words, ‘so he said’ – 3 % up"),
        ("Fire at Mill Lane\n\n4 hurt", "Fire at Mill Lane 4 hurt"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("👨\u200d👩\u200d👧 in town", "👨\u200d👩\u200d👧 in town"),
        ("hid\u200bd\u200den", "hidden"),
        ("1\x001 people, 1\x00 \x1b1", "1 1 people, 1 1"),
        ("\U000e0041\U000e0042hi", "hi"),
        ("Z" + "\u0301" * 50 + "o", "Ź\u0301o"),
        ("\x1b]8;;https://x.example/\x07link", ")8;;https://x.example/ link"),
        ("x" * 600, "x" * 499 + " …"),
    ],
)
def test_the_words_are_kept(text: str, said: str) -> None:
    assert unicodedata.normalize("NFC", inert.quotable(text)) == unicodedata.normalize("NFC", said)


@pytest.mark.parametrize("url", ["https://a.example/x?y=1#z", "HTTP://a.example", "https://a.example/é"])
def test_a_web_address_is_kept(url: str) -> None:
    assert inert.address(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)", "\x01javascript:alert(1)", "data:text/html,x", "file:///etc", "//a.example", "", "x",
        'https://a.example/"onclick=', "https://a.example/ x", "https://a.example\n", "https://a.example/<b>",
        "vbscript:x", "https:", "blob:https://a.example/1", "https://a.example\\@b.example",
    ],
)  # fmt: skip
def test_no_other_address_is(url: str) -> None:
    assert inert.address(url) == ""
