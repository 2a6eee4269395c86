"""Voices: every shipped line, the user's own files, and what is said of a bad one."""

from pathlib import Path

import pytest

from voxpop.errors import UsageError, VoxpopError
from voxpop.verification import adds_nothing
from voxpop.voices import SITUATIONS, Voice, choose, load, parse

SHIPPED = load()
LINES = [
    (voice.name, lang, situation, line)
    for voice in SHIPPED.values()
    for lang, spoken in voice.lines.items()
    for situation, lines in spoken.items()
    for line in lines
]


def test_the_two_voices() -> None:
    assert list(SHIPPED) == ["regular", "fun"]
    assert all(v.title and v.instruction for v in SHIPPED.values())


@pytest.mark.parametrize("lang", ["en", "fr"])
@pytest.mark.parametrize("name", ["regular", "fun"])
def test_every_situation_is_there(name: str, lang: str) -> None:
    assert set(SHIPPED[name].lines[lang]) == set(SITUATIONS)


@pytest.mark.parametrize(("name", "lang", "situation", "line"), LINES)
def test_no_line_holds_what_facts_could_contradict(name: str, lang: str, situation: str, line: str) -> None:
    plain = line.replace("'voxpop models pull'", "")
    for word in ("d'Internet", "Internet"):
        plain = plain.replace(word, "")
    # A German noun looks like a name; what stands alone as a notice says nothing of any post.
    assert lang == "de" or adds_nothing(plain, "")


@pytest.mark.parametrize("lang", ["en", "fr", "es", "de", "pt", "ja"])
def test_who_asks_in_a_language_is_told_in_it_that_nothing_is_known(lang: str) -> None:
    for situation in ("nothing_found", "not_said", "greeting", "no_model"):
        said = SHIPPED["regular"].line(situation, lang, "")
        assert said
        assert lang == "en" or said != SHIPPED["regular"].line(situation, "en", "")


def test_the_same_salt_gives_the_same_line() -> None:
    fun = SHIPPED["fun"]
    said = {fun.line("plain", "en", str(n)) for n in range(30)}
    assert said == set(fun.lines["en"]["plain"])
    assert fun.line("plain", "en", "x") == fun.line("plain", "en", "x")


def test_a_language_that_a_voice_lacks_is_spoken_in_english() -> None:
    assert SHIPPED["fun"].line("stale", "de", "") == SHIPPED["fun"].lines["en"]["stale"][0]
    assert Voice("bare", "Bare", "Speak.").line("stale", "de", "") == ""


MINE = "---\ntitle: Mine\nlines:\n  en:\n    plain: [One., Two.]\n    stale: Old.\n---\nSpeak as I do.\n"


def test_a_users_folder_adds_and_replaces(tmp_path: Path) -> None:
    (tmp_path / "mine.md").write_text(MINE, "utf-8")
    (tmp_path / "fun.md").write_text(MINE.replace("Mine", "Other fun"), "utf-8")
    (tmp_path / "notes.txt").write_text("no voice", "utf-8")
    voices = load(tmp_path)
    assert set(voices) == {"regular", "fun", "mine"}
    assert next(iter(voices)) == "regular"
    assert voices["fun"].title == "Other fun"
    assert voices["mine"].lines["en"] == {"plain": ("One.", "Two."), "stale": ("Old.",)}
    assert voices["mine"].instruction == "Speak as I do."
    assert set(load(tmp_path / "absent")) == {"regular", "fun"}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("Just text.", "The voice 'x' has no front matter or no instruction."),
        ("---\ntitle: X\n---\n", "The voice 'x' has no front matter or no instruction."),
        ("---\n- a\n---\nSpeak.", "The voice 'x' has no front matter or no instruction."),
        ("---\ntitle: [\n---\nSpeak.", "The voice 'x' has bad front matter"),
        ("---\nlines:\n  en:\n    plian: Hi.\n---\nSpeak.", "has lines for an unknown situation 'plian'"),
        ("---\nlines:\n  plain: Hi.\n---\nSpeak.", "The lines of the voice 'x' are not by language and situation."),
        ("---\nlines: Hi.\n---\nSpeak.", "The lines of the voice 'x' are not by language and situation."),
        (
            "---\nlines:\n  en:\n    plain: 3\n---\nSpeak.",
            "The voice 'x' has something else than text for 'plain'.",
        ),
        ("---\nlines:\n  en:\n    plain: [a, 3]\n---\nSpeak.", "has something else than text for 'plain'."),
        ("---\nlnes: {}\n---\nSpeak.", "The voice 'x' has an unknown field 'lnes'."),
    ],
)
def test_a_bad_file_is_told_with_its_cure(text: str, what: str) -> None:
    with pytest.raises(VoxpopError) as error:
        parse("x", text)
    assert what in error.value.what
    assert error.value.cure


def test_a_file_that_is_not_utf8_is_told(tmp_path: Path) -> None:
    (tmp_path / "mine.md").write_bytes(b"---\ntitle: caf\xe9\n---\nSpeak.")
    with pytest.raises(VoxpopError, match=r"mine\.md is not UTF-8"):
        load(tmp_path)


def test_an_unknown_voice_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="Choose one of: regular, fun"):
        choose(SHIPPED, "sad")
    assert choose(SHIPPED, "fun").name == "fun"
