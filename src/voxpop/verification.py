"""Check a sentence against the posts that it cites before it is shown; it repairs nothing and trusts no engine.

What passes has only numbers, dates, names and quotations that its posts hold, says no more firmly than they do,
names whose word it is where that matters, and states nothing that a later post replaced. That is necessary, not
sufficient: see docs/verification.md.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from voxpop.evidence import Evidence, is_statement, opposed, settles, sign, unsure
from voxpop.messages import Claim, Passage
from voxpop.text import (
    ABBREVIATION,
    HANDLE,
    MARK,
    bare,
    dates,
    family,
    fold,
    indexed,
    keywords,
    language,
    lexicon,
    names,
    numbers,
    quotations,
    sentences,
    unmarked,
    words,
)

_SLOT = "\ue000"
_MOVED = re.compile(rf"([.!?…。！？]+[\"”’»」)]*)((?:\s*{_SLOT})+)")
_CUT = re.compile(r"(?:(?<=[.!?…])|(?<=[.!?…][\"”’»)]))\s+|(?<=[。！？])(?![」』）])")
_BULLET = re.compile(r"\s*(?:[-*•–]\s+)*")
_MARK_LIKE = re.compile(r"[\[［【〔]\s*\^?\s*\d")
_MARK_BEGUN = re.compile(r"[\[［【〔][\s\d,;、]{0,40}")
_PAIRS = (("“", "”"), ("«", "»"), ("「", "」"), ("„", "“"))
_SINGLE = re.compile(r"(?<!\w)[‘']([^‘’']{8,})[’'](?!\w)")
_UNIT = re.compile(r"(\d)\s*(%|percent|per cent|pour cent|prozent|por ciento|million|billion|thousand|[€$£])", re.I)
_PERCENT = frozenset({"percent", "per cent", "pour cent", "prozent", "por ciento"})
_COUNT = re.compile(r"(?P<number>(?<![\w.,])\d+(?:[.,]\d+)*)|(?P<name>[A-ZÀ-Þ][\w’-]+)|(?P<word>\w+)")
_SHARE, _SHARE_ABROAD = 0.6, 0.5
_REACH = 3


@dataclass(frozen=True, slots=True)
class Draft:
    """A sentence as an engine wrote it, its `[n]` markers taken out and read."""

    text: str
    citations: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a draft may be shown; `reason` says why not."""

    shown: bool
    reason: str = ""


class Lines:
    """Cut an engine's stream into drafts as its lines end; a marker is read, never passed on as text."""

    def __init__(self) -> None:
        self._rest = ""

    def feed(self, text: str) -> Iterator[Draft]:
        """The drafts of the lines that `text` completes."""
        *whole, self._rest = (self._rest + text).split("\n")
        for line in whole:
            yield from read_line(line)

    def end(self) -> Iterator[Draft]:
        """What is left when the stream has ended."""
        rest, self._rest = self._rest, ""
        yield from read_line(rest)


class Unmarked:
    """A stream of text in which nothing may look like a citation; a mark that is cut in two is held back."""

    def __init__(self) -> None:
        self._rest = ""

    def feed(self, text: str) -> str:
        """What may be shown by now."""
        text = self._rest + text
        opened = max(text.rfind(mark) for mark in "[［【〔")
        cut = opened if opened >= 0 and _MARK_BEGUN.fullmatch(text, opened) else len(text)
        self._rest = text[cut:]
        return unmarked(text[:cut])

    def end(self) -> str:
        """What was held back when the stream has ended."""
        rest, self._rest = self._rest, ""
        return unmarked(rest)


def read_line(line: str) -> list[Draft]:
    """The sentences of a line; one without a marker is held to those of the next, or of the last."""
    line = line.replace(_SLOT, " ")
    cited = [tuple(int(n) for n in re.findall(r"\d+", mark)) for mark in MARK.findall(line)]
    pieces = _pieces(_MOVED.sub(r"\2\1", _BULLET.sub("", MARK.sub(_SLOT, line), count=1)))
    drafts: list[Draft] = []
    waiting = iter(cited)
    for piece in pieces:
        citations = tuple(dict.fromkeys(n for _ in range(piece.count(_SLOT)) for n in next(waiting)))
        text = re.sub(rf"\s*{_SLOT}\s*(?=\w|[.,]\d)", " ", piece)
        text = re.sub(rf"\s*{_SLOT}", "", text).strip()
        if words(text):
            drafts.append(Draft(text, citations))
    return _held(drafts)


