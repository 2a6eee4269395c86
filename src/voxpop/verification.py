"""Check a sentence against the posts that it cites before it is shown; it repairs nothing and trusts no engine.

What passes has only numbers, dates, names and quotations that its posts hold, says no more firmly than they do,
names whose word it is where that matters, and states nothing that a later post replaced. That is necessary, not
sufficient: see docs/verification.md.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import dropwhile, pairwise, takewhile

from voxpop import figures, wording
from voxpop.calls import undeclared
from voxpop.company import keep_together
from voxpop.drafts import Draft
from voxpop.evidence import Evidence
from voxpop.figures import is_grammar, post_words, readable
from voxpop.inert import line, quotable
from voxpop.messages import Claim, Passage
from voxpop.results import calls, in_no_ones_name, labels
from voxpop.signs import declaring, is_statement, opposed, settles, settling, sign, unsure
from voxpop.speakers import known_as, named_by
from voxpop.support import least as least_support
from voxpop.support import score
from voxpop.text import (
    HANDLE,
    dates,
    family,
    fold,
    indexed,
    is_cjk,
    keywords,
    language,
    names,
    numbers,
    quotations,
    sentences,
    words,
)
from voxpop.tones import unlabelled
from voxpop.wording import nearest

_MARK_LIKE = re.compile(r"[\[［【〔]\s*\^?\s*\d")
_OURS = re.compile(r"\W*voxpop\W*[:：]", re.IGNORECASE)
_SINGLE = re.compile(r"(?<!\w)[‘']([^‘’']{8,})[’'](?!\w)")
_SHARE_ABROAD = 0.5
_SENTENCE = 5  # words of a value from which it is read as a sentence
_MORE = "says more than the cited posts do"
_NEARBY = 6
_LONGEST = 3500
_LETTER = re.compile(r"(?<=\w )[A-HJ-Z](?![\w.'’&+-])")  # `line D` is another than `line A`
_TOKEN = re.compile(r"[^\W\d_][\w’-]*|[:;,]")
_OWN = frozenset({"ours", "mine", "yours", "theirs", "his", "hers", "its"})


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a draft may be shown; `reason` says why not.

    `attributed`: it is told as its author's word. `verbatim`: it is a post's own sentence. `support`: how far the
    posts carry it, a probability. `by`: the number of the post that replaced what it cites.
    """

    shown: bool
    reason: str = ""
    attributed: bool = False
    verbatim: bool = False
    support: float | None = None
    by: int | None = None


def verify(
    draft: Draft, passages: Mapping[int, Passage], evidence: Evidence, *, least: float | None = None
) -> Verdict:
    """Whether the cited passages carry the draft. `passages` are those of the prompt, by number.

    `least` is the support below which a sentence is withheld; without one, that of `support.toml`.
    """
    if reason := _unreadable(draft, passages):
        return Verdict(False, reason)
    if quoted := _verbatim(draft, passages, evidence):
        return quoted
    if reason := _malformed(draft.text):
        return Verdict(False, reason)
    claims = {n: _nearest(draft.text, n, evidence) for n in draft.citations}
    standing = [passages[n] for n, c in claims.items() if c is None or c.standing != "superseded"]
    if not standing:
        later = next(c.by for c in claims.values() if c)
        return Verdict(False, f"a later post, [{later}], replaced it", by=later)
    # What is said in no one's name rests on the listed accounts alone: a rumour beside them carries nothing.
    stated = [p for p in standing if _is_stated(p, claims[p.number])]
    # Nobody's words are put in another's mouth: what is told in a name rests on who is named.
    named = named_by(draft.text, standing)
    support = named or stated
    if not support:
        return Verdict(False, "states as fact what only an unlisted account says")
    text, reason = unlabelled(draft.text, support)
    if reason := reason or _changed(text, support):
        return Verdict(False, reason)
    least = least_support() if least is None else least
    reason, carried = _carried(text, support, least)
    if not reason and len(support) > 1 and not any(_alone(text, p, support, least) for p in support):
        reason = "no single cited post says it"
    attributed = not reason and bool(named) and len(stated) < len(standing)
    return Verdict(not reason, reason, attributed, support=carried)


