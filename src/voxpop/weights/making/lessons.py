"""What a small model learns from: posts, and posts in the frame in which an engine is asked; it reads no file.

The frame is the real one: `prompt.build` writes it for made-up authors, and the answer copies the posts' own words.
"""

import math
import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from voxpop import prompt as prompts
from voxpop.engines.quote import opening
from voxpop.errors import UsageError
from voxpop.evidence import Evidence
from voxpop.inert import line
from voxpop.messages import AuthorClass, Claim, Message, Passage, Request
from voxpop.posts import Author, Post
from voxpop.questions import Question
from voxpop.text import language, sentences
from voxpop.times import MICROS
from voxpop.voices import Voice

# A model of this size follows no instruction: the system message is left out, for the model and in its lessons.
CHAT = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] != 'system' %}"
    "{{ message['content'] + '\\n' }}{% endif %}{% endfor %}"
)
_ASKED = {
    "en": ("What about {}?", "What do people say about {}?", "What is happening with {}?", "Who says {}?"),
    "fr": ("Que dit-on de {} ?", "Que se passe-t-il avec {} ?"),
    "es": ("¿Qué se dice de {}?", "¿Qué pasa con {}?"),
    "de": ("Was sagt man über {}?", "Was ist mit {}?"),
    "pt": ("O que se diz de {}?", "O que há com {}?"),
    "ja": ("{}について何と言っていますか？", "{}はどうなっていますか？"),
}
_CLASSES: tuple[AuthorClass, ...] = ("unknown", "unknown", "unknown", "unknown", "authority", "press")
_VOICE = Voice("none", "None", "-")
_DAY_US = 86_400 * MICROS
BOS, EOS = 1, 2
_HELD_BACK, _HELD_MOST, _TEXTS_LEAST = 0.05, 200, 100
_FRAMED = 0.7  # of the lessons
_BEFORE = 0.3  # what a token before the answer weighs


class Lesson(NamedTuple):
    """What stands before, and what the model is to say; a bare post has nothing before it."""

    before: str
    after: str


class Spoken(Protocol):
    """A vocabulary: text to tokens."""

    def encode(self, text: str) -> list[int]:
        """Without a mark before or after."""
        ...


class Texts:
    """Texts in tokens, some of them held back; raises UsageError where there are too few to learn from."""

    def __init__(self, texts: Sequence[str], spoken: Spoken, seed: int) -> None:
        self.known, held = divided(texts, seed)
        self._spoken, self._seed = spoken, seed
        self.posts = [self.tokens(Lesson("", text)) for text in self.known]
        self.held = [self.tokens(Lesson("", text)) for text in held]
        self.held_framed = [(lesson, self.tokens(lesson)) for lesson in framed(held, seed, len(held) // 4)]

    def tokens(self, lesson: Lesson) -> list[int]:
        """A lesson between the marks of its ends; cut as one text, since an engine goes on from a prompt."""
        return [BOS, *self._spoken.encode(lesson.before + lesson.after), EOS]

    def before(self, lesson: Lesson) -> int:
        """How many tokens stand before what the model is to say; a line break is always a token of its own."""
        return 1 + len(self._spoken.encode(lesson.before)) if lesson.before else 1

    def rows(self, length: int) -> Iterator[tuple[list[int], list[float]]]:
        """Without end: a row of tokens and what each weighs. A row begins with a lesson and is cut at its end."""
        luck, frames = random.Random(self._seed), self._frames()
        while True:
            row: list[int] = []
            weights: list[float] = []
            while len(row) < length:
                lesson = next(frames) if luck.random() < _FRAMED else None
                tokens = self.tokens(lesson) if lesson else luck.choice(self.posts)
                early = self.before(lesson) if lesson else 1
                row += tokens
                weights += [_BEFORE] * early + [1.0] * (len(tokens) - early)
            yield row[:length], weights[:length]

    def _frames(self) -> Iterator[Lesson | None]:
        round_ = 0
        while True:
            round_ += 1
            found = False
            for lesson in framed(self.known, self._seed * 1009 + round_, 4096):
                found = True
                yield lesson
            if not found:
                yield None


def divided(texts: Sequence[str], seed: int) -> tuple[list[str], list[str]]:
    """Those to learn from, and those held back: one in twenty, 200 at most; no text is in both."""
    different = sorted({text.strip() for text in texts} - {""})
    if len(different) < _TEXTS_LEAST:
        raise UsageError(
            f"There are {len(different)} different texts.", f"Give {_TEXTS_LEAST} or more, one a line."
        )
    random.Random(seed).shuffle(different)
    held = min(_HELD_MOST, math.ceil(_HELD_BACK * len(different)))
    return different[held:], different[:held]


def framed(texts: Sequence[str], seed: int, count: int) -> Iterator[Lesson]:
    """Questions with one to three of the texts as posts, and the answer that copies each and cites it."""
    luck = random.Random(seed)
    said = [(text, said) for text in texts for said in sentences(text) if _plain(said)]
    if not said:
        return
    names = sorted({word for text in texts for word in text.lower().split() if word.isascii() and word.isalpha()})
    for _ in range(count):
        picked = luck.sample(said, min(len(said), luck.choice((1, 2, 2, 3, 3))))
        lang = language(picked[0][0])
        yield _lesson(lang, [_cited(luck, names or ["a"], n, *one) for n, one in enumerate(picked, 1)], luck)


def _plain(sentence: str) -> bool:
    """Whether the grammar of an answer lets it through whole."""
    return 8 <= len(sentence) <= 200 and not set(sentence) & set("[]\n") and len(sentence.split()) > 1


def _cited(luck: random.Random, names: Sequence[str], number: int, text: str, said: str) -> tuple[Passage, Claim]:
    handle = f"{luck.choice(names)}{luck.choice(names)}{luck.randrange(1000)}.murmur.example"
    class_ = luck.choice(_CLASSES)
    at = luck.randrange(_DAY_US)
    post = Post(f"at://{number}", "lesson", Author(f"did:{number}", handle, ""), text, at, at)
    claim = Claim(number, said, "attributed" if class_ == "unknown" else "stated")
    return Passage(number, post, author_class=class_), claim


def _lesson(lang: str, cited: Sequence[tuple[Passage, Claim]], luck: random.Random) -> Lesson:
    passages, claims = tuple(p for p, _ in cited), tuple(c for _, c in cited)
    about = luck.choice([w for w in claims[0].text.split() if len(w) > 2] or [claims[0].text])
    asked = luck.choice(_ASKED.get(lang, _ASKED["en"])).format(about.strip(".,!?#"))
    question = Question(asked, lang if lang in _ASKED else "en", "what", (), frozenset(), False)
    prompt = prompts.build(Request((Message("user", asked),)), question, passages, Evidence(claims), _VOICE)
    before = "".join(f"{m.content}\n" for m in prompt.messages if m.role != "system")
    said = (f"{_opening(p, c, question.lang)}{line(c.text)} [{c.number}]\n" for p, c in cited)
    return Lesson(before, "".join(said))


def _opening(passage: Passage, claim: Claim, lang: str) -> str:
    return "" if claim.standing == "stated" else line(opening(passage, lang)) + " "