def _pieces(line: str) -> list[str]:
    """A line cut at its sentences' ends, but not inside a quotation."""
    out, begin = [], 0
    for cut in _CUT.finditer(line):
        piece = line[begin : cut.start()]
        if not (_is_open(piece) or ABBREVIATION.search(piece)):
            out.append(piece)
            begin = cut.end()
    return [*out, line[begin:]]


def _is_open(text: str) -> bool:
    if "„" in text:
        return text.count("„") > text.count("“")
    return text.count('"') % 2 == 1 or any(text.count(a) > text.count(b) for a, b in _PAIRS[:3])


def _held(drafts: list[Draft]) -> list[Draft]:
    for order in (range(len(drafts) - 2, -1, -1), range(1, len(drafts))):
        for i in order:
            if not drafts[i].citations:
                neighbour = drafts[i + 1 if order.step < 0 else i - 1]
                drafts[i] = Draft(drafts[i].text, neighbour.citations)
    return drafts


def verify(draft: Draft, passages: Mapping[int, Passage], evidence: Evidence) -> Verdict:
    """Whether the cited passages carry the draft. `passages` are those of the prompt, by number."""
    if not draft.citations:
        return Verdict(False, "cites no post")
    if unknown := [n for n in draft.citations if n not in passages]:
        return Verdict(False, f"cites [{unknown[0]}], which is no passage of the prompt")
    if _MARK_LIKE.search(draft.text):
        return Verdict(False, "holds a marker that cannot be read")
    if quoted := _verbatim(draft, passages, evidence):
        return quoted
    nearest = {n: _nearest(draft.text, n, evidence) for n in draft.citations}
    standing = [passages[n] for n, c in nearest.items() if c is None or c.standing != "superseded"]
    if not standing:
        later = next(c.by for c in nearest.values() if c)
        return Verdict(False, f"a later post, [{later}], replaced it")
    for check in _CHECKS:
        if reason := check(draft.text, standing):
            return Verdict(False, reason)
    attributed = all(nearest[p.number] is None or _attributed(nearest[p.number]) for p in standing)
    if attributed and not any(_in_their_name(draft.text, p) for p in standing):
        return Verdict(False, "states as fact what only an unlisted account says")
    return Verdict(True)


def _attributed(claim: Claim | None) -> bool:
    return claim is not None and claim.standing == "attributed"


def _nearest(text: str, number: int, evidence: Evidence) -> Claim | None:
    mine = frozenset(words(text))
    claims = [c for c in evidence.judged if c.number == number]
    return max(claims, key=lambda c: (len(mine & frozenset(words(c.text))), c.text), default=None)


# -- a post's own words -----------------------------------------------------------------------------------------


def _verbatim(draft: Draft, passages: Mapping[int, Passage], evidence: Evidence) -> Verdict | None:
    """A post's own sentence, in its author's name and nothing beside, needs only to be in force."""
    if len(draft.citations) != 1:
        return None
    passage = passages[draft.citations[0]]
    for claim in evidence.judged:
        said = unmarked(claim.text)
        if claim.number == passage.number and said in draft.text:
            frame = draft.text.replace(said, " ", 1)
            if _only_names_author(frame, passage):
                if claim.standing == "superseded":
                    return Verdict(False, f"a later post, [{claim.by}], replaced it")
                return Verdict(True)
    return None


def _only_names_author(frame: str, passage: Passage) -> bool:
    rest, named = _known_as(passage).subn(" ", fold(frame))
    rest = sign("says").sub(" ", rest)
    spare = sign("negation").search(rest) or numbers(rest)
    return bool(named) and not spare and any(not keywords(rest, lang) for lang in lexicon("function_words"))