def _changed(text: str, cited: Sequence[Passage]) -> str:
    return next((reason for check in _CHECKS if (reason := check(text, cited))), "")


def _alone(text: str, passage: Passage, cited: Sequence[Passage], least: float) -> bool:
    """Whether one post carries the sentence by itself, but for who else says it: two make no third claim."""
    for other in cited:
        if other is not passage and other.post.author.id != passage.post.author.id:
            text = known_as(other).sub(" ", text)
    return not _changed(text, [passage]) and not _carried(text, [passage], least)[0]


def _unreadable(draft: Draft, passages: Mapping[int, Passage]) -> str:
    if not draft.citations:
        return "cites no post"
    if unknown := [n for n in draft.citations if n not in passages]:
        return f"cites [{unknown[0]}], which is no passage of the prompt"
    return "is too long for one sentence" if len(draft.text) > _LONGEST else ""


def _malformed(text: str) -> str:
    if _says_nothing(text):
        return "says nothing"
    if text.rstrip(' "”»').endswith(("?", "？", ":", "：")):
        return "only asks, or breaks off"
    if _OURS.match(text):
        return "speaks in our name"
    return "holds a marker that cannot be read" if _MARK_LIKE.search(text) else ""


def _is_stated(passage: Passage, claim: Claim | None) -> bool:
    if passage.jests:
        return False
    return claim.standing == "stated" if claim else passage.listed


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
        said = next((s for s in (quotable(claim.text), line(claim.text)) if s in draft.text), "")
        if claim.number == passage.number and said:
            frame = draft.text.replace(said, " ", 1)
            if _only_names_author(frame, passage):
                if claim.standing == "superseded":
                    return Verdict(False, f"a later post, [{claim.by}], replaced it", by=claim.by)
                return Verdict(True, attributed=claim.standing != "stated", verbatim=True, support=1.0)
    return None


def _only_names_author(frame: str, passage: Passage) -> bool:
    frame, unsaid = unlabelled(frame, [passage])
    rest, named = known_as(passage).subn(" ", fold(frame))
    rest = sign("says").sub(" ", labels().sub(" ", rest))
    spare = sign("negation").search(rest) or numbers(rest)
    return bool(named) and not spare and not unsaid and is_grammar(rest)


def _says_nothing(text: str) -> bool:
    said = sign("says").sub(" ", fold(HANDLE.sub(" ", text)))
    return is_grammar(said) or (len(words(text)) < 2 and not is_cjk(text))


def _each_says_it(text: str, cited: Sequence[Passage]) -> str:
    """Who is named in one breath with others ("@a and @b say") says it as well."""
    flat, places = fold(text), list[tuple[int, int, Passage]]()
    for passage in cited:
        places += [(m.start(), m.end(), passage) for m in known_as(passage).finditer(flat)]
    places.sort(key=lambda place: place[:2])
    for (_, end, one), (begin, _, other) in pairwise(places):
        if one is other or not is_grammar(sign("says").sub(" ", flat[end:begin])):
            continue
        rest = HANDLE.sub(" ", text)
        for alone in ([one], [other]):
            if figures.occur(rest, alone) or _names_occur(rest, alone) or _carried(rest, alone, least_support())[0]:
                return "not all who are named say it"
    return ""


# -- what must occur --------------------------------------------------------------------------------------------


def _names_occur(text: str, cited: Sequence[Passage]) -> str:
    source = "\n".join(map(readable, cited))
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
    if strangers := set(_LETTER.findall(text)) - set(_LETTER.findall(source)):
        return f"the letter '{min(strangers)}' is in no cited post"
    return ""


