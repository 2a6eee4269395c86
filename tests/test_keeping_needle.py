"""A text is found in whatever form it stands and wherever a stream is cut; what is not there is not found."""

import html
import io
import json
import re
import unicodedata
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from voxpop.errors import UsageError
from voxpop.keeping.needle import Needle

TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40).filter(
    lambda t: len(t.strip().encode()) >= 4
)


def _upper(text: str) -> str:
    """A character at a time, so that an escaped backslash before a `u` is not taken for an escape."""
    each = (json.dumps(c)[1:-1] for c in text)
    return "".join(re.sub(r"\\u[0-9a-f]{4}", lambda e: "\\u" + e[0][2:].upper(), one) for one in each)


FORMS: dict[str, Callable[[str], bytes]] = {
    "utf-8": str.encode,
    "utf-16-le": lambda t: t.encode("utf-16-le"),
    "utf-16-be": lambda t: t.encode("utf-16-be"),
    "json": lambda t: json.dumps(t)[1:-1].encode(),
    "json, as it is": lambda t: json.dumps(t, ensure_ascii=False)[1:-1].encode(),
    "json, slashes escaped": lambda t: json.dumps(t)[1:-1].replace("/", "\\/").encode(),
    "json, upper case": lambda t: _upper(t).encode(),
    "url": lambda t: quote(t, safe="").encode(),
    "url, lower case": lambda t: quote(t, safe="/").lower().encode(),
    "form": lambda t: quote_plus(t).encode(),
    "html": lambda t: html.escape(t).encode(),
    "upper": lambda t: t.upper().encode(),
    "lower": lambda t: t.lower().encode(),
    "nfc": lambda t: unicodedata.normalize("NFC", t).encode(),
    "nfd": lambda t: unicodedata.normalize("NFD", t).encode(),
}


@given(TEXTS, st.sampled_from(sorted(FORMS)), st.binary(max_size=60), st.binary(max_size=60), st.integers(1, 90))
@example('He said: "I/O 100% \\ état"\n', "json", b"\\", b"\\", 1)
@example("ΟΔΟΣ", "lower", b"", b"", 1)
@example("état de siège", "json, slashes escaped", b"x", b"", 3)
@example("東京で地震 🙂", "json", b"", b"\\ud83d", 2)
@example("0\\\x80", "json, upper case", b"", b"", 1)
def test_a_text_is_found_in_every_form_wherever_the_stream_is_cut(
    text: str, form: str, before: bytes, after: bytes, chunk: int
) -> None:
    written = FORMS[form](text)
    data = before + written + after
    needle = Needle(text)
    found = list(needle.offsets(io.BytesIO(data), chunk))
    assert len(before) in found
    assert set(found) == needle.starts(data)
    assert found == sorted(set(found))
    assert needle.within(data)


@given(TEXTS, st.binary(max_size=200), st.integers(1, 90))
def test_where_it_is_found_is_the_same_for_every_cut(text: str, data: bytes, chunk: int) -> None:
    needle = Needle(text)
    assert list(needle.offsets(io.BytesIO(data), chunk)) == sorted(needle.starts(data))


@given(st.integers(1, 20), st.integers(4, 9))
def test_occurrences_that_overlap_are_each_found(chunk: int, size: int) -> None:
    assert list(Needle("a" * size).offsets(io.BytesIO(b"a" * 20), chunk)) == list(range(21 - size))


def test_letters_that_differ_in_one_place_are_not_found() -> None:
    needle = Needle("The Lantern Bridge is closed")
    assert not needle.starts(b"The Lantern Bridge is close, the Lantern bridges is closed")
    assert needle.starts(b"x the LANTERN bridge Is Closed.") == {2}


@pytest.mark.parametrize("text", ["\\" * 60 + "x", '"' * 60 + "x", "%" * 50 + "a", "&" * 60 + "b"])
def test_what_escapes_itself_is_searched_in_straight_time(text: str) -> None:
    assert not Needle(text).starts(text[0].encode() * 20_000)


@pytest.mark.parametrize(
    ("text", "why"), [("", "short"), ("  a  ", "short"), ("abc", "short"), ("x" * 5000, "4000")]
)
def test_a_text_that_proves_nothing_is_refused(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        Needle(text)
