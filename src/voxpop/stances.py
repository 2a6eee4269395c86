"""What a sentence tells of a question: its figure, names, place, time, or a denial; pure, it judges no truth."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache

from voxpop.figures import is_grammar
from voxpop.posts import Post
from voxpop.questions import SCORE, Question
from voxpop.signs import opposed, sign
from voxpop.text import bare, dates, family, fold, keywords, lexicon, names, numbers, sentences, words

_CLOCK = re.compile(r"\b\d{1,2}(?::\d{2}| ?[hH](?:\d{2})?| ?[ap]\.?m)\b")
_TIME = re.compile(r"\b(\d{1,2})(?:(?::(\d{2})| ?[hH](\d{2})?)(?!\w)(?: ?([ap])\.?m)?| ?([ap])\.?m)")
_COUNT = re.compile(r"(?<![\w.,])\d+(?:[.,]\d+|[ \u00a0\u202f]\d{3}(?!\d))*")
_PAIR = re.compile(r"([A-ZÀ-Þ][\w’-]+)\W{1,3}(\d+(?:[.,]\d+)?)")
_PERCENT = re.compile(r"\s*(?:%|％|per ?cent|pour cent|prozent|por ciento|por cento)", re.IGNORECASE)
_MARKS = dict.fromkeys(range(0x300, 0x370))
_CLAUSE = re.compile(r"[,;]\s")
_NEAR = 4
_DENIED = 6
_MOST = 3
_WORDS = 12
_ALIKE = 0.5
_SPEAKS = 0.6


def speaks_of(question: Question, sentence: str, post: Post) -> bool:
    """Whether a sentence is about what is asked, and its post about all that is named; else it answers nothing.

    Of a question's words those of a state (`over`, `open`, `lifted`) must be there, or their opposite.
    """
    by = f"{post.author.name} {post.author.handle}"
    said = question.terms(f"{sentence}\n{by}")
    whole = question.terms(f"{post.text}\n{by}\n" + "\n".join(m.alt for m in post.media))
    named = tuple(c for c in question.concepts if c.word in question.names)
    topics = tuple(c for c in question.concepts if c.word not in question.names)
    counts = question.asks == "how_many"
    if named and replace(question, concepts=named).coverage(whole) < (1.0 if counts else 0.5):
        return False
    state = [c for c in topics if c.word in _states()]
    ended = bool(opposed(question.text, sentence)) and not sign("planned").search(fold(sentence))
    if state and not (ended or all(c.kin & said for c in state)):
        return False
    if _pattern("conditional").search(fold(sentence)):
        return False
    said |= {c.word for c in state if ended and opposed(c.word, sentence)}
    return not topics or replace(question, concepts=topics).coverage(said) > _SPEAKS


def denies(question: Question, sentence: str) -> bool:
    """Whether a sentence negates what the question is about, not something or somebody beside it."""
    terms = words(sentence)
    meant = frozenset().union(*(c.kin for c in question.concepts))
    for i, _ in ((i, w) for i, w in enumerate(terms) if sign("negation").fullmatch(w)):
        after = terms[i + 1 : i + 1 + _DENIED]
        at = next((j for j, w in enumerate(after) if w in meant), None)
        if at is not None and all(_links(w) for w in after[:at]):
            return True
    return False


def _links(word: str) -> bool:
    """Whether a word between a negation and what it denies names nothing of its own: `no reports of`."""
    return is_grammar(word) or bool(sign("proof").fullmatch(word))


def denied(question: Question, sentence: str) -> bool:
    """Whether a sentence answers a yes-or-no question with no."""
    refuted = _pattern("refuted").search(fold(sentence))
    ends = family("over") | family("lifted") | family("cancelled")
    over = _pattern("over").search(fold(sentence)) and not any(c.kin & ends for c in question.concepts)
    against = bool(opposed(question.text, sentence)) != denies(question, sentence)
    return bool(refuted or over or against)


def told(question: Question, sentence: str) -> tuple[str, ...]:
    """The figures, people, places or times that a sentence answers with, the first one first; empty where none."""
    if question.asks == "how_many":
        return figures(question, sentence)
    if question.asks == "when":
        return _times(sentence)
    if question.asks == "where":
        return tuple(_placed(question, sentence))[:_MOST]
    return people(question, sentence)


def figures(question: Question, sentence: str) -> tuple[str, ...]:
    """The numbers that answer, as `numbers` spells them: near what is counted, of whom is named, not denied."""
    if family("score") & set(words(question.text)):
        score = SCORE.search(sentence)
        return ("-".join(re.findall(r"\d+", score[0])),) if score else ()
    asked = numbers(question.text)
    share = bool(_pattern("share").search(fold(question.text)))
    found: list[tuple[bool, int, int, str]] = []
    for one in sentences(sentence):
        for number, before, after in _numbered(_CLOCK.sub(" ", one)):
            near = _near(question, before, after)
            set_aside = number in asked or _pattern("not_this").search(fold(before))
            if set_aside or (share and not _PERCENT.match(after)) or (question.counted and near > _NEAR):
                continue
            whose = _owner(before)
            found.append((bool(question.names and whose and not whose & question.names), near, len(found), number))
    theirs = [f for f in sorted(found) if not f[0]] or sorted(found)
    return tuple(dict.fromkeys(number for *_, number in theirs))[:_MOST]


def _numbered(text: str) -> Iterable[tuple[str, str, str]]:
    """Each number of a text with what stands before and after it; number words count."""
    spelled = [m for m in re.finditer(r"[^\W\d_]+", text) if numbers(m[0])]
    for m in sorted([*_COUNT.finditer(text), *spelled], key=lambda m: m.start()):
        for number in sorted(numbers(m[0].strip())):
            yield number, text[: m.start()], text[m.end() :]


def _near(question: Question, before: str, after: str) -> int:
    """How many words lie between a number and what is counted, in its own clause: `2 dead, 64 hurt`."""
    left, right = words(_CLAUSE.split(before)[-1])[::-1], words(_CLAUSE.split(after)[0])
    ways = [i for side in (left, right) for i, w in enumerate(side[: _NEAR + 1]) if w in question.counted]
    return min(ways, default=_NEAR + 1)


def _owner(before: str) -> set[str]:
    """The words of the last name before a number, in its own clause."""
    clause = re.split(r"[,;.]\s", before)[-1]
    runs = re.findall(r"[A-ZÀ-Þ][\w’-]+(?: [A-ZÀ-Þ][\w’-]+)*", clause)
    return set(words(runs[-1])) if runs and not is_grammar(runs[-1]) else set()


def people(question: Question, sentence: str) -> tuple[str, ...]:
    """The names of a sentence that the question does not hold, in order; of a list with numbers the greatest's."""
    if lead := _leading(question, sentence):
        return lead
    known = question.names.union(*(c.kin for c in question.concepts))
    body = re.sub(r"^[A-ZÀ-Þ\s]{4,}:\s*", "", bare(sentence))
    opening = body.split()[0] if body.split() else ""
    found = {part for name in names(f". {body}") for part in words(name)}
    places = set(_placed(question, sentence))
    fresh = [w for w in words(body) if len(w) > 1 and not w.isdigit() and w not in known | places]
    # The first word of a sentence is written large whatever it is: it is a name where there is no other.
    first = set(words(opening)) if opening[:1].isupper() and not is_grammar(opening) else set()
    leads = question.about_result or body.split()[1:2] == [w for w in body.split()[1:2] if w[0].isupper()]
    named = [w for w in fresh if w in (found | first if leads else found)]
    return tuple(dict.fromkeys(named or [w for w in fresh if w in first]))[:_MOST]