def _opening(text: str) -> set[str]:
    """The first word of a sentence, which a capital does not tell from a name; a plain word of grammar is none."""
    first = re.match(r"\W*([A-ZÀ-Þ][\w’'-]*)", HANDLE.sub(" ", text))
    word = re.sub(r"['’]s$", "", first[1]) if first else ""
    spoken = sign("says").match(fold(text)) or sign("nameless").fullmatch(fold(word))
    return set() if spoken or is_grammar(word) else {fold(word)}


def _quotations_occur(text: str, cited: Sequence[Passage]) -> str:
    joined = " ".join(words("\n".join(map(readable, cited))))
    for quotation in [*quotations(text), *_SINGLE.findall(text)]:
        if not re.search(rf"(?<!\w){re.escape(' '.join(words(quotation)))}(?!\w)", joined):
            return "a quotation is in no cited post"
    return ""


# -- what it may say --------------------------------------------------------------------------------------------


def _carried(text: str, cited: Sequence[Passage], least: float) -> tuple[str, float | None]:
    """Why the posts carry too little of a sentence, or nothing; and its support, where that can be told."""
    carried = score(text, cited)
    if carried is None:  # across languages only names, numbers and kin can be the same
        share = wording.held("\n".join(map(readable, cited))).share(wording.meant(text))
        return (_MORE if share < _SHARE_ABROAD else ""), None
    return (_MORE if carried < least else ""), carried


def _says_no_opposite(text: str, cited: Sequence[Passage]) -> str:
    said = [s for p in cited for s in sentences(post_words(p))]
    near = [nearest(text, p) for p in cited]
    if not any(is_statement(s) for s in near):
        return "the cited post only asks"
    touched = [s for s in said if s in near or wording.held(text).share(wording.meant(s)) >= 0.5]
    mine, theirs, touching, beside = (_Denials.of(s) for s in ([text], said, touched, near))
    affirmed = beside.affirmed - beside.near
    if mine.count > touching.count or any(w in affirmed or not family(w) & theirs.near for w in mine.denied):
        return "a negation was added"
    if mine.doubled > touching.doubled:
        return "a negation was doubled"
    if any((d.denied - d.affirmed - mine.near) & mine.affirmed for d in (theirs, beside)):
        return "a negation was lost"
    if word := next((w for s in near if (w := opposed(text, s))), ""):
        return f"'{word}' is the opposite of what the cited post says"
    return ""


@dataclass(frozen=True, slots=True)
class _Denials:
    """What sentences deny: `denied` is the first word of meaning after each negation, `near` those around it.

    `doubled` counts negations of the same word, one upon the other.
    """

    count: int
    doubled: int
    denied: frozenset[str]
    near: frozenset[str]
    affirmed: frozenset[str]

    @classmethod
    def of(cls, said: Sequence[str]) -> "_Denials":
        count, doubled, denied, near, affirmed = 0, 0, set[str](), set[str](), set[str]()
        for sentence in said:
            terms = ["theirs" if w in _OWN else w for w in words(HANDLE.sub(" ", sentence))]
            marks = [i for i, w in enumerate(terms) if w != "ne" and sign("negation").fullmatch(w)]
            targets = [
                next((w for w in terms[i + 1 :] if w == "theirs" or w in _meant(sentence)), "") for i in marks
            ]
            first = set(targets) - {""}
            count, doubled = count + len(marks), doubled + len(marks) - len(set(targets))
            denied |= first
            near |= {w for i in marks for w in terms[max(0, i - 1) : i + 4]} | first
            affirmed |= set(terms) - first
        return cls(count, doubled, frozenset(denied), frozenset(near), frozenset(affirmed))


@lru_cache(maxsize=256)
def _meant(sentence: str) -> frozenset[str]:
    return frozenset(w for w in keywords(sentence, language(sentence)) if not sign("negation").fullmatch(w))


def _no_firmer(text: str, cited: Sequence[Passage]) -> str:
    flat = fold(text)
    hedged = all(sign("hedge").search(fold(post_words(p))) for p in cited)
    if hedged and not (sign("hedge").search(flat) or sign("says").search(flat)):
        return "the cited posts are not as sure"
    if settles(text) and not unsure(text) and all(unsure(nearest(text, p)) for p in cited):
        return "the cited posts only suppose it"
    return ""


