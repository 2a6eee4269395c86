"""What rests on posts opens with exactly their texts, and with nothing less."""

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxpop.errors import VoxpopError
from voxpop.posts import Author, Post
from voxpop.sealed import Shut, opened, shut

WORDS = st.text(st.characters(codec=None), max_size=40)  # lone surrogates as well
POSTS = st.lists(
    st.builds(
        Post,
        id=WORDS,
        network=st.just("bluesky"),
        author=st.just(Author("did:plc:ann", "ann.example")),
        text=WORDS,
        created_at=st.just(0),
        witnessed_at=st.integers(0, 2**53),
    ),
    max_size=6,
    unique_by=lambda p: p.id,
)


@given(st.binary(max_size=200), POSTS, st.randoms())
def test_it_opens_with_its_posts_in_any_order_and_among_others(data: bytes, posts: list[Post], chance) -> None:  # type: ignore[no-untyped-def]
    value = Shut.unpack(shut(data, posts[: len(posts) // 2 + 1]).pack())
    chance.shuffle(posts)
    assert opened(value, posts) == data


@given(st.binary(max_size=200), POSTS.filter(bool), st.data())
def test_without_one_text_nobody_opens_it(data: bytes, posts: list[Post], draw: st.DataObject) -> None:
    value = shut(data, posts)
    place = draw.draw(st.integers(0, len(posts) - 1))
    kept = [p for n, p in enumerate(posts) if n != place]
    assert opened(value, kept) is None
    assert opened(value, [*kept, replace(posts[place], text=posts[place].text + "!")]) is None
    assert opened(value, [*kept, replace(posts[place], witnessed_at=posts[place].witnessed_at + 1)]) is None


def test_neither_the_value_nor_a_text_lies_in_the_blob_in_clear() -> None:
    post = _post("at://1", "the dog barked at noon")
    blob = shut(b"The dog barked at noon, says ann.", [post]).pack()
    assert b"dog" not in blob
    assert b"barked" not in blob
    assert b"at://1" in blob


def test_each_is_shut_under_a_salt_of_its_own() -> None:
    post = _post("at://1", "the dog barked at noon")
    assert shut(b"the same", [post]).data != shut(b"the same", [post]).data


def test_what_rests_on_no_post_opens_without_any() -> None:
    assert opened(Shut.unpack(shut(b"hello", []).pack()), []) == b"hello"


def test_a_post_with_two_texts_opens_with_neither() -> None:
    old = _post("at://1", "two dead")
    new = replace(old, text="nobody is dead")
    value = shut(b"two dead, then nobody", [old, new])
    assert opened(value, [old]) is None
    assert opened(value, [new]) is None


@given(st.binary(max_size=60) | st.binary(max_size=20).map(lambda b: shut(b"x", []).pack()[:21] + b))
def test_a_blob_that_nobody_packed_is_damaged_or_read(blob: bytes) -> None:
    with suppress(VoxpopError):  # and no other error
        opened(Shut.unpack(blob), [])


def test_a_changed_byte_is_found() -> None:
    post = _post("at://1", "two dead")
    blob = bytearray(shut(b"two dead", [post]).pack())
    blob[-1] ^= 1
    assert opened(Shut.unpack(bytes(blob)), [post]) is None
    with pytest.raises(VoxpopError, match="damaged"):
        Shut.unpack(b"\x02" + bytes(blob)[1:])


def test_no_more_is_opened_than_asked_for() -> None:
    value = shut(bytes(1_000_000), [])
    assert len(value.data) < 10_000
    assert opened(value, [], most=1_000_000) == bytes(1_000_000)
    with pytest.raises(VoxpopError, match="damaged"):
        opened(value, [], most=999_999)


def _post(id_: str, text: str) -> Post:
    return Post(id_, "bluesky", Author("did:plc:ann", "ann.example"), text, 0, 1_700_000_000_000_000)
