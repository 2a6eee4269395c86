"""The page's own dialect: answer events as named server-sent events, and the status that it shows; no decisions."""

from dataclasses import asdict
from typing import Any

from voxpop.inert import address
from voxpop.messages import (
    AnswerEvent,
    Called,
    Citation,
    Done,
    Found,
    Freshness,
    Gap,
    Passage,
    Receipt,
    Refused,
    Searching,
    Text,
    Withheld,
)
from voxpop.times import iso


def render(event: AnswerEvent) -> tuple[str, dict[str, Any]]:
    """An answer event as (name, data)."""
    if isinstance(event, Searching):
        return "searching", {"query": event.query}
    if isinstance(event, Found):
        return "found", {"posts": event.posts, "newest": moment(event.newest), "took_ms": event.took_ms}
    if isinstance(event, Citation):
        return "citation", card(event.passage)
    if isinstance(event, Text):
        return "text", sentence(event)
    if isinstance(event, Called):
        return "called", asdict(event.call)
    if isinstance(event, Withheld):
        return "withheld", {"text": event.text, "reason": event.reason}
    if isinstance(event, Refused):
        return "refused", rule_json(event)["refused"]
    return "done", receipt(event)


def sentence(text: Text) -> dict[str, Any]:
    """A piece of the answer; of a sentence also how it may be shown, why, and how far its posts carry it."""
    said = {"text": text.text, "citations": list(text.citations), "kind": text.kind}
    if text.kind != "sentence":
        return said
    return said | {"outcome": text.outcome, "why": text.why, "support": text.support}


def rule_json(refused: Refused | None) -> dict[str, dict[str, str]]:
    """The rule that refused a question, under `refused`; nothing where it was answered."""
    return {"refused": {"rule": refused.rule, "title": refused.title}} if refused else {}


def card(passage: Passage) -> dict[str, Any]:
    """What a reader wants to know of a cited post."""
    post = passage.post
    return {
        "n": passage.number,
        "id": post.id,
        "author": {"handle": post.author.handle, "name": post.author.name},
        "author_class": passage.author_class,
        "tone": passage.tone,
        "why": list(passage.why),
        "network": post.network,
        "url": address(post.url),
        "created_at": moment(post.created_at),
        "witnessed_at": moment(post.witnessed_at),
        "text": post.text,
        "lang": post.lang,
        "duplicates": passage.duplicates,
        "independent_authors": passage.independent_authors,
    }


def receipt(done: Done) -> dict[str, Any]:
    """The end of an answer: its id, engine, voice, usage, freshness, what it rests on, timings."""
    return {
        "id": done.id,
        "reason": done.reason,
        "answerable": done.answerable,
        "engine": done.engine,
        "voice": done.voice,
        "usage": {
            "prompt_tokens": done.usage.prompt_tokens,
            "completion_tokens": done.usage.completion_tokens,
        },
        "freshness": freshness(done.freshness),
        "receipt": rests_on(done.receipt),
        "timings": {
            "search_ms": done.timings.search_ms,
            "first_sentence_ms": done.timings.first_sentence_ms,
            "total_ms": done.timings.total_ms,
        },
    }


def ours(done: Done, refused: Refused | None) -> dict[str, Any]:
    """What every dialect says beside its vendor's fields: how fresh, what it rests on, who wrote, who refused."""
    return {
        "freshness": freshness(done.freshness),
        "receipt": rests_on(done.receipt),
        "answerable": done.answerable,
        "engine": done.engine,
        "answer_id": done.id,
        **rule_json(refused),
    }


def freshness(fresh: Freshness) -> dict[str, Any]:
    """How new the evidence is, how far behind the stream, and what could not be looked at."""
    return {
        "newest": moment(fresh.newest),
        "oldest": moment(fresh.oldest),
        "stream_lag_s": fresh.stream_lag_s,
        "simulated": fresh.simulated,
        "behind_s": fresh.behind_s,
        "gaps": [gap_json(gap) for gap in fresh.gaps],
    }


def rests_on(receipt: Receipt) -> dict[str, Any]:
    """The searches, how many posts and independent authors carry the answer, the sources that were down.

    `result`: where the question asks for one, `declared` or `not declared`; else empty.
    """
    return asdict(receipt)


def gap_json(gap: Gap) -> dict[str, Any]:
    """What is missing of a source, and why."""
    return gap._asdict() | {"since": moment(gap.since), "until": moment(gap.until)}


def moment(at: int | None) -> str | None:
    """RFC 3339, or None."""
    return None if at is None else iso(at)
