"""Words as the index holds them, and the sentences, numbers and names that verification reads."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxpop.text import (
    bare,
    dates,
    fingerprint,
    fold,
    indexed,
    language,
    names,
    numbers,
    quotations,
    sentences,
    words,
)


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("Shots fired at Parliament!", ["shots", "fired", "at", "parliament"]),
        ("don't re-post", ["don", "t", "re", "post"]),
        ("Élysée, Straße, Œuvre", ["elysee", "strasse", "oeuvre"]),
        ("re\u0301sume\u0301 résumé", ["resume", "resume"]),
        ("İstanbul ISTANBUL", ["istanbul", "istanbul"]),
        ("𝗕𝗥𝗘𝗔𝗞𝗜𝗡𝗚 ＮＥＷＳ ﬁre", ["breaking", "news", "fire"]),
        ("ΟΔΟΣ οδός", ["οδοσ", "οδόσ"]),
        ("Tesla™ 10²", ["tesla", "10²"]),
        ("東京タワー2026", ["東", "京", "タ", "ワ", "ー", "2026"]),
        ("서울 news", ["서", "울", "news"]),
        ("й и\u0306", ["й", "й"]),
        ("#tag @some_one", ["tag", "some", "one"]),
        ("🔥 !!! __", []),
        ("a" * 70, ["a" * 64, "a" * 6]),
    ],
)
def test_words(text: str, terms: list[str]) -> None:
    assert words(text) == terms


@given(st.text())
def test_words_read_again_are_the_same_words(text: str) -> None:
    terms = words(text)
    assert words(" ".join(terms)) == terms
    assert indexed(text).split()[: len(terms)] == terms
    assert all(0 < len(term) <= 64 for term in terms)


@given(st.text())
def test_fold_is_stable(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("@OssPolice", "oss police"), ("@BBCNews", "bbc news"), ("#feteLyon2026", "fete lyon 2026"),
        ("#ÉlanVert", "elan vert"), ("@plain #tags", ""), ("OssPolice", ""), ("@Oss_Police", ""),
    ],
)  # fmt: skip
def test_joined_names_are_also_found_by_their_parts(text: str, parts: str) -> None:
    assert indexed(text).partition(" | ")[2] == parts


def test_indexed_takes_hashtags_apart_and_keeps_parts_apart() -> None:
    assert indexed("at #OttawaShooting now", ["a picture"]) == "at ottawashooting now | a picture | ottawa shooting"
    assert indexed("#ottawashooting #BREAKING") == "ottawashooting breaking"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Shots fired", "RT @cbc: shots FIRED! https://t.co/abc", True),
        ("Shots fired", "Shots not fired", False),
        ("https://t.co/a", "https://t.co/b", False),
    ],
)
def test_fingerprint(one: str, other: str, same: bool) -> None:
    assert (fingerprint(one) == fingerprint(other)) is same


@given(st.text())
def test_fingerprint_fits_a_signed_column(text: str) -> None:
    assert 0 <= fingerprint(text) < 1 << 63


def test_sentences_keep_abbreviations_and_decimals_whole() -> None:
    text = "Sgt. Kevin Vickers shot him at 9.52 a.m. today. He is down!\nMore soon"
    assert sentences(text) == ["Sgt. Kevin Vickers shot him at 9.52 a.m. today.", "He is down!", "More soon"]


def test_numbers_have_one_spelling() -> None:
    assert numbers("12,000 and 12 000 and 3,5 and three, 1st") == {"12000", "3.5", "3", "1"}


@pytest.mark.parametrize(
    "piece",
    ["x" + " " * 9, "\n ", "#a ", "#", "“", "«", "„", "a-", "x.", "東", " •", "1,", "1 ", "@a.", "(a) ", '"aa'],
)
def test_no_text_takes_long_to_read(piece: str) -> None:
    from voxpop import text as module

    hostile = "x" + piece * (30_000 // len(piece)) + (" " * 20_000 if piece[0] == "x" else "") + "x"
    start = time.process_time()
    for read in (words, sentences, numbers, dates, quotations, names, fingerprint, module.bare, module.keywords):
        read(hostile)
    assert time.process_time() - start < 1.0


def test_bare_takes_trailing_tags_links_and_marks_away() -> None:
    assert bare("RT @cbc: Shots  fired.#ottawa #cdnpoli https://t.co/x #a#b") == "Shots fired."


def test_dates_names_and_quotations() -> None:
    assert dates("On Tuesday, 3 May, we may go") == {"tuesday", "may"}
    assert names("The soldier, Nathan Cirillo, was with #CAF and @cbc") == {"nathan", "cirillo", "caf", "cbc"}
    assert quotations("He said “stay inside” and «reste ici»") == ["stay inside", "reste ici"]


@pytest.mark.parametrize(
    ("text", "code"),
    [("What is the latest on the vote?", "en"), ("Où est la police en ce moment ?", "fr"), ("地震はどこで", "ja")],
)
def test_language(text: str, code: str) -> None:
    assert language(text) == code


def test_will_not_is_no_win() -> None:
    assert "won" not in words("He won't rule it out, she won’t either")
    assert "won" in words("She won.")
