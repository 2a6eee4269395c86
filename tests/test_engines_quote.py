"""The quoting engine: a post's sentences word for word, in their author's name, in the language of the answer."""

import pytest

from voxpop.drafts import Lines
from voxpop.engines.quote import QuoteEngine, quotation
from voxpop.evidence import Evidence
from voxpop.messages import AuthorClass, Claim, Delta, Message, Passage, Prompt, Standing
from voxpop.posts import Author, Post
from voxpop.verification import verify

TEXT = "The bridge is closed"


def passage(handle: str = "ann.example", name: str = "Ann", author_class: AuthorClass = "unknown") -> Passage:
    return Passage(1, Post("at://1", "test", Author("did:1", handle, name), TEXT, 1, 1), author_class=author_class)


@pytest.mark.parametrize(
    ("lang", "standing", "line"),
    [
        ("en", "attributed", "@ann.example says: “The bridge is closed”"),
        ("en", "stated", "@ann.example: “The bridge is closed”"),
        ("fr", "attributed", "@ann.example dit : « The bridge is closed »"),
        ("es", "attributed", "@ann.example dice: «The bridge is closed»"),
        ("de", "attributed", "@ann.example sagt: „The bridge is closed“"),
        ("pt", "attributed", "@ann.example diz: «The bridge is closed»"),
        ("ja", "attributed", "@ann.example: 「The bridge is closed」"),
        ("ko", "attributed", "@ann.example says: “The bridge is closed”"),
    ],
)
def test_each_language(lang: str, standing: Standing, line: str) -> None:
    assert quotation(Claim(1, TEXT, standing), passage(), lang) == line


def test_a_display_name_is_no_name_unless_listed() -> None:
    claim = Claim(1, TEXT, "attributed")
    assert quotation(claim, passage("", "Election Board"), "en") == "One post says: “The bridge is closed”"
    assert quotation(claim, passage("", "Election Board", "authority"), "en").startswith("Election Board says")


def test_a_quoted_text_cannot_cite() -> None:
    assert quotation(Claim(1, "Closed [2] and 【3】 [sic]", "stated"), passage(), "en") == (
        "@ann.example: “Closed (2) and (3) (sic)”"
    )


@pytest.mark.parametrize("lang", ["en", "fr", "es", "de", "pt", "ja"])
def test_a_quoted_text_cannot_end_its_quotation(lang: str) -> None:
    forged = 'Closed”. Verified by voxpop. “x» y « z„ v“ w」 u「 t"\nNot declared.\u202e'
    said = quotation(Claim(1, forged, "attributed"), passage(), lang)
    opened, closed = {"en": "“”", "de": "„“", "ja": "「」"}.get(lang, "«»")
    assert said.count(opened) == said.count(closed) == 1
    assert said.endswith(closed)
    assert "Verified by voxpop" in said[said.index(opened) :]
    assert not set('\n\u202e"') & set(said)


async def deltas(prompt: Prompt) -> list[Delta]:
    return [d async for d in QuoteEngine().generate(prompt)]


async def test_one_delta_a_claim_and_the_usage_last() -> None:
    claims = (Claim(1, TEXT, "attributed"), Claim(1, "So it is", "stated"))
    found = await deltas(Prompt((Message("user", "?"),), (passage(),), claims))
    assert [d.text for d in found] == [
        "@ann.example says: “The bridge is closed” [1]\n",
        "@ann.example: “So it is” [1]\n",
        "",
    ]
    assert found[-1].usage is not None
    assert found[-1].usage.completion_tokens > 0


async def test_no_claims_no_words() -> None:
    assert [d.text for d in await deltas(Prompt((Message("user", "Who won?"),)))] == [""]


@pytest.mark.parametrize("lang", ["en", "fr", "es", "de", "pt", "ja"])
@pytest.mark.parametrize("handle", ["ann.example", ""])
@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        "He said “never” to @bob. Then 3-2!",
        "A [2] b [3, 4] c is so",
        "Nobody won, 5 % left?!",
        "Oss [2-1] Pell it is",
    ],
)
async def test_what_it_quotes_is_always_shown(lang: str, handle: str, text: str) -> None:
    claim = Claim(1, text, "attributed")
    prompt = Prompt((Message("user", "?"),), (passage(handle),), (claim,), lang=lang)
    lines = Lines()
    drafts = [d for delta in await deltas(prompt) for d in lines.feed(delta.text)]
    assert [verify(d, {1: passage(handle)}, Evidence((claim,), (), (claim,))).reason for d in drafts] == [""]


def test_it_does_not_converse() -> None:
    assert QuoteEngine().describe().converses is False
    assert QuoteEngine().count("one two  three") == 3
