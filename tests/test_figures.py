"""Figures keep their units, their names, their things, their bounds and their kind."""

import pytest

from voxpop import figures
from voxpop.messages import Passage
from voxpop.posts import Author, Post

COUNT = "Partial count, 5 % of stations: Dreyl 51.8 %, Korvane 43.6 %, Quill-Maras 4.6 %."
POLL = "EXIT POLL: Korvane 47 %, Dreyl 45 %. Margin of error 2.5 points. This is no result."
POLICE = "Police are still seeking 1 or more suspects, nearly 50 people were hurt."


def cited(text: str) -> list[Passage]:
    return [Passage(1, Post("at://1", "test", Author("did:1", "a.example"), text, 0, 0))]


@pytest.mark.parametrize(
    ("check", "text", "source", "reason"),
    [
        (figures.occur, "Korvane has 43.7 %.", COUNT, "the number 43.7 is in no cited post"),
        (figures.keep_their_company, "43.6% of stations: Korvane", COUNT, "not said of 'stations'"),
        (figures.keep_their_company, "51.8% of stations: Dreyl 51.8%", COUNT, "not said of 'stations'"),
        (figures.keep_their_names, "Dreyl 43.6 %, Korvane 51.8 %.", COUNT, "not said of"),
        (figures.keep_their_kind, "Korvane has 43.6 % and Dreyl 51.8 %.", COUNT, "of a poll or a part"),
        (figures.keep_their_kind, "Korvane 47 %, Dreyl 45 %.", POLL, "of a poll or a part"),
        (figures.keep_their_bounds, "There was 1 suspect.", POLICE, "no exact one"),
        (figures.keep_their_bounds, "50 people were hurt.", POLICE, "no exact one"),
    ],
)
def test_refused(check: object, text: str, source: str, reason: str) -> None:
    assert callable(check)
    assert reason in check(text, cited(source))


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("In a partial count of 5 % of stations Korvane has 43.6 %.", COUNT),
        ("With 5 % of stations counted, Dreyl has 51.8 %.", COUNT),
        ("An exit poll gives Korvane 47 % and Dreyl 45 %.", POLL),
        ("Police seek 1 or more suspects.", POLICE),
        ("Nearly 50 people were hurt.", POLICE),
        ("Police are seeking suspects.", POLICE),
    ],
)
def test_shown(text: str, source: str) -> None:
    checks = (figures.occur, figures.keep_their_company, figures.keep_their_names, figures.keep_their_kind)
    assert [check(text, cited(source)) for check in (*checks, figures.keep_their_bounds)] == [""] * 5
