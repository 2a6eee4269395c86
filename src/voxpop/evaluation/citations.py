"""Measure how `verify` tells a true citation from a wrong one, on the invented night's posts; one JSON line.

    python -m voxpop.evaluation.citations          precision and recall, and each kind of pair
    python -m voxpop.evaluation.citations --misses the pairs that it gets wrong

Precision: of the sentences that `verify` shows, how many their post carries. Recall: of those that their post
carries, how many it shows. `false_flagged`: of the wrong ones, how many it refuses.
"""

import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from voxpop.drafts import Draft
from voxpop.evidence import Evidence
from voxpop.messages import AuthorClass, Claim, Passage, Standing
from voxpop.posts import Author, Post
from voxpop.signs import is_statement, settles, sign
from voxpop.simulator import world
from voxpop.simulator.records import WorldEvent
from voxpop.text import bare, fold, sentences, words
from voxpop.verification import Verdict, verify

# What a careful person might write of a post, by its key: all of them are true.
PARAPHRASES = {
    "turnout-17": "At 17:00 the turnout was 48.2 % of registered voters.",
    "turnout-18": "The turnout at 18:00 was 57.9 %, and four stations in Kestrin ran short of pencils.",
    "hours": "Polling stations in Tesmar are open until 19:00.",
    "strike-start": "@lirrentransit.example says lines 2 and 4 do not run until 18:30, a tram strike.",
    "strike-end": "According to @lirrentransit.example, the tram strike is over: lines 2 and 4 run from 18:30.",
    "fire-denied": "@fire.dornick.example says it put out a burning bin behind the Mill Lane school at 17:52.",
    "fire-denied-commission": "No ballot box burned at Mill Lane in Dornick; the fire was in a bin outdoors.",
    "fire-correction": "@ulla.murmur.example says the Dornick fire was a bin behind the school, not a ballot box.",
    "fire-sefton": "@sefton.murmur.example says a fire is inside the Mill Lane polling station, not confirmed.",
    "weather-amber": "@weather.tesmar.example says gusts on the Brume Coast may reach 95 km/h, amber warning.",
    "police-calm": "@police.lirren.example says the demonstration at Fountain Square is calm, about 800 people.",
    "closed": "The polling stations are closed since 19:00, apart from those with extended hours.",
    "exit-tpa": "The exit poll of TPA has Korvane at 47 %, Dreyl at 45 % and Quill-Maras at 8 %.",
    "exit-courier": "The Courier's exit poll puts Dreyl at 46 % and Korvane at 45 %.",
    "extended-4": "Four stations on the Brume Coast stay open until 20:00, all of them in Brumehaven.",
    "count-12": "With 12 % of stations counted, Dreyl has 50.9 % and Korvane 44.4 %.",
    "pell-declared": "The Pell Islands are declared: Korvane has 58.2 % and Dreyl 35.9 %.",
    "pell-tpa": "TPA says the commission declares the Pell Islands for Korvane with 58.2 %.",
    "turnout-prelim": "The preliminary turnout at the close of polls is 69.8 %.",
    "bankrupt-denied": "@hearthunion.example says there is no bankruptcy and the claim is false.",
    "bankrupt-registry": "@companies.tesmar.example says no insolvency filing by Hearth Union exists.",
    "bankrupt-tpa": "@bram.tpa.example says the bankruptcy story about Hearth Union is wrong.",
    "mayor-30": "In the Lirren mayor race, 30 % counted, Sabine Ostermoor has 41.2 %.",
    "match-courier": "Lirren Rovers beat Port Hallow 2-1 at the Boatyard, @lirrencourier.example reports.",
    "tpa-not-called": "TPA has not called the race, as half of the votes are not counted.",
    "count-49": "Dreyl leads with 48.7 % against Korvane 46.7 %, with 49 % of stations counted.",
    "fake-tpa-denied": "TPA says that an account named 'TPA Breaking' is not theirs.",
    "dreyl-claims-tpa": "TPA says Dreyl claims victory, but the commission has declared no winner.",
    "hallovar-corrected": "The corrected figure for Hallovar is 321,540 votes for Dreyl, not 312,540.",
    "impostor-denied": "The commission says an account that imitates it posted a false result.",
    "weather-lifted": "@weather.tesmar.example says the amber wind warning for the Brume Coast is lifted.",
    "courier-retracts": "The Courier withdrew its projection of 20:35 as premature.",
    "resign-denied": "Chair Benedikta Aurel has not resigned.",
    "count-74": "Korvane leads for the first time tonight, with 47.8 % against 47.6 % for Dreyl.",
    "quill-tpa": "Quill-Maras concedes and backs neither rival, TPA says.",
    "mayor-recount": "@cityhall.lirren.example says a recount starts on Monday at 09:00, 61 votes apart.",
    "tpa-projects": "TPA projects Korvane as the winner.",
    "declared": "Ilsabet Korvane is elected President of Tesmar with 48.6 % of the vote.",
    "turnout-final": "The final turnout was 71.3 % of registered voters.",
    "statto-final": "@longdivision.murmur.example says the margin was 101,947 votes.",
    "dreyl-concedes": "@dreyl.hearthunion.example says he accepts and has called Ilsabet Korvane.",
    "police-celebrate": "@police.lirren.example says about 6,000 people celebrate peacefully at Fountain Square.",
}
_STRANGER = "Hartwell"
# Posts that say the same, beside those that are evidence of one fact: a citation of one for the other is no swap.
_ALIKE = [
    {"exit-statto", "statto-final"}, {"fire-student", "fire-denied-commission", "fire-correction", "fire-denied"},
    {"tpa-projects", "fake-tpa-call"}, {"bram-not-called", "pell-tpa", "tpa-not-called"}, {"preview", "mayor-30"},
]  # fmt: skip
_NAMES = re.compile(r"\b(?:Korvane|Dreyl|Lirren|Dornick|Hallovar|Aurel|TPA)\b")


