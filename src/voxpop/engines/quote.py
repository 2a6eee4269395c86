"""The default writer of facts: it continues a prompt by quoting its claims word for word; it needs no model.

It never says anything in its own words but who says it, and it says nothing where the prompt has no claims.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from voxpop.engines import EngineInfo, no_model
from voxpop.inert import quotable
from voxpop.messages import Claim, Delta, Passage, Prompt, Usage
from voxpop.results import unconfirmed
from voxpop.text import words
from voxpop.tones import label

# By language: after a name that only says so, after one whose word counts, quotation marks, a post without a name.
_SAYS = {
    "en": (" says: ", ": ", "“", "”", "One post"),
    "fr": (" dit : ", " : ", "« ", " »", "Un message"),
    "es": (" dice: ", ": ", "«", "»", "Un mensaje"),
    "de": (" sagt: ", ": ", "„", "“", "Ein Beitrag"),
    "pt": (" diz: ", ": ", "«", "»", "Uma mensagem"),
    "ja": (": ", ": ", "「", "」", "ある投稿"),
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

    def check(self, schema: Mapping[str, Any]) -> None:
        raise no_model("quote")

    def count(self, text: str) -> int:
        return len(words(text))

    def describe(self) -> EngineInfo:
        return EngineInfo("quote", "none", converses=False)


def speaker(passage: Passage, lang: str) -> str:
    """Whose word a passage is: `@handle`, a listed account's name, or "One post" in the language of the answer.

    An unlisted account without a handle has no name: anybody can call himself anything. Satire and parody are
    called so: `@handle (parody)`.
    """
    author = passage.post.author
    name = author.name if passage.listed else ""
    who = f"@{author.handle}" if author.handle else name or _SAYS.get(lang, _SAYS["en"])[4]
    return who + label(passage.tone, lang)


def opening(passage: Passage, lang: str, *, stated: bool = False) -> str:
    """How a sentence begins that a passage's author says: `@handle says: `, in the language of the answer."""
    says, colon, *_ = _SAYS.get(lang, _SAYS["en"])
    return speaker(passage, lang) + (colon if stated else says)


def quotation(claim: Claim, passage: Passage, lang: str) -> str:
    """A claim in its author's name; its words are left as they are, its quotation marks are nested ones.

    A result that its author may not declare is marked as unconfirmed.
    """
    _, _, left, right, _ = _SAYS.get(lang, _SAYS["en"])
    said = f"{opening(passage, lang, stated=claim.standing == 'stated')}{left}{quotable(claim.text)}{right}"
    return said + unconfirmed(claim.text, [passage], lang)
