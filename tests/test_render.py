"""Words for people on the command line: what is missing, and how far behind."""

import pytest

from voxpop import render
from voxpop.messages import Done, Freshness, Gap, Passage, Receipt, Text, Timings, Usage
from voxpop.posts import Author, Post
from voxpop.times import MICROS, micros

NOW = micros("2026-11-21T18:00:00Z")


def gap(since: str, until: str, why: str = "the host keeps 36 h") -> Gap:
    return Gap("bluesky", micros(since), micros(until), why)


@pytest.mark.parametrize(
    ("since", "until", "shown"),
    [
        ("2026-11-21T14:05:00Z", "2026-11-21T16:20:59Z", "14:05–16:20 UTC"),
        ("2026-11-20T23:05:00Z", "2026-11-21T16:20:00Z", "2026-11-20 23:05–16:20 UTC"),
        ("2026-11-20T01:00:00Z", "2026-11-20T02:00:00Z", "2026-11-20 01:00–02:00 UTC"),
        ("2026-11-19T01:00:00Z", "2026-11-20T02:00:00Z", "2026-11-19 01:00–2026-11-20 02:00 UTC"),
    ],
)
def test_a_gap_in_words(since: str, until: str, shown: str) -> None:
    assert render.gap_text(gap(since, until), NOW) == f"no posts from bluesky {shown}: the host keeps 36 h"


def test_the_footer_says_how_far_behind_and_what_is_missing() -> None:
    answer = render.Answer()
    missing = gap("2026-11-21T14:05:00Z", "2026-11-21T16:20:00Z", "it \x1b[31mslept")
    fresh = Freshness(NOW - 3 * MICROS, NOW - 9 * MICROS, 1.0, False, 720.0, (missing,))
    answer.add(Done("stop", True, "quote", "regular", Usage(), fresh, Timings(1, 2, 3)))
    assert answer.footer(NOW) == (
        "newest evidence 3 s ago · stream lag 1.0 s · 12 min behind, catching up · "
        "no posts from bluesky 14:05–16:20 UTC: it [31mslept · 3 ms · engine quote"
    )
    rests = Receipt(("oss mayor",), 7, 3, ("x",), "not declared")
    answer.add(Done("stop", True, "quote", "regular", Usage(), Freshness(), Timings(1, 2, 3), rests, "ab12"))
    assert answer.footer(NOW) == (
        "no evidence · 7 posts by 3 authors · result not declared · x down · 3 ms · engine quote · answer ab12"
    )


def test_a_gap_in_json() -> None:
    answer = render.Answer()
    missing = gap("2026-11-21T14:05:00Z", "2026-11-21T16:20:00Z", "it \x1b[31mslept")
    fresh = Freshness(gaps=(missing,))
    answer.add(Done("stop", True, "quote", "regular", Usage(), fresh, Timings(1, 2, 3)))
    assert answer.json()["freshness"]["gaps"] == [
        {
            "source": "bluesky",
            "since": "2026-11-21T14:05:00.000Z",
            "until": "2026-11-21T16:20:00.000Z",
            "why": "it \x1b[31mslept",
        }
    ]


def test_a_sentence_says_why_it_is_there() -> None:
    post = Post("at://1", "test", Author("did:1", "ann.example"), "Fire.", NOW, NOW)
    passage = Passage(2, post, 1.0, 12, 3, tone="parody", why=("names the street", "newest \x1b[31m"))
    text = Text("@ann.example says: “Fire.”", (2,), outcome="attributed", why="told as theirs", support=0.9)
    assert render.because(text, {2: passage}) == (
        "    attributed: told as theirs (support 0.90)\n"
        "    [2] unlisted account · parody · 12 posts by 3 authors · names the street · newest (31m"
    )