def _same() -> dict[str, frozenset[str]]:
    groups = [
        frozenset(world.keys()[key].uri for key in {*g}) for g in [*_ALIKE, *(f.evidence for f in world.FACTS)]
    ]
    return {uri: frozenset().union(*(g for g in groups if uri in g)) for g in groups for uri in g}


_SAME = _same()


class Pair(NamedTuple):
    """A sentence, the post that it cites, and whether the post carries it; `kind` says how it was made."""

    kind: str
    true: bool
    text: str
    passage: Passage


def pairs() -> list[Pair]:
    """True sentences of the night's posts, and the same with a wrong citation or one small edit."""
    posts = {key: _passage(event) for key, event in world.keys().items()}
    made = [Pair("paraphrase", True, text, posts[key]) for key, text in PARAPHRASES.items()]
    for passage in posts.values():
        for sentence in map(bare, sentences(passage.post.text)):
            if is_statement(sentence) and not sentence.startswith("@"):
                made.append(Pair("in its author's name", True, _named(sentence, passage), passage))
    true = [p for p in made if len(words(p.text)) > 5]
    return made + _swapped(true, posts) + [edit for pair in true for edit in _edited(pair)]


def _named(sentence: str, passage: Passage) -> str:
    return sentence if passage.author_class == "authority" else f"@{passage.post.author.handle} says: {sentence}"


def _swapped(true: Sequence[Pair], posts: dict[str, Passage]) -> list[Pair]:
    """Each sentence with the likest other post that lacks a word or number of it, under that author's name."""
    out = []
    for pair in true:
        said = pair.text.partition(" says: ")[2] or pair.text
        mine = frozenset(words(said))
        same = _SAME.get(pair.passage.post.id, frozenset()) | {pair.passage.post.id}
        others = [p for p in posts.values() if p.post.id not in same and not _carries(p, said)]
        if not others:
            continue
        likest = max(others, key=lambda p: len(mine & frozenset(words(p.post.text))))
        out.append(Pair("other post", False, _named(said, likest), likest))
    return out


def _carries(passage: Passage, said: str) -> bool:
    # A post of the same words in another order would carry the sentence after all: those are no swaps.
    mine = frozenset(w for w in words(said) if len(w) > 3 or w.isdigit())
    return len(mine - frozenset(words(passage.post.text))) <= 0.2 * len(mine)


