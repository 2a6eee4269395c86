"""Authorities: accounts by class, by id or proven handle; what only looks alike is nobody."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxpop.authorities import Authorities, Listing, defaults
from voxpop.errors import UsageError
from voxpop.posts import Author

LISTS = Authorities.of(
    ["did:plc:board", " @Board.Example"], ["press.example", "did:plc:board", "x:WireDesk", "*.news"]
)
CALLS = Authorities.of(["did:plc:c kinds=election,verdict places=Avalon,New_Avalon years=2026", "x:caller"])


def test_by_id_and_by_handle_in_any_case() -> None:
    assert LISTS.classify(Author("did:plc:board")) == "authority"
    assert LISTS.classify(Author("did:plc:x", "BOARD.example")) == "authority"
    assert LISTS.classify(Author("did:plc:y", "press.example")) == "press"
    assert LISTS.classify(Author("x:77", "wiredesk")) == "press"


def test_a_display_name_proves_nothing() -> None:
    assert LISTS.classify(Author("x:78", "", "board.example")) == "unknown"
    assert LISTS.classify(Author("x:78", "board", "@Board.Example", bio="did:plc:board board.example")) == "unknown"
    assert LISTS.classify(Author("did:plc:z", "", "board.example")) == "unknown"


def test_a_handle_counts_only_where_its_network_proves_it() -> None:
    assert LISTS.classify(Author("x:1", "board.example")) == "unknown"
    assert LISTS.classify(Author("https://m.example/users/board", "board.example")) == "unknown"
    assert LISTS.classify(Author("did:plc:z", "wiredesk")) == "unknown"
    assert (
        Authorities.of(["ann@m.example"]).classify(Author("https://m.example/users/1", "Ann@m.example"))
        == "authority"
    )
    assert Authorities.of(["ann@m.example"]).classify(Author("x:1", "ann@m.example")) == "unknown"


def test_a_number_at_x_is_an_account_and_no_handle() -> None:
    lists = Authorities.of(["x:12345"])
    assert lists.classify(Author("x:12345", "desk")) == "authority"
    assert lists.classify(Author("x:99", "12345")) == "unknown"


def test_patterns_match_whole_labels_of_proven_domains() -> None:
    lists = Authorities.of([], [], ["*.gov", ".gouv.fr"])
    for handle in ("interior.gov", "a.b.GOV", "cnil.gouv.fr"):
        assert lists.classify(Author("did:plc:a", handle)) == "organisation", handle
    for handle in (
        "gov",
        "notgov.example",
        "interior.gov.evil.example",
        "x-gouv.fr.example",
        "evil-gouv.fr",
        "interiorgov.bsky.social",
    ):
        assert lists.classify(Author("did:plc:a", handle)) != "organisation", handle
    assert lists.classify(Author("x:5", "interior.gov")) == "unknown"
    assert lists.classify(Author("https://m.example/users/5", "a@interior.gov")) == "unknown"


def test_a_domain_of_ones_own_is_a_person_and_a_hosted_one_nobody() -> None:
    assert Authorities().classify(Author("did:plc:a", "ann-writes.example")) == "person"
    for handle in ("ann.bsky.social", "ann.m.example.ap.brid.gy", "handle.invalid", ""):
        assert Authorities().classify(Author("did:plc:a", handle)) == "unknown", handle
    assert Authorities().classify(Author("x:5", "ann")) == "unknown"


def test_marks_of_a_network_make_no_authority() -> None:
    marked = {mark: Authorities().classify(Author("x:5", "desk", mark=mark)) for mark in
              ("government", "organisation", "person", "", "king")}  # fmt: skip
    assert marked == {
        "government": "organisation", "organisation": "organisation", "person": "person", "": "unknown",
        "king": "unknown",
    }  # fmt: skip
    assert LISTS.classify(Author("did:plc:board", mark="person")) == "authority"


def test_a_feed_is_press_unless_its_operator_says_otherwise() -> None:
    feed = Author("rss:quakes.gov/feed", "quakes.gov", "Quakes")
    assert Authorities().classify(feed) == "press"
    assert Authorities.of([], [], ["*.gov"]).classify(feed) == "press"
    assert Authorities.of([], [], ["quakes.gov"]).classify(feed) == "organisation"
    assert Authorities.of([], [], [], ["rss:quakes.gov/feed"]).classify(feed) == "person"
    assert Authorities.of(["*.gov"]).classify(feed) == "authority"


@pytest.mark.parametrize(
    ("id_", "handle"),
    [
        ("x:1", "wiredes\u212a"),  # the sign for kelvin: its lower case is our k
        ("x:1", "WireDesk_"),
        ("x:1", "wlredesk"),
        ("did:plc:a", "press.example.evil.example"),
        ("did:plc:a", "xpress.example"),
        ("did:plc:a", "press.exampIe"),
        ("did:plc:a", "prеss.example"),
        ("https://m.example/users/p", "press.example@m.example"),
    ],
)
def test_what_looks_alike_is_not_listed(id_: str, handle: str) -> None:
    assert LISTS.classify(Author(id_, handle, handle)) in ("unknown", "person")


def test_who_says_himself_that_he_jests_calls_nothing() -> None:
    satire = Author("x:1", "caller", bio="Satire.")
    assert CALLS.classify(satire) == "authority"
    assert not CALLS.may_call(satire, "election", [], 2026)
    assert CALLS.classify(satire._replace(bio="Parody account.")) == "unknown"
    assert CALLS.classify(Author("x:1", "caller (parody)", "Caller (parody)")) == "unknown"


def test_who_is_unofficial_is_lowered_unless_listed() -> None:
    fan = Author("x:5", "boardfans", "Board fans", mark="organisation", bio="Unofficial. Not the Board.")
    assert Authorities().classify(fan) == "unknown"
    assert Authorities().classify(fan._replace(bio="")) == "organisation"
    assert Authorities.of([], ["x:boardfans"]).classify(fan) == "press"


def test_a_parody_by_its_networks_word_is_nobody() -> None:
    assert LISTS.classify(Author("did:plc:board", label="parody")) == "unknown"
    assert not CALLS.may_call(Author("x:1", "caller", label="parody"), "election", [], 2026)


def test_nobody_is_listed_by_an_empty_name() -> None:
    assert Authorities.of(["", " ", "@", "x:", "."]).classify(Author("", "")) == "unknown"
    assert Authorities.of(["x:"]).classify(Author("x:1", "")) == "unknown"
    assert Authorities.of([""]).accounts == ()


def test_accounts_are_all_whose_word_may_be_taken() -> None:
    assert set(LISTS.accounts) == {"did:plc:board", "board.example", "press.example", "x:wiredesk"}
    assert Authorities.of(["a"], ["b"], ["c"], ["d", "a"]).accounts == ("a", "b")


def test_the_shipped_lists_can_be_read_and_name_no_authority() -> None:
    lists = Authorities.of(*(defaults(name) for name in ("authority", "press", "organisation", "person")))
    assert {one.cls for found in lists.listings.values() for one in found} == {"press", "organisation"}
    assert lists.classify(Author("did:plc:a", "reuters.com")) == "press"
    assert lists.classify(Author("x:9", "Reuters")) == "press"
    assert lists.classify(Author("did:plc:a", "nasa.gov")) == "organisation"


class TestBounds:
    COMMISSION = Author("did:plc:c")

    def test_a_bound_authority_calls_what_it_is_bound_to(self) -> None:
        assert CALLS.may_call(self.COMMISSION, "election", ["avalon", "votes"], 2026)
        assert CALLS.may_call(self.COMMISSION, "verdict", ["new", "avalon"], 2026)
        assert CALLS.classify(self.COMMISSION) == "authority"

    @pytest.mark.parametrize(
        ("kind", "place", "year"),
        [
            ("match", ["avalon"], 2026),
            ("election", ["camelot"], 2026),
            ("election", [], 2026),
            ("election", ["avalon"], 2024),
        ],
    )
    def test_and_nothing_else(self, kind: str, place: list[str], year: int) -> None:
        assert not CALLS.may_call(self.COMMISSION, kind, place, year)

    def test_an_unbound_one_calls_all_and_others_nothing(self) -> None:
        assert CALLS.may_call(Author("x:8", "Caller"), "market", [], 1999)
        assert not CALLS.may_call(Author("x:8", "Ca11er", "caller"), "market", [], 1999)
        assert not LISTS.may_call(Author("did:plc:y", "press.example"), "election", [], 2026)

    def test_two_bounds_on_one_account_stand_side_by_side(self) -> None:
        lists = Authorities.of(["did:plc:c kinds=match", "did:plc:c kinds=election places=Avalon"])
        assert lists.may_call(self.COMMISSION, "match", [], 2026)
        assert not lists.may_call(self.COMMISSION, "election", [], 2026)

    def test_plus_parts_values_too(self) -> None:
        lists = Authorities.of(["did:plc:c kinds=match+election years=2025+2026"])
        wanted = Listing("authority", frozenset({"match", "election"}), frozenset(), frozenset({2025, 2026}))
        assert lists.listings["did:plc:c"] == (wanted,)

    @pytest.mark.parametrize(
        "entry",
        ["a kind=x", "a kinds=", "a kinds", "a years=soon", "a years=²", "a years=1 years=2", "years=2026", "a b"],
    )
    def test_what_cannot_be_read_is_refused(self, entry: str) -> None:
        with pytest.raises(UsageError):
            Authorities.of([entry])
        with pytest.raises(UsageError):
            Authorities.of([], ["did:plc:a kinds=election"])


_ALIKE = {
    "l": "1|ⅼӏ", "o": "0оο", "e": "3еｅ", "a": "аɑａ", "k": "к\u212a", "s": "ѕſ5", "i": "lіı", "r": "г", "n": "ո",
    "c": "сϲ", "p": "р", "u": "υ", "t": "т", ".": "．。․", "w": "ѡ", "d": "ԁ", "b": "Ь", "m": "ⅿ", "x": "х",
}  # fmt: skip
_GENUINE = ("wiredesk", "press.example", "board.example", "board@press.example")


@st.composite
def lookalikes(draw: st.DrawFn) -> str:
    """A genuine handle with letters of other scripts, signs put in or left out, or another domain around it."""
    handle = draw(st.sampled_from(_GENUINE))
    at = draw(st.integers(0, len(handle) - 1))
    other = draw(st.sampled_from(_ALIKE.get(handle[at], "_-")))
    put_in = draw(st.sampled_from(["_", "-", ".", "\u200b", "\u0301", "\u00ad", " ", "0"]))
    forged = draw(
        st.sampled_from(
            [
                handle[:at] + other + handle[at + 1 :],
                handle[:at] + put_in + handle[at:],
                handle + put_in,
                handle[:at] + handle[at + 1 :],
                f"{handle}.evil.example",
                f"{handle}.bsky.social",
                f"{handle}-official.example",
                f"the{handle}",
                f"{handle}_",
                f"@{handle}",
            ]
        )
    )
    return forged


@given(
    lookalikes(), st.sampled_from(["x:1", "did:plc:a", "https://m.example/users/a", "mastodon:a", "bluesky:a", ""])
)
def test_a_lookalike_is_nobody_that_is_listed(handle: str, id_: str) -> None:
    lists = Authorities.of(["x:wiredesk", *_GENUINE[1:]])
    author = Author(id_, handle, handle, bio=handle)
    assert lists.classify(author) in ("unknown", "person")
    assert not lists.may_call(author, "election", [], 2026)


@given(st.text(), st.text(), st.sampled_from(["authority", "press", "organisation", "person"]))
def test_any_entry_is_read_or_refused(entry: str, handle: str, listed: str) -> None:
    try:
        lists = Authorities.of(**{listed: [entry]})
    except UsageError:
        return
    lists.classify(Author("did:plc:a", handle))
    assert lists.classify(Author("x:1", "", name=entry, bio=entry)) == "unknown"
