"""The table of running sources: rates from two statuses, widths, and what a narrow terminal goes without."""

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxpop import live_table
from voxpop.live_table import Screen, lines, number, rated


def source(name: str = "bluesky", **changes: Any) -> dict[str, Any]:
    row = {
        "name": name, "state": "connected to jetstream.example", "ok": True, "retry_s": None, "events": 0,
        "posts": 0, "lag_s": 0.42, "behind_s": None, "queue": 12, "dropped": {"no text": 3, "too long": 4},
        "shed": {"likes": 12345}, "spend": None,
    }  # fmt: skip
    return {**row, **changes}


def status(uptime_s: float, *sources: dict[str, Any], searches: int = 0) -> dict[str, Any]:
    return {
        "posts": 1_234_567,
        "sources": list(sources),
        "store": {"partitions": 12, "tail": 1203, "disk_bytes": 1_234_567_890},
        "process": {"uptime_s": uptime_s, "memory_bytes": 812_000_000, "searches": searches},
    }


def test_the_table_as_it_is_drawn() -> None:
    before = status(10, source(events=1000, posts=100), source("x"), searches=5)
    after = status(
        12,
        source(events=5000, posts=150, behind_s=720.0),
        source("x", state="trying again in 12 s: No route.", ok=False, retry_s=12.3, lag_s=None),
        source("rss", state="ended: read", spend={"usd": 1.5, "budget_usd": 20.0}),
        searches=25,
    )
    made = lines(rated(before, after), 100)
    assert made == [
        "SOURCE           STATE         EVENTS/S POSTS/S      LAG   BEHIND QUEUE DROPPED  SHED     SPEND",
        "bluesky          connected        2,000      25    0.4 s   12 min    12       7 12.3k         –",
        "x                retry in 12 s        0       0        –        –    12       7 12.3k         –",
        "rss              ended                –       –    0.4 s        –    12       7 12.3k  $1.50/20",
        "! x: trying again in 12 s: No route.",
        "1,234,567 posts · 12 partitions · tail 1,203 · 1.2 GB on disk · 812 MB memory · 10 searches/s",
    ]
    assert max(map(len, made)) <= 100


@given(st.integers(1, 160), st.text(max_size=60), st.text(max_size=60), st.integers(0, 10**18))
def test_no_line_is_wider_than_the_terminal(width: int, name: str, state: str, count: int) -> None:
    now = status(1, source(name, state=state, ok=False, queue=count, events=count))
    made = lines(rated(None, now), max(width, 16))
    assert all(len(line) <= max(width, 16) and not {"\n", "\r", "\x1b"} & set(line) for line in made)


def test_a_long_name_gets_what_is_left_over() -> None:
    name = "replay:boston_2013-04-15_22.jsonl.zst"
    for width, shown in ((100, "replay:boston_2…15_22.jsonl.zst"), (120, name)):
        row = lines(rated(None, status(1, source(name, lag_s=400_000_000.0))), width)[1]
        assert row.startswith(f"{shown} connected")
        assert " 4629 d " in row
        assert len(row) <= width


def test_a_narrow_terminal_keeps_the_name_and_the_posts() -> None:
    head = lines(rated(None, status(1, source())), 30)[0]
    assert head.split() == ["SOURCE", "POSTS/S"]
    assert lines(rated(None, status(1, source())), 60)[0].split() == [
        "SOURCE",
        "STATE",
        "EVENTS/S",
        "POSTS/S",
        "LAG",
    ]


def test_a_server_that_began_anew_has_no_rate_yet() -> None:
    shown = rated(status(100, source(posts=50)), status(1, source(posts=3)))
    assert shown["sources"][0]["posts_per_s"] is None
    assert shown["process"]["searches_per_s"] is None


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (0, "0"), (0.4, "0.4"), (25, "25"), (1203, "1,203"), (9999.4, "9,999"), (9999.6, "10.0k"),
     (12345, "12.3k"), (999_949, "1000k"), (999_960, "1.0M"), (4.5e6, "4.5M"), (3e9, "3.0G")],
)  # fmt: skip
def test_numbers_are_short(value: float | None, shown: str) -> None:
    assert number(value) == shown
    assert len(shown) <= 5


def test_sizes() -> None:
    assert [live_table.size(n) for n in (None, 12, 1500, 812_000_000)] == ["–", "12 B", "1.5 kB", "812 MB"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_is_drawn_over_and_its_cursor_given_back() -> None:
    out = Terminal()
    with Screen(out) as screen:
        screen.draw(rated(None, status(1, source())))
        first = out.getvalue()
        screen.draw(rated(None, status(2, source())))
    assert first.startswith("\x1b[?25l\x1b[J")
    assert f"\x1b[{first.count(chr(10))}F\x1b[J" in out.getvalue()
    assert out.getvalue().endswith("\x1b[?25h")


def test_names_that_begin_alike_are_told_apart_in_eighty_columns() -> None:
    names = [f"replay:ottawashooting_2014-10-{day}.jsonl.zst" for day in (22, 23)]
    made = lines(rated(None, status(1, *map(source, names))), 79)
    assert made[1].split()[0] != made[2].split()[0]
    assert made[1].startswith("replay:ottawash")


def test_a_recording_that_waits_says_for_how_long() -> None:
    row = source("replay:a", state="replaying a, 2014-10-22T14:30:00Z, next post in 2 min")
    assert " next in 2 min " in lines(rated(None, status(1, row)), 100)[1]


def test_a_note_stands_below_the_table_until_it_is_drawn_again(capsys: pytest.CaptureFixture[str]) -> None:
    out = Terminal()
    with Screen(out) as screen:
        screen.note("Nobody yet.")
        screen.draw(rated(None, status(1, source())))
        drawn = out.getvalue().count("\n")
        screen.note("Gone.")
        screen.draw(rated(None, status(2, source())))
    assert "Gone.\n" in out.getvalue()
    assert f"\x1b[{drawn + 1}F\x1b[J" in out.getvalue()
    assert capsys.readouterr().err == "Nobody yet.\n"


def test_a_file_gets_plain_lines_and_one_head() -> None:
    out = io.StringIO()
    with Screen(out) as screen:
        for _ in range(3):
            screen.draw(rated(None, status(1, source())))
    assert "\x1b" not in out.getvalue()
    assert out.getvalue().count("SOURCE") == 1
    assert out.getvalue().count("bluesky") == 3
