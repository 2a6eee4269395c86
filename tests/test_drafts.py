"""Drafts: sentences and their markers, whatever the pieces in which an engine's text comes."""

import re
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxpop.drafts import Draft, Lines, Unmarked, read_line
from voxpop.inert import visible
from voxpop.text import MARK, words

TEXTS = st.text(alphabet=st.sampled_from(list('ab 1,2.!?…。“”„«»"[]［］【】\n\r-*•é東\ue000')), max_size=80)


@pytest.mark.parametrize(
    ("line", "drafts"),
    [
        ("Korvane won. [1]", [("Korvane won.", (1,))]),
        ("Korvane won [1].", [("Korvane won.", (1,))]),
        ("Korvane won [1][2] [3].", [("Korvane won.", (1, 2, 3))]),
        ("Korvane won. [1, 2]", [("Korvane won.", (1, 2))]),
        ("Korvane won. ［1］【２】", [("Korvane won.", (1, 2))]),
        ("Korvane [1] beat Dreyl [2].", [("Korvane beat Dreyl.", (1, 2))]),
        ("Korvane[1]won", [("Korvane won", (1,))]),
        ("It is 48[1].2 %", [("It is 48 .2 %", (1,))]),
        ("One is so. [1] Two is so. [2]", [("One is so.", (1,)), ("Two is so.", (2,))]),
        ("One is so [1]. Two is so [2].", [("One is so.", (1,)), ("Two is so.", (2,))]),
        ("One is so. Two is so. [2]", [("One is so.", (2,)), ("Two is so.", (2,))]),
        ("One is so. [1] Two is so.", [("One is so.", (1,)), ("Two is so.", (1,))]),
        ("No marker here.", [("No marker here.", ())]),
        ("- a point [4]", [("a point", (4,))]),
        ("-5 degrees in Oslo [4]", [("-5 degrees in Oslo", (4,))]),
        ("@a says: “One. Two.” [1]", [("@a says: “One. Two.”", (1,))]),
        ("@a dit : « Un. Deux. » [1]", [("@a dit : « Un. Deux. »", (1,))]),
        ("@a sagt: „Eins. Zwei.“ [1]", [("@a sagt: „Eins. Zwei.“", (1,))]),
        ("@a「一。二。」[1]", [("@a「一。二。」", (1,))]),
        ("He met Dr. No at 9.52 a.m. today. [1]", [("He met Dr. No at 9.52 a.m. today.", (1,))]),
        ("[1]", []),
        ("", []),
        ("It [1-3] is [n].", [("It [1-3] is [n].", ())]),
    ],
)
def test_read_line(line: str, drafts: list[tuple[str, tuple[int, ...]]]) -> None:
    assert read_line(line) == [Draft(text, cited) for text, cited in drafts]


def feed(pieces: list[str]) -> list[Draft]:
    lines = Lines()
    return [d for piece in pieces for d in lines.feed(piece)] + list(lines.end())


@given(TEXTS, st.lists(st.integers(0, 80), max_size=6))
def test_pieces_do_not_matter(text: str, cuts: list[int]) -> None:
    edges = sorted({0, len(text), *(c for c in cuts if c < len(text))})
    assert feed([text[a:b] for a, b in pairwise(edges)]) == feed([text])


def test_every_cut_in_two_gives_the_same() -> None:
    text = "Korvane [1, 2] won. 【3】 Dreyl lost.[4]\n- @a says: “One [5]. Two.” [6]\n"
    whole = feed([text])
    assert [d.citations for d in whole] == [(1, 2, 3), (4,), (5, 6)]
    assert all(feed([text[:i], text[i:]]) == whole for i in range(len(text)))
    assert feed(list(text)) == whole


@given(TEXTS)
def test_no_word_is_lost_or_made(text: str) -> None:
    kept = re.sub(MARK, " ", visible(text))
    assert [w for d in feed([text]) for w in words(d.text)] == words(kept)
    cited = {int(n) for mark in MARK.findall(visible(text)) for n in re.findall(r"\d+", mark)}
    assert {n for d in feed([text]) for n in d.citations} <= cited
    assert not any(MARK.search(d.text) for d in feed([text]))


@given(TEXTS, st.integers(1, 5))
def test_unmarked_streams_show_no_citation(text: str, size: int) -> None:
    plain = Unmarked()
    shown = "".join(plain.feed(text[i : i + size]) for i in range(0, len(text), size)) + plain.end()
    assert not MARK.search(shown)
    assert words(shown) == words(text)


def test_unmarked_holds_back_no_more_than_a_marker() -> None:
    plain = Unmarked()
    assert [plain.feed(p) for p in ("Hi [", "1", "] there [see", "] you")] == ["Hi ", "", "(1) there [see", "] you"]


@pytest.mark.parametrize("piece", ["“a. ", "a. ", "...", "[1]", ". [1]", "- ", "! ”", "[1,", "Dr. "])
def test_no_line_takes_long_to_read(piece: str) -> None:
    start = time.process_time()
    read_line(piece * (20_000 // len(piece)))
    assert time.process_time() - start < 1.0