def _known_as(passage: Passage) -> re.Pattern[str]:
    """How a sentence may name a passage's author: a display name proves nothing, so only a listed one counts."""
    author = passage.post.author
    listed = passage.author_class != "unknown"
    known = [f"@?{re.escape(fold(author.handle))}"] if author.handle else []
    if author.name and listed:
        known.append(re.escape(fold(author.name)))
    return re.compile(rf"(?<![\w.@])(?:{'|'.join(known)})(?!\w|\.\w)") if known else sign("nameless")


def _in_their_name(text: str, passage: Passage) -> bool:
    flat = fold(text)
    if _known_as(passage).search(flat):
        return bool(sign("says").search(flat) or ":" in text or "「" in text)
    return bool(sign("nameless").search(flat) and sign("says").search(flat))


# -- what must occur --------------------------------------------------------------------------------------------


def _said(passage: Passage) -> str:
    post = passage.post
    return "\n".join([post.text, *(m.alt for m in post.media if m.alt)])


def _readable(passage: Passage) -> str:
    author = passage.post.author
    return f"{_said(passage)}\n@{author.handle} {author.name}"


def _figures_occur(text: str, cited: Sequence[Passage]) -> str:
    source, text = "\n".join(map(_said, cited)), HANDLE.sub(" ", text)
    if missing := numbers(text) - numbers(source):
        return f"the number {min(missing)} is in no cited post"
    if missing := dates(text) - dates(source):
        return f"the date '{min(missing)}' is in no cited post"
    if missing := _measured(text) - _measured(source):
        return f"'{min(missing)}' is in no cited post"
    return ""


def _measured(text: str) -> set[str]:
    """Numbers with their units, by the last digit: `2 %` and `2 percent` are the same, `2 million` is not."""
    units = ((m[1], m[2].lower()) for m in _UNIT.finditer(text))
    return {f"{digit} {'%' if unit in _PERCENT else unit}" for digit, unit in units}


def _names_occur(text: str, cited: Sequence[Passage]) -> str:
    source = "\n".join(map(_readable, cited))
    handles = {fold(h) for h in HANDLE.findall(source)}
    for handle in HANDLE.findall(text):
        if fold(handle) not in handles:
            return f"the account {handle} is in no cited post"
    terms = indexed(source).split()
    held = {*terms, *("".join(pair) for pair in pairwise(terms))}
    for name in sorted(names(HANDLE.sub(" ", text)) | _opening(text)):
        parts = words(name)
        if not all(p in held for p in parts) and "".join(parts) not in held:
            return f"the name '{name}' is in no cited post"
    return ""


def _opening(text: str) -> set[str]:
    """The first word of a sentence, which a capital does not tell from a name; a plain word of grammar is none."""
    first = re.match(r"\W*([A-ZÀ-Þ][\w’'-]*)", HANDLE.sub(" ", text))
    word = re.sub(r"['’]s$", "", first[1]) if first else ""
    plain = any(not keywords(word, lang) for lang in lexicon("function_words"))
    return set() if plain or sign("nameless").fullmatch(fold(word)) else {fold(word)}


def _quotations_occur(text: str, cited: Sequence[Passage]) -> str:
    joined = " ".join(words("\n".join(map(_readable, cited))))
    for quotation in [*quotations(text), *_SINGLE.findall(text)]:
        if not re.search(rf"(?<!\w){re.escape(' '.join(words(quotation)))}(?!\w)", joined):
            return "a quotation is in no cited post"
    return ""


def _counts_their_own(text: str, cited: Sequence[Passage]) -> str:
    """In a list of names with numbers, a number stays with its name."""
    held: dict[str, set[str]] = {}
    for passage in cited:
        for name, count in _counts(_said(passage), 1):
            held.setdefault(name, set()).add(count)
    for name, count in _counts(text, _REACH):
        others = [other for other, counts in held.items() if count in counts and other != name]
        if count not in held.get(name, set()) and (others or name in held):
            return f"the number {count} is not said of '{name}'"
    return ""