def _tells_of_the_same(text: str, cited: Sequence[Passage]) -> str:
    """Who won, leads, died or resigned is who the post says: its loser stands there too."""
    told = {name for p in cited for s in sentences(post_words(p)) for run in _told_of(s) for name in run}
    strangers = [run[-1] for run in _told_of(text) if run and run[-1] not in told]
    return f"'{strangers[0]}' is not who the cited post tells this of" if told and strangers else ""


def _told_of(sentence: str) -> Iterator[list[str]]:
    """The names next before each word that tells what became of somebody; next after it where it is declared."""
    tokens = [w for w in _TOKEN.findall(HANDLE.sub(" ", sentence)) if not (w[0].isupper() and is_grammar(w))]
    for i, token in enumerate(tokens):
        if fold(token) in _fates():
            before, after = _name_next(tokens[:i][::-1])[::-1], _name_next(tokens[i + 1 :])
            yield before or after
            if before and after and fold(token) in declaring() and tokens[i + 1] not in ":;,":
                yield after


def _name_next(tokens: list[str]) -> list[str]:
    within = takewhile(lambda w: not sign("says").fullmatch(fold(w)), tokens[:_NEARBY])
    ahead = dropwhile(lambda w: not w[0].isupper(), within)
    return [fold(w) for w in takewhile(lambda w: w[0].isupper(), ahead) if fold(w) not in _fates()]


@lru_cache(maxsize=1)
def _fates() -> frozenset[str]:
    return settling().union(*(family(word) for word in ("conceded", "resigned", "arrested", "hurt", "leads")))


def _settles_nothing(text: str, cited: Sequence[Passage]) -> str:
    """A result in no one's name needs an authority that tells it."""
    return undeclared(text, cited, [*map(known_as, cited), sign("nameless")])


_CHECKS: tuple[Callable[[str, Sequence[Passage]], str], ...] = (
    figures.occur,
    figures.keep_their_bounds,
    _names_occur,
    _quotations_occur,
    _each_says_it,
    figures.keep_their_names,
    wording.give_their_reasons,
    wording.keep_their_days,
    _says_no_opposite,
    _no_firmer,
    _tells_of_the_same,
    _settles_nothing,
    figures.keep_their_company,
    figures.keep_their_kind,
    wording.keep_their_events,
    wording.keep_their_denials,
    wording.keep_their_conditions,
    wording.keep_their_sides,
    wording.keep_their_voice,
    keep_together,
)

_OF_VALUES = (figures.occur, _names_occur, _quotations_occur, _says_no_opposite, figures.keep_their_company)


def held(text: str, passage: Passage) -> str:
    """Why a post does not hold a value that stands by itself, such as a field of JSON; empty where it does.

    A few words must be the post's own and not denied there; what is a sentence is held to what sentences are.
    """
    post = [passage]
    for check in _CHECKS if len(words(text)) >= _SENTENCE else _OF_VALUES:
        if check is not _settles_nothing and (reason := check(text, post)):
            return reason
    told = in_no_ones_name(text, [known_as(passage), sign("nameless")])
    if told and not calls(passage) & told:
        return "tells as settled what no listed authority declares"
    known = wording.held(readable(passage))
    strange = next((w for w in wording.meant(text) if not known.has(w)), "")
    return f"the word '{strange}' is in no cited post" if strange else ""


def adds_nothing(quip: str, sentences: str) -> bool:
    """Whether a quip holds no number, date, name or quotation that the sentences do not hold."""
    held = frozenset(words(sentences))
    named = all(part in held for name in names(quip) for part in words(name))
    plain = numbers(quip) <= numbers(sentences) and dates(quip) <= dates(sentences)
    return named and plain and not quotations(quip) and not re.search(r"\d", "".join(set(quip) - set(sentences)))
