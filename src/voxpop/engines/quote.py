"""The default writer of facts: it continues a prompt by quoting its claims word for word; it needs no model.

It never says anything in its own words but who says it, and it says nothing where the prompt has no claims.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from voxpop.engines import EngineInfo
from voxpop.messages import Claim, Delta, Passage, Prompt, Usage
from voxpop.text import unmarked, words

_SAYS = {
    "en": ("{who} says: “{text}”", "{who}: “{text}”", "One post"),
    "fr": ("{who} dit : « {text} »", "{who} : « {text} »", "Un message"),
    "es": ("{who} dice: «{text}»", "{who}: «{text}»", "Un mensaje"),
    "de": ("{who} sagt: „{text}“", "{who}: „{text}“", "Ein Beitrag"),
    "pt": ("{who} diz: «{text}»", "{who}: «{text}»", "Uma mensagem"),
    "ja": ("{who}「{text}」", "{who}「{text}」", "ある投稿"),
}


class QuoteEngine:
    """Quotes the prompt's claims, a line each, in their order."""

    async def generate(self, prompt: Prompt, schema: Mapping[str, Any] | None = None) -> AsyncIterator[Delta]:
        """One delta a claim; tokens are counted as words, and nothing is computed ahead."""
        passages = {p.number: p for p in prompt.passages}
        said = 0
        for claim in prompt.claims:
            line = quotation(claim, passages[claim.number], prompt.lang)
            said += self.count(line)
            yield Delta(f"{line} [{claim.number}]\n")
        yield Delta(usage=Usage(sum(self.count(c.text) for c in prompt.claims), said))

    def count(self, text: str) -> int:
        return len(words(text))

    def describe(self) -> EngineInfo:
        return EngineInfo("quote", "none", converses=False)


def quotation(claim: Claim, passage: Passage, lang: str) -> str:
    """A claim in its author's name, in the language of the answer; the post's words are left as they are.

    Only what looks like a citation among them is defused. An unlisted account without a handle has no name: anybody
    can call himself anything.
    """
    attributed, stated, nameless = _SAYS.get(lang, _SAYS["en"])
    author = passage.post.author
    name = author.name if passage.author_class != "unknown" else ""
    who = f"@{author.handle}" if author.handle else name or nameless
    return (stated if claim.standing == "stated" else attributed).format(who=who, text=unmarked(claim.text))
