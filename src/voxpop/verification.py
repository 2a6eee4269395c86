"""Check a sentence against the posts that it cites before it is shown; it repairs nothing and trusts no engine.

What passes has only numbers, dates, names and quotations that its posts hold, says no more firmly than they do, and
does not state what a later post replaced. That is necessary, not sufficient: see docs/verification.md.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from voxpop.evidence import Evidence, is_statement, sign
from voxpop.messages import Claim, Passage
from voxpop.text import HANDLE, bare, dates, fold, keywords, language, names, numbers, quotations, words

_MARKERS = re.compile(r"\s*\[(\d{1,3}(?:\s*,\s*\d{1,3})*)\]")
_OVERLAP = 0.6


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
    """Cut an engine's stream into drafts, a line each; a marker is read, never passed on as text."""

    def __init__(self) -> None:
        self._rest = ""

    def feed(self, text: str) -> Iterator[Draft]:
        """The lines that `text` completes."""
        *whole, self._rest = (self._rest + text).split("\n")
        yield from filter(None, map(read_line, whole))

    def end(self) -> Iterator[Draft]:
        """What is left when the stream has ended."""
        rest, self._rest = self._rest, ""
        yield from filter(None, [read_line(rest)])


def read_line(line: str) -> Draft | None:
    """A line as a draft; None where it holds no words."""
    cited = (int(n) for group in _MARKERS.findall(line) for n in group.split(","))
    text = _MARKERS.sub("", line).strip(" -*•\t")
    return Draft(text, tuple(dict.fromkeys(cited))) if text else None


def verify(draft: Draft, passages: Mapping[int, Passage], evidence: Evidence) -> Verdict:
    """Whether the cited passages carry the draft. `passages` are those of the prompt, by number."""
    if not draft.citations:
        return Verdict(False, "cites no post")
    if unknown := [n for n in draft.citations if n not in passages]:
        return Verdict(False, f"cites [{unknown[0]}], which is no passage of the prompt")
    cited = [passages[n] for n in draft.citations]
    if quoted := _verbatim(draft, cited, evidence):
        return quoted
    for check in (_occurs, _speaks_of, _no_firmer):
        if reason := check(draft.text, cited):
            return Verdict(False, reason)
    return _against_rules(draft, evidence)


def _verbatim(draft: Draft, cited: list[Passage], evidence: Evidence) -> Verdict | None:
    # A post's own sentence, named as its author's, needs no other check than that it stands in the post.
    for claim in evidence.judged:
        if claim.number in draft.citations and claim.text in draft.text:
            rest = draft.text.replace(claim.text, " ")
            passage = next(p for p in cited if p.number == claim.number)
            if len(draft.citations) == 1 and _names_author(rest, passage) and len(words(rest)) <= 12:
                return Verdict(True)
    return None


def _names_author(text: str, passage: Passage) -> bool:
    author = passage.post.author
    known = {fold(t) for t in (author.handle, author.name) if t}
    flat = fold(text)
    return any(k in flat for k in known) if known else bool(re.search(r"\b(?:post|message)\b", flat))


def _occurs(text: str, cited: list[Passage]) -> str:
    source = "\n".join(_readable(p) for p in cited)
    held = frozenset(words(source))
    if missing := numbers(text) - numbers(source):
        return f"the number {min(missing)} is in no cited post"
    if missing := dates(text) - dates(source):
        return f"the date '{min(missing)}' is in no cited post"
    joined = " ".join(words(source))
    for name in sorted(names(text)):
        parts = words(name)
        if parts and not all(p in held for p in parts) and "".join(parts) not in joined.replace(" ", ""):
            return f"the name '{name}' is in no cited post"
    for quotation in quotations(text):
        if " ".join(words(quotation)) not in joined:
            return "a quotation is in no cited post"
    return ""


def _readable(passage: Passage) -> str:
    post = passage.post
    alts = " ".join(m.alt for m in post.media if m.alt)
    return f"{post.text}\n{alts}\n@{post.author.handle} {post.author.name}"


def _speaks_of(text: str, cited: list[Passage]) -> str:
    lang = language(text)
    mine = [w for w in keywords(HANDLE.sub("", text), lang) if not w.isdigit()]
    theirs = frozenset(w for p in cited for w in words(_readable(p)))
    if not mine:
        return ""
    stems = {w[:5] for w in theirs}
    share = sum(w in theirs or w[:5] in stems for w in mine) / len(mine)
    same_language = any(language(bare(p.post.text)) == lang for p in cited)
    if same_language and share < _OVERLAP:
        return "says more than the cited posts do"
    # Across languages the words differ: then only names and numbers tie a sentence to its post.
    if not same_language and not (names(text) | numbers(text)):
        return "nothing ties it to the cited post, which is in another language"
    return ""


def _no_firmer(text: str, cited: list[Passage]) -> str:
    flat, sources = fold(text), [fold(p.post.text) for p in cited]
    if not any(is_statement(p.post.text) or _has_statement(p) for p in cited):
        return "the cited post only asks"
    same = any(language(text) == language(bare(p.post.text)) for p in cited)
    if same and bool(sign("negation").search(flat)) != any(sign("negation").search(s) for s in sources):
        return "a negation was added or lost"
    hedged = all(sign("hedge").search(s) for s in sources)
    if hedged and not (sign("hedge").search(flat) or sign("says").search(flat)):
        return "the cited posts are not as sure"
    return ""


def _has_statement(passage: Passage) -> bool:
    return any(is_statement(s) for s in re.split(r"(?<=[.!?…])\s+|\n", passage.post.text))


def _against_rules(draft: Draft, evidence: Evidence) -> Verdict:
    nearest = [c for n in draft.citations if (c := _nearest(draft.text, n, evidence))]
    if nearest and all(c.standing == "superseded" for c in nearest):
        return Verdict(False, f"a later post, [{nearest[0].by}], replaced it")
    attributed = all(c.standing == "attributed" for c in nearest)
    if attributed and not (sign("says").search(fold(draft.text)) or HANDLE.search(draft.text)):
        return Verdict(False, "states as fact what only an unlisted account says")
    return Verdict(True)


def _nearest(text: str, number: int, evidence: Evidence) -> Claim | None:
    mine = frozenset(words(text))
    return max(
        (c for c in evidence.judged if c.number == number),
        key=lambda c: len(mine & frozenset(words(c.text))),
        default=None,
    )


def adds_nothing(quip: str, sentences: str) -> bool:
    """Whether a quip holds no number, date, name or quotation that the sentences do not hold."""
    held = frozenset(words(sentences))
    named = all(part in held for name in names(quip) for part in words(name))
    plain = numbers(quip) <= numbers(sentences) and dates(quip) <= dates(sentences)
    return named and plain and not quotations(quip) and not re.search(r"\d", "".join(set(quip) - set(sentences)))
