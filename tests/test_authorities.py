"""Authorities: accounts by class, by id or proven handle."""

from voxpop.authorities import Authorities
from voxpop.posts import Author

LISTS = Authorities.of(["did:plc:board", " @Board.Example"], ["press.example", "did:plc:board"])


def test_by_id_and_by_handle_in_any_case() -> None:
    assert LISTS.classify(Author("did:plc:board")) == "authority"
    assert LISTS.classify(Author("did:plc:x", "BOARD.example")) == "authority"
    assert LISTS.classify(Author("did:plc:y", "press.example")) == "press"


def test_a_display_name_proves_nothing() -> None:
    assert LISTS.classify(Author("did:plc:z", "", "board.example")) == "unknown"
    assert LISTS.classify(Author("did:plc:z", "board.exarnple", "Board")) == "unknown"


def test_nobody_is_listed_by_an_empty_name() -> None:
    assert Authorities.of(["", " "]).classify(Author("", "")) == "unknown"
    assert Authorities.of([""]).accounts == ()


def test_accounts_are_all_that_is_listed() -> None:
    assert set(LISTS.accounts) == {"did:plc:board", "board.example", "press.example"}