def _leading(question: Question, sentence: str) -> tuple[str, ...]:
    """Who has the greatest number of a list of names, where it is asked who leads or has won."""
    if not (question.about_result or any(c.word in family("leads") for c in question.concepts)):
        return ()
    pairs = [(float(number.replace(",", ".")), fold(name)) for name, number in _PAIR.findall(sentence)]
    return (max(pairs)[1],) if len(pairs) > 1 else ()


def _placed(question: Question, sentence: str) -> Iterable[str]:
    """The places of a sentence that the question does not name."""
    before = lexicon("signs")["where"][0]
    pattern = rf"(?i:\b{before})\s+(?:(?i:the|le|la|les|l'|el|los|dem|der|das|o)\s+)?[#@]?([A-ZÀ-Þ][\w’-]+)"
    for found in re.findall(pattern, unicodedata.normalize("NFKD", sentence).translate(_MARKS)):
        if fold(found) not in question.names:
            yield fold(found)


def _times(sentence: str) -> tuple[str, ...]:
    found = []
    for hour, one, two, *halves in _TIME.findall(sentence):
        half = "".join(halves)
        clock = int(hour) % 12 + 12 * (half == "p") if half else int(hour)
        found.append(f"{clock}:{one or two or '00'}")
    return tuple([*found, *sorted(dates(sentence))])[:_MOST]


def matter(sentence: str, lang: str) -> tuple[str, ...]:
    """The words of meaning of a statement, sorted, and its numbers in one spelling."""
    found = {w for w in keywords(sentence, lang) if not w.isdigit() and len(w) > 2}
    return tuple(sorted(found))[:_WORDS]


def contradicts(later: str, earlier: str) -> bool:
    """Whether a later statement on the same matter denies, corrects or revises an earlier one."""
    one, two = ({w for w in words(t) if len(w) > 3 and not w.isdigit()} for t in (later, earlier))
    if 2 * len(one & two) < min(len(one), len(two)):
        return False
    not_now, not_then = (bool(sign("negation").search(fold(t))) for t in (later, earlier))
    revised = numbers(later) and numbers(earlier) and not numbers(later) & numbers(earlier)
    return bool(revised or opposed(later, earlier) or not_now != not_then)


def alike(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether two statements share half of their words."""
    return len({*one} & {*other}) >= _ALIKE * min(len(one), len(other))


def equal(one: str, other: str) -> bool:
    """Whether two figures or names are one, up to the decimals that the rounder one leaves out."""
    if one == other:
        return True
    try:
        a, b = float(one), float(other)
    except ValueError:
        return False
    places = min(len(n.partition(".")[2]) for n in (one, other))
    return bool("." in one + other and abs(a - b) <= 0.5 * 10**-places)


@lru_cache(maxsize=1)
def _states() -> frozenset[str]:
    """Words of a state of things, which another word can deny."""
    return frozenset(words(" ".join(line for lines in lexicon("opposites").values() for line in lines)))


@lru_cache(maxsize=8)
def _pattern(kind: str) -> re.Pattern[str]:
    return re.compile("|".join(lexicon("stances")[kind]))
