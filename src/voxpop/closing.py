"""How an answer ends: what most needs saying of its evidence, in the words of the voice; it adds no fact."""

from dataclasses import replace

from voxpop.answering import Answer, notice
from voxpop.evidence import Evidence
from voxpop.messages import Bounds, Passage, Text
from voxpop.questions import Question
from voxpop.results import kind_of, not_declared
from voxpop.retrieval import Plan
from voxpop.times import MICROS
from voxpop.verification import adds_nothing
from voxpop.voices import Voice

STALE = 24 * 3600 * MICROS
_BREAKING = 15 * 60 * MICROS
_FLOOD = 5


def quip(voice: Voice, lang: str, situation: str, answer: Answer) -> Text | None:
    if situation == "nothing_found" and replace(answer.request.bounds, limit=0) != Bounds(limit=0):
        return notice("bounded", lang)  # a voice would say that nobody speaks of it
    line = voice.line(situation, lang, "".join(answer.sentences))
    if not line:
        return None
    if not answer.sentences and situation != "not_declared":  # what that means, a notice of ours has said
        return Text(line, kind="notice")
    return Text(line, kind="quip") if adds_nothing(line, "\n".join(answer.sentences)) else None


def undeclared(question: Question, until: int) -> Text:
    """Our label on an answer to which no authority's declaration belongs, whatever the voice has to say of it."""
    return Text(not_declared(kind_of(question), question.lang, until), kind="notice")


def situation(planned: Plan, passages: tuple[Passage, ...], evidence: Evidence, answer: Answer, until: int) -> str:
    """What most needs saying about the evidence, in this order of weight."""
    cited = list(answer.cited.values())
    official = any(p.author_class == "authority" for p in cited)
    if answer.result == "not declared" and passages and planned.question.about_result:
        return "not_declared"
    if not cited:
        return "not_said" if passages else "nothing_found"
    newest = max(p.post.witnessed_at for p in cited)
    if evidence.disagree:
        return "disagree"
    if any(p.duplicates >= _FLOOD and p.duplicates > 2 * p.independent_authors for p in cited):
        return "flood"
    if until - newest > STALE:
        return "stale"
    voices = {p.post.author.id for p in cited}
    if voices != {""} and len(voices) == 1 == cited[0].independent_authors and not official:
        return "one_voice"
    return "breaking" if until - min(p.post.witnessed_at for p in cited) < _BREAKING else "plain"
