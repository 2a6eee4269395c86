"""What the command line prints of posts and answers: text for people, or the documented JSON; no decisions."""

from collections.abc import Mapping
from typing import Any

from voxpop.api.page import card, moment, receipt, rule_json
from voxpop.inert import line, visible
from voxpop.messages import AnswerEvent, Citation, Done, Found, Gap, Passage, Receipt, Refused, Text, Withheld
from voxpop.store import Hit
from voxpop.text import counted
from voxpop.times import MICROS, iso

_BEHIND_S = 60


class Answer:
    """One answer as it comes in, for `voxpop ask`."""

    def __init__(self) -> None:
        self.texts: list[Text] = []
        self.cited: dict[int, Passage] = {}
        self.withheld: list[Withheld] = []
        self.refused: Refused | None = None
        self.done: Done | None = None

    def add(self, event: AnswerEvent) -> None:
        if isinstance(event, Text):
            self.texts.append(event)
        elif isinstance(event, Citation):
            self.cited[event.passage.number] = event.passage
        elif isinstance(event, Withheld):
            self.withheld.append(event)
        elif isinstance(event, Refused):
            self.refused = event
        elif isinstance(event, Done):
            self.done = event

    def json(self) -> dict[str, Any]:
        """The contract of `voxpop ask --json`."""
        if self.done is None:
            raise RuntimeError("the answer has not ended")
        kinds = ("sentence", "notice", "chat")
        whole = "".join(t.text if t.kind == "chat" else f"{marked(t)}\n" for t in self.texts if t.kind in kinds)
        end = receipt(self.done)
        keys = ("n", "id", "author", "url", "created_at", "witnessed_at", "text")
        return {
            "answer": whole.strip(),
            "answerable": end["answerable"],
            "sentences": [
                {"text": t.text, "citations": list(t.citations)} for t in self.texts if t.kind == "sentence"
            ],
            "quip": next((t.text for t in self.texts if t.kind == "quip"), ""),
            "citations": [{k: card(p)[k] for k in keys} for _, p in sorted(self.cited.items())],
            "withheld": [{"text": w.text, "reason": w.reason} for w in self.withheld],
            **{k: end[k] for k in ("freshness", "receipt", "engine", "voice", "usage", "timings", "id")},
            **rule_json(self.refused),
        }

    def sources(self, now: int) -> str:
        """The cited posts, a block each."""
        return plain("\n".join(_source(p, now) for _, p in sorted(self.cited.items())))

    def footer(self, now: int) -> str:
        """One line: how fresh, how fast, by which engine; and how much was withheld."""
        if self.done is None:
            return ""
        newest = self.done.freshness.newest
        parts = [f"newest evidence {ago(now - newest)}" if newest is not None else "no evidence"]
        if self.done.freshness.stream_lag_s is not None:
            parts.append(f"stream lag {self.done.freshness.stream_lag_s:.1f} s")
        if (behind := self.done.freshness.behind_s or 0) >= _BEHIND_S:
            parts.append(f"{length(behind)} behind, catching up")
        parts += [gap_text(gap, now) for gap in self.done.freshness.gaps]
        parts += _rests_on(self.done.receipt)
        parts += [f"{self.done.timings.total_ms:.0f} ms", f"engine {self.done.engine}"]
        if self.withheld:
            parts.append(f"{len(self.withheld)} withheld ({self.withheld[0].reason})")
        parts += [f"answer {self.done.id}"] if self.done.id else []
        return plain(" · ".join(parts))


def _rests_on(receipt: Receipt) -> list[str]:
    posts, authors = counted(receipt.posts, "post"), counted(receipt.independent_authors, "author")
    parts = [f"{posts} by {authors}"] if receipt.posts else []
    parts += [f"result {receipt.result}"] if receipt.result else []
    return [*parts, f"{', '.join(receipt.sources_down)} down"] if receipt.sources_down else parts


def plain(text: str) -> str:
    """A stranger's text for a terminal: what would steer it or turn the writing round is left out."""
    return visible(text)


