"""What every dialect means alike: names of models, the length of a conversation, the bounds of a search."""

import pytest

from voxpop import dialects
from voxpop.dialects import Source, conversation, resolve, search, voice_of
from voxpop.errors import FieldError
from voxpop.messages import Bounds, Call, Message

VOICES = ("regular", "fun")


@pytest.mark.parametrize(
    ("asked", "name", "voice"),
    [
        ("voxpop", "voxpop", "regular"),
        ("voxpop-fun", "voxpop-fun", "fun"),
        ("grok-4.20-non-reasoning", "voxpop", "regular"),
    ],
)
def test_a_models_name_asks_for_a_voice(asked: str, name: str, voice: str) -> None:
    assert resolve(asked, VOICES) == name
    assert voice_of(name, "regular") == voice


@pytest.mark.parametrize("unknown", ["", "llama-9", "fun", "voxpop-", "voxpop-sad", "VOXPOP", " grok-4", "[!]"])
def test_an_unknown_model_is_refused_with_the_known_ones(unknown: str) -> None:
    with pytest.raises(FieldError) as caught:
        resolve(unknown, VOICES)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    assert "voxpop-fun" in caught.value.cure


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [Message("user", "Hi")] * 201,
        [Message("user", "Hi"), Message("assistant", "Ho")],
        [Message("user", "  ")],
        [Message("system", ""), Message("user", "Hi")],
        [Message("user", "x" * 4001)],
        [Message("user", "x" * 4000)] * 11,
        [Message("system", "x" * 100_001), Message("user", "Hi")],
        [Message("user", "\ud800")],
        [Message("tool", "12 degrees")],
    ],
)
def test_a_conversation_that_cannot_be_had_is_refused(messages: list[Message]) -> None:
    with pytest.raises(FieldError) as caught:
        conversation(messages)
    assert caught.value.cure


def test_a_call_needs_no_words_and_its_result_may_be_empty_and_last() -> None:
    called = Message("assistant", "", (Call("1", "f"),))
    said = (Message("user", "Hi"), called, Message("tool", "", answers="1"))
    assert conversation(said) == said


def test_kinds_of_source_are_networks() -> None:
    assert search([]) == Bounds()
    assert search([Source("x")]).networks == ("social",)
    assert search([Source("news"), Source("rss")]).networks == ("feeds",)
    assert search([Source("web")]).networks == search([Source("web"), Source("news")]).networks == ()
    assert search([Source("x"), Source("rss")]).networks == ("feeds", "social")


def test_bounds_of_several_sources_hold_together() -> None:
    bounds = search(
        [Source("x", ("a", "b"), min_likes=3), Source("x", ("b",), min_likes=1, min_views=9), Source("web")],
        1,
        2,
        30,
    )
    assert (bounds.handles, bounds.min_likes, bounds.min_views) == (("a", "b"), 3, 9)
    assert (bounds.since, bounds.until, bounds.limit) == (1, 2, 30)


@pytest.mark.parametrize(
    ("sources", "options"),
    [
        ([Source("x", ("a",), ("b",))], {}),
        ([Source("x", ("a",)), Source("x", (), ("b",))], {}),
        ([Source("web", domains=("a.de",), not_domains=("b.de",))], {}),
        ([Source("x", tuple(f"h{n}" for n in range(dialects.MOST_HANDLES + 1)))], {}),
        ([Source("web", not_domains=tuple(f"h{n}.de" for n in range(6)))], {}),
        ([Source("x", (" ",))], {}),
        ([], {"since": 2, "until": 1}),
        ([], {"limit": 51}),
        ([], {"limit": 0}),
    ],
)
def test_bounds_that_contradict_themselves_are_refused(sources: list[Source], options: dict[str, int]) -> None:
    with pytest.raises(FieldError) as caught:
        search(sources, **options)
    assert caught.value.cure
