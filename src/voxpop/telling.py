"""Say in a few words why a sentence is shown, and who says what where posts differ; it adds no fact."""

import re
from collections.abc import Mapping, Sequence

from voxpop.engines.quote import speaker
from voxpop.evidence import Evidence
from voxpop.messages import Passage
from voxpop.text import numbers
from voxpop.verification import Verdict

_CLASS = {
    "authority": "a listed authority",
    "press": "listed press",
    "organisation": "an organisation",
    "person": "an account of proven identity",
    "unknown": "an unlisted account",
}
_FIGURE = re.compile(r"\d+(?:[.,:\u00a0\u202f ’']\d+)*")
# By language: the label, how a name and its word are joined, what stands between two voices, no and yes.
_DIFFER = {
    "en": ("The posts do not agree: {}.", "{} says {}", "; ", "no", "yes"),
    "fr": ("Les messages ne concordent pas : {}.", "{} dit {}", " ; ", "non", "oui"),
    "es": ("Los mensajes no coinciden: {}.", "{} dice {}", "; ", "no", "sí"),
    "de": ("Die Beiträge widersprechen sich: {}.", "{} sagt {}", "; ", "nein", "ja"),
    "pt": ("As mensagens não concordam: {}.", "{} diz {}", "; ", "não", "sim"),
    "ja": ("投稿の内容は一致していません：{}。", "{}は「{}」", "、", "いいえ", "はい"),
}


def why(verdict: Verdict, cited: Sequence[Passage]) -> str:
    """Why a sentence is shown: whose words it holds, and how it may be told."""
    whose = _whose(cited)
    if verdict.attributed:
        heard = max(p.independent_authors for p in cited)
        who = f"{heard} independent accounts" if heard > 1 and not cited[0].listed else whose
        return f"said by {who}: told as theirs"
    if verdict.verbatim:
        return f"word for word from {_named(cited[0])}"
    return f"in the engine's words; its names and numbers stand in the post of {_named(cited[0])}"


def repaired(reason: str, *, quoted: bool) -> str:
    """Why a sentence stands where the engine's own did not pass."""
    instead = "quoted instead" if quoted else "that part was left out"
    return f"the engine's sentence failed: {reason}; {instead}"


def _named(passage: Passage) -> str:
    author = passage.post.author
    who = f"@{author.handle}" if author.handle else (author.name if passage.listed else "")
    return f"{who}, {_kind(passage)}" if who else _kind(passage)


def _whose(cited: Sequence[Passage]) -> str:
    return _kind(cited[0]) if len(cited) == 1 else f"{len(cited)} accounts"


def _kind(passage: Passage) -> str:
    kind = _CLASS[passage.author_class]
    tone = passage.tone if passage.tone in ("satire", "parody") else ""
    return f"{kind} of {tone}" if tone else kind


def differing(evidence: Evidence, passages: Mapping[int, Passage], lang: str) -> str:
    """Who says what where the chosen posts disagree, a voice each; empty where they do not."""
    claims = {c.number: c.text for c in evidence.chosen if c.number in passages}
    if not evidence.disagree or len(claims) < 2:
        return ""
    label, says, between, no, yes = _DIFFER.get(lang, _DIFFER["en"])
    spelled = {"no": no, "yes": yes}
    stands = {n: evidence.stands.get(text, "") for n, text in claims.items()}
    told = {n: spelled.get(stand) or _as_written(stand, claims[n]) for n, stand in stands.items()}
    voices = [says.format(speaker(passages[n], lang), told[n]) for n in claims if told[n]]
    return label.format(between.join(voices))


def _as_written(stand: str, text: str) -> str:
    """The figures of a stand as their claim spells them."""
    raw = {number: figure for figure in _FIGURE.findall(text) for number in numbers(figure)}
    return ", ".join(raw.get(number, number) for number in stand.split(", ")) if stand else ""