def marked(text: Text) -> str:
    """A sentence with its `[n]`."""
    return text.text + "".join(f"{'' if i else ' '}[{n}]" for i, n in enumerate(text.citations))


def because(text: Text, cited: Mapping[int, Passage]) -> str:
    """Why a sentence is there: its outcome and the reason, then each post that it cites and why it was chosen."""
    support = f" (support {text.support:.2f})" if text.support is not None else ""
    rows = [f"{text.outcome}{': ' if text.why else ''}{text.why}{support}"]
    rows += [f"[{n}] {_chosen(cited[n])}" for n in text.citations if n in cited]
    return plain("\n".join(f"    {row}" for row in rows))


def _chosen(passage: Passage) -> str:
    who = {"unknown": "unlisted account"}.get(passage.author_class, passage.author_class)
    crowd = f"{passage.duplicates} posts by {counted(passage.independent_authors, 'author')}"
    parts = [who, passage.tone, crowd if passage.duplicates > 1 else "", *passage.why]
    return " · ".join(line(part) for part in parts if part)


def progress(event: AnswerEvent, now: int) -> str:
    """What to say while the answer is made; empty for most events."""
    if isinstance(event, Found):
        newest = f", newest {ago(now - event.newest)}" if event.newest is not None else ""
        return f"{event.posts} posts{newest}, {event.took_ms:.0f} ms"
    return ""


def hits_json(hits: list[Hit], took_ms: float) -> dict[str, Any]:
    """The contract of `voxpop search --json`."""
    return {"posts": [_hit_json(h) for h in hits], "took_ms": round(took_ms, 2)}


def hit_text(hit: Hit, now: int) -> str:
    """One found post, for people."""
    post = hit.post
    copies = f" · {hit.duplicates} posts, {hit.independent_authors} authors" if hit.duplicates > 1 else ""
    who = f"@{post.author.handle or post.author.name or '?'}"
    head = f"{who} · {ago(now - post.witnessed_at)} · {hit.score:.2f}{copies}"
    return plain(f"{head}\n  {' '.join(post.text.split())}\n  {post.url or post.id}")


def ago(micros: int) -> str:
    """An age for people: `3 s ago`, `12 min ago`, `5 h ago`, `9 days ago`."""
    seconds = max(0, micros) // MICROS
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size or (unit != "days" and seconds >= size):
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def length(seconds: float) -> str:
    """A length of time for people: `3 s`, `12 min`, `5 h`, `9 days`."""
    return ago(int(seconds * MICROS)).removesuffix(" ago")


def gap_text(gap: Gap, now: int) -> str:
    """What is missing, in UTC: `no posts from bluesky 14:05–16:20 UTC: the host keeps 36 h`."""
    since, until, today = iso(gap.since), iso(gap.until), iso(now)[:10]
    ends = [t[11:16] if t[:10] == today else f"{t[:10]} {t[11:16]}" for t in (since, until)]
    if since[:10] == until[:10]:
        ends[1] = until[11:16]
    return plain(f"no posts from {gap.source} {'–'.join(ends)} UTC: {gap.why}")


def _hit_json(hit: Hit) -> dict[str, Any]:
    post = hit.post
    return {
        "id": post.id,
        "network": post.network,
        "author": {"handle": post.author.handle, "name": post.author.name},
        "created_at": moment(post.created_at),
        "witnessed_at": moment(post.witnessed_at),
        "text": post.text,
        "url": post.url,
        "score": hit.score,
        "duplicates": hit.duplicates,
        "independent_authors": hit.independent_authors,
    }


def handle(passage: Passage) -> str:
    """Whose post it is."""
    author = passage.post.author
    return f"@{author.handle}" if author.handle else author.name or "unknown account"


def _source(passage: Passage, now: int) -> str:
    post = passage.post
    copies = (
        f", {passage.duplicates} posts by {passage.independent_authors} authors" if passage.duplicates > 1 else ""
    )
    when = f"{iso(post.witnessed_at)[:19]}Z ({ago(now - post.witnessed_at)})"
    return f"[{passage.number}] {handle(passage)} on {post.network}, {when}{copies}\n    {post.url or post.id}"