def _edited(pair: Pair) -> Iterator[Pair]:
    text, passage = pair.text, pair.passage
    head, mark, said = text.rpartition(": ") if text.startswith("@") and " says: " in text else ("", "", text)

    def made(kind: str, changed: str) -> Iterator[Pair]:
        if changed != said:
            yield Pair(kind, False, head + mark + changed, passage)

    yield from made("number", re.sub(r"\d(?=\D*$)", lambda m: str((int(m[0]) + 3) % 10), said))
    yield from made(
        "name", re.sub(r"\b(?:Korvane|Dreyl|Lirren|Dornick|Hallovar|Aurel|TPA)\b", _STRANGER, said, count=1)
    )
    trade = {"Korvane": "Dreyl", "Dreyl": "Korvane"}
    if re.search(r"(Korvane|Dreyl)\D{0,12}\d", said) and {"Korvane", "Dreyl"} <= set(re.findall(r"\w+", said)):
        yield from made("names traded", re.sub(r"Korvane|Dreyl", lambda m: trade[m[0]], said))
    if {"Korvane", "Dreyl"} <= set(re.findall(r"\w+", passage.post.text)) and settles(said):
        yield from made("winner traded", re.sub(r"Korvane|Dreyl", lambda m: trade[m[0]], said))
    yield from made("not dropped", re.sub(r"\b(?:not|no|keine|pas|NOT) ", "", said, count=1))
    yield from made("not added", re.sub(r"\b(is|are|has|was|have) ", r"\1 not ", said, count=1))
    if passage.author_class == "unknown" and said != text and not sign("nameless").search(fold(said)):
        yield Pair("name of the author dropped", False, said, passage)
    for one, other in (("open", "closed"), ("lifted", "issued"), ("first", "last")):
        yield from made("opposite", re.sub(rf"\b{one}\b", other, said, count=1))


def _passage(event: WorldEvent) -> Passage:
    account = world.accounts()[event.did]
    classes: dict[str, AuthorClass] = {"authority": "authority", "press": "press"}
    post = Post(event.uri, "simulated", Author(event.did, account.handle, account.name), event.text, 0, 0)
    return Passage(1, post, author_class=classes.get(account.role, "unknown"))


def exact(pair: Pair) -> Verdict:
    """What the exact checks say of it, whatever its support."""
    return judge(pair, least=0.0)


def judge(pair: Pair, *, least: float | None = None) -> Verdict:
    """Whether `verify` shows the sentence, all of the post's sentences being in force."""
    passage = pair.passage
    standing: Standing = "attributed" if passage.author_class == "unknown" else "stated"
    claims = tuple(Claim(1, bare(s), standing, 1.0) for s in sentences(passage.post.text) if is_statement(s))
    return verify(Draft(pair.text, (1,)), {1: passage}, Evidence(judged=claims), least=least)


def tally(judged: Iterable[tuple[Pair, bool]]) -> dict[str, tuple[int, int]]:
    """Of each kind of pair: how many were judged as they are, and how many there are."""
    out: dict[str, tuple[int, int]] = {}
    for pair, shown in judged:
        right, all_ = out.get(pair.kind, (0, 0))
        out[pair.kind] = (right + (shown == pair.true), all_ + 1)
    return out


def report(given: Sequence[Pair] = ()) -> dict[str, Any]:
    """Precision and recall of what `verify` shows, and each kind of pair; without pairs, of those of the night."""
    judged = [(pair, judge(pair).shown) for pair in given or pairs()]
    shown = [pair.true for pair, was in judged if was]
    true = sum(pair.true for pair, _ in judged)
    return {
        "precision": round(sum(shown) / len(shown), 4),
        "recall": round(sum(shown) / true, 4),
        "false_flagged": round(1 - (len(shown) - sum(shown)) / (len(judged) - true), 4),
        "kinds": {kind: f"{right}/{all_}" for kind, (right, all_) in tally(judged).items()},
    }


def main(given: Sequence[Pair]) -> None:
    """Print the figures of some pairs, and with `--misses` those that are judged wrong."""
    print(json.dumps(report(given)))
    if "--misses" in sys.argv:
        for pair in given:
            if (verdict := judge(pair)).shown != pair.true:
                print(f"{pair.kind}: {pair.text}\n    {pair.passage.post.text}\n    {verdict.reason or 'shown'}")


if __name__ == "__main__":
    main(pairs())
