"""Instants as people and feeds write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxpop.times import MICROS, instant, iso, micros

NOW = 1_700_000_000 * MICROS


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01", 0),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01T00:00:00.000001", 1),
        ("1969-12-31T23:59:59Z", -MICROS),
        ("2014-10-22T14:30:00.250Z", 1_413_988_200_250_000),
    ],
)
def test_micros(text: str, at: int) -> None:
    assert micros(text) == at


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("now", NOW),
        (" -90m ", NOW - 5400 * MICROS),
        ("-1.5h", NOW - 5400 * MICROS),
        ("-2w", NOW - 14 * 86400 * MICROS),
        ("1970-01-02", 86400 * MICROS),
    ],
)
def test_instant(text: str, at: int) -> None:
    assert instant(text, NOW) == at


@pytest.mark.parametrize("text", ["", "soon", "90m", "-m", "-5y", "2026-02-30", "12:00"])
def test_instant_refuses(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        instant(text, NOW)


@given(st.integers(0, 253_402_300_799_999))
def test_iso_reads_back_to_the_millisecond(millis: int) -> None:
    assert micros(iso(millis * 1000)) == millis * 1000
