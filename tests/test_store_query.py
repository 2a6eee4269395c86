"""What a person types, read: every bound is taken or refused with its cure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxpop.errors import UsageError
from voxpop.store import Query
from voxpop.store.query import MAX_CHARS, parse
from voxpop.times import MICROS, micros

NOW = micros("2026-11-21T18:00:00Z")
HOUR = 3600 * MICROS

TYPED = 'from: lang: since: until: as-of: min_likes: - " “ @ # : -9h -9e9w now d 99999999999999999999 2026-11-21'
PIECES = st.sampled_from([*TYPED.split(), "0001-01-01", "9999-12-31", "\0", " ", "fr", "𝗕", "東京"])


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("", Query()),
        ("shots fired", Query(words=("shots", "fired"))),
        ("shots shots", Query(words=("shots",))),
        ('"shots fired" hill', Query(words=("hill",), phrases=("shots fired",))),
        ("“shots fired”", Query(phrases=("shots fired",))),
        ("« coup de feu »", Query(phrases=("coup de feu",))),
        ('"never closed', Query(phrases=("never closed",))),
        ("shots -rumour", Query(words=("shots",), excluded=("rumour",))),
        ('shots -"lock down"', Query(words=("shots",), excluded=("lock down",))),
        ("from:@CBC from:bbc.co.uk", Query(handles=("@CBC", "bbc.co.uk"))),
        ("lang:fr lang:pt-BR", Query(lang="pt")),
        ("min_likes:10", Query(min_likes=10)),
        ("MIN_FAVES:7", Query(min_likes=7)),
        ("since:-2h until:now", Query(since=NOW - 2 * HOUR, until=NOW)),
        ("as-of:2026-11-21T17:00Z", Query(until=NOW - HOUR)),
        ("until:2026-11-21", Query(until=NOW - 18 * HOUR)),
        ("filter:links -- !!! 🔥", Query(words=("filter:links",))),
    ],
)
def test_reads(text: str, query: Query) -> None:
    assert parse(text, NOW) == query


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("from:", "names no one"),
        ("from:@", "names no one"),
        ("lang:français", "'français'"),
        ("min_likes:many", "'many'"),
        ("min_faves:-3", "'-3'"),
        ("since:yesterday", "'yesterday'"),
        ("until:2026-13-01", "'2026-13-01'"),
        ("since:-99999999999w", "'-99999999999w'"),
        ("as-of:", "''"),
        ("since:now until:-1h", "No time lies between"),
        ("a" * (MAX_CHARS + 1), "1001 characters"),
    ],
)
def test_refuses_with_the_value_and_a_cure(text: str, what: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse(text, NOW)
    assert what in refused.value.what
    assert refused.value.cure


@given(st.lists(PIECES | st.text(max_size=8), max_size=14).map("".join), st.integers(0, 1 << 52))
def test_gives_a_query_or_a_usage_error_and_nothing_else(text: str, now: int) -> None:
    try:
        query = parse(text, now)
    except UsageError:
        pass
    else:
        assert query.since is None or query.until is None or query.since <= query.until