def _counts(text: str, reach: int) -> Iterator[tuple[str, str]]:
    """A name and each number that follows it within `reach` words, or follows such a number."""
    for sentence in sentences(text):
        name, gap = "", 0
        for token in _COUNT.finditer(sentence):
            if token["name"]:
                name, gap = fold(token["name"]), 0
            elif token["number"] and name and gap <= reach - 1:
                yield name, min(numbers(token["number"]))
                gap = 0
            else:
                gap += 1


# -- what it may say --------------------------------------------------------------------------------------------


def _supports(text: str, passage: Passage) -> str:
    """The sentence of a post that is nearest to `text`."""
    mine = frozenset(words(text))
    return max(
        sentences(_said(passage)), key=lambda s: (len(mine & frozenset(words(s))), -len(s)), default=_said(passage)
    )


def _speaks_of(text: str, cited: Sequence[Passage]) -> str:
    plain = HANDLE.sub(" ", text)
    lang = language(plain)
    mine = [w for w in keywords(plain, lang) if not w.isdigit() and not sign("says").fullmatch(w)]
    theirs = frozenset(w for p in cited for w in indexed(_readable(p)).split())
    stems = {w[:5] for w in theirs}
    share = sum(w in theirs or w[:5] in stems or bool(family(w) & theirs) for w in mine) / max(1, len(mine))
    abroad = all(language(bare(p.post.text)) != lang for p in cited)
    if mine and share < (_SHARE_ABROAD if abroad else _SHARE):
        return "says more than the cited posts do"
    return ""


def _says_no_opposite(text: str, cited: Sequence[Passage]) -> str:
    near = [_supports(text, p) for p in cited]
    if not any(is_statement(s) for p in cited for s in sentences(_said(p))):
        return "the cited post only asks"
    if bool(sign("negation").search(fold(text))) not in {bool(sign("negation").search(fold(s))) for s in near}:
        return "a negation was added or lost"
    if all(_denied(s) & _figures(text) != _denied(text) for s in near):
        return "another number is denied"
    if word := next((w for s in near if (w := opposed(text, s))), ""):
        return f"'{word}' is the opposite of what the cited post says"
    return ""


def _figures(text: str) -> set[str]:
    return numbers(HANDLE.sub(" ", text))


def _denied(text: str) -> set[str]:
    """The numbers that come within two words after a negation."""
    flat = fold(text)
    after = (flat[m.end() :].split()[:2] for m in sign("negation").finditer(flat))
    return {n for near in after for n in numbers(" ".join(near))}


def _no_firmer(text: str, cited: Sequence[Passage]) -> str:
    flat = fold(text)
    hedged = all(sign("hedge").search(fold(_said(p))) for p in cited)
    if hedged and not (sign("hedge").search(flat) or sign("says").search(flat)):
        return "the cited posts are not as sure"
    if settles(text) and all(unsure(_supports(text, p)) for p in cited) and not unsure(text):
        return "the cited posts only suppose it"
    return ""


def _settles_nothing(text: str, cited: Sequence[Passage]) -> str:
    """A result in no one's name needs an authority that tells it."""
    if not settles(text) or any(_in_their_name(text, p) for p in cited):
        return ""
    if any(p.author_class == "authority" and settles(_said(p)) for p in cited):
        return ""
    return "states as settled what no listed authority declares"


_CHECKS: tuple[Callable[[str, Sequence[Passage]], str], ...] = (
    _figures_occur,
    _names_occur,
    _quotations_occur,
    _counts_their_own,
    _speaks_of,
    _says_no_opposite,
    _no_firmer,
    _settles_nothing,
)


def adds_nothing(quip: str, sentences: str) -> bool:
    """Whether a quip holds no number, date, name or quotation that the sentences do not hold."""
    held = frozenset(words(sentences))
    named = all(part in held for name in names(quip) for part in words(name))
    plain = numbers(quip) <= numbers(sentences) and dates(quip) <= dates(sentences)
    return named and plain and not quotations(quip) and not re.search(r"\d", "".join(set(quip) - set(sentences)))
