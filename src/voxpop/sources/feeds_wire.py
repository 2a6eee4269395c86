"""Turn the bytes of a feed (RSS, Atom, RDF, JSON Feed) into entries, or into the reason why they are no feed.

All that it gives is plain text and whole numbers, so that a reader in another process can hand it over as JSON.
"""

import calendar
import io
import re
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import feedparser
import orjson

from voxpop.sources.fields import claimed, language
from voxpop.sources.html_text import read_html, tidy, web_address
from voxpop.times import MICROS

MAX_ENTRIES, MAX_TEXT, MAX_TITLE = 1000, 3000, 300
_MAX_MEDIA, _MAX_LINKS, _MAX_ID = 10, 20, 4096
_LATEST = 253_402_300_799 * MICROS  # the last second of the year 9999
_PERIOD_S = {"hourly": 3600, "daily": 86_400, "weekly": 604_800, "monthly": 2_592_000, "yearly": 31_536_000}
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_HEAD = 65_536
_SKIPPED = re.compile(rb"<skip(hours|days)\s*>([^!]{0,2000}?)</skip\1\s*>", re.IGNORECASE)
_SKIPPED_ONE = re.compile(rb"<(?:hour|day)\s*>\s{0,99}(\w{1,12})\s{0,99}</", re.IGNORECASE)

Attached = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry.

    `text` is the title and the summary, `claimed` and `changed` are the feed's own times in microseconds (-1 where
    it gives none), `media` holds (kind, address, description).
    """

    id: str
    text: str
    url: str = ""
    lang: str = ""
    claimed: int = -1
    changed: int = -1
    media: tuple[Attached, ...] = ()
    links: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Feed:
    """What one look at a feed gave.

    `pause_s` is how long the feed asks to be left alone, `skip_hours` (0 to 23) and `skip_days` (0 is Monday) when,
    both in UTC; `expired` says that it will never change again.
    """

    title: str = ""
    entries: tuple[Entry, ...] = ()
    pause_s: float = 0.0
    skip_hours: tuple[int, ...] = ()
    skip_days: tuple[int, ...] = ()
    expired: bool = False
    dropped: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, values: dict[str, Any]) -> "Feed":
        """A feed from what `orjson` made of one."""
        entries = tuple(
            Entry(**e | {"media": tuple(map(tuple, e["media"])), "links": tuple(e["links"])})
            for e in values["entries"]
        )
        skips = {name: tuple(values[name]) for name in ("skip_hours", "skip_days")}
        return cls(**values | skips | {"entries": entries})


def read_feed(body: bytes, url: str = "", content_type: str = "") -> Feed | str:
    """The feed, or the reason why these bytes are none. `url` resolves relative addresses."""
    start = body[:1024].lstrip(b"\xef\xbb\xbf \t\r\n")
    if not start:
        return "empty"
    return _json_feed(body, url) if start.startswith(b"{") else _xml_feed(body, url, content_type)


# -- RSS, Atom, RDF ---------------------------------------------------------------------------------------------


def _xml_feed(body: bytes, url: str, content_type: str) -> Feed | str:
    headers = {"content-location": url} | ({"content-type": content_type} if content_type else {})
    try:
        # A stream, since feedparser opens a plain text as an address or the path of a file.
        parsed = feedparser.parse(
            io.BytesIO(body), response_headers=headers, sanitize_html=False, resolve_relative_uris=False
        )
    except Exception:  # the library raises whatever strange bytes make it stumble over
        return "unreadable"
    if not parsed.entries and not parsed.get("version"):
        return "not a feed"
    about = parsed.feed
    lang = language(dict.get(about, "language") or dict.get(about.get("title_detail") or {}, "language"))
    kept = _Kept()
    for raw in parsed.entries[:MAX_ENTRIES]:
        kept.add(_xml_entry(raw, url, lang))
    kept.over(len(parsed.entries))
    hours, days = _skips(body)
    return Feed(
        _line(_plain(about.get("title_detail"), url)[0])[:MAX_TITLE],
        tuple(kept.entries),
        _pause_s(dict.get(about, "ttl"), dict.get(about, "sy_updateperiod"), dict.get(about, "sy_updatefrequency")),
        hours,
        days,
        dropped=dict(kept.dropped),
    )


def _xml_entry(raw: Any, url: str, lang: str) -> Entry | str:
    title = _line(_plain(raw.get("title_detail"), url)[0])
    contents = [c for c in dict.get(raw, "content") or () if isinstance(c, dict)]
    summary, links, pictures = _plain(raw.get("summary_detail"), url)
    if not summary:
        for content in contents:
            summary, links, pictures = _plain(content, url)
            if summary:
                break
    link = web_address(dict.get(raw, "link"), url)
    described = next((tidy(c["value"]) for c in contents if c.get("type") == "text/plain" and c.get("value")), "")
    attached = [*_enclosed(raw, url, described), *(("image", address, alt) for address, alt in pictures)]
    return _entry(
        dict.get(raw, "id"),
        title,
        summary,
        link,
        language(dict.get(raw.get("title_detail") or {}, "language")) or lang,
        (_instant(dict.get(raw, "published_parsed")), _instant(dict.get(raw, "updated_parsed"))),
        attached,
        links,
    )


def _plain(detail: Any, url: str) -> tuple[str, tuple[str, ...], tuple[tuple[str, str], ...]]:
    if not isinstance(detail, dict) or not isinstance(detail.get("value"), str):
        return "", (), ()
    value = detail["value"]
    if detail.get("type") == "text/plain":
        return tidy(value), (), ()
    plain = read_html(value, web_address(detail.get("base")) or url)
    return plain.text, plain.links, plain.pictures


def _enclosed(raw: Any, url: str, described: str) -> Iterable[Attached]:
    for link in dict.get(raw, "links") or ():
        if link.get("rel") == "enclosure":
            yield (
                _kind(link.get("type")),
                web_address(link.get("href"), url),
                tidy(str(link.get("title") or ""))[:MAX_TITLE],
            )
    for media in dict.get(raw, "media_content") or ():
        yield _kind(media.get("medium") or media.get("type")), web_address(media.get("url"), url), described
        described = ""
    for picture in dict.get(raw, "media_thumbnail") or ():
        yield "image", web_address(picture.get("url"), url), ""


def _kind(mime: object) -> str:
    main = str(mime or "").partition("/")[0].strip().lower()
    return main if main in ("image", "video", "audio") else "file"


def _instant(parsed: Any) -> int:
    try:
        at = calendar.timegm(parsed) * MICROS if isinstance(parsed, time.struct_time) else -1
    except (ValueError, OverflowError, TypeError):
        return -1
    return at if 0 <= at <= _LATEST else -1


def _pause_s(ttl: object, period: object, frequency: object) -> float:
    """RSS 2.0's `ttl` is in minutes; RSS 1.0's syndication module says how often in which period."""
    minutes = _number(ttl)
    every = _PERIOD_S.get(str(period or "").strip().lower(), 0)
    return max(minutes * 60.0, every / max(_number(frequency), 1))


def _number(value: object) -> int:
    text = str(value or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 7 else 0


def _skips(body: bytes) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """RSS 2.0's `skipHours` and `skipDays`, of which feedparser keeps only the last."""
    hours: set[int] = set()
    days: set[int] = set()
    for kind, inner in _SKIPPED.findall(body[:_HEAD]):
        for value in _SKIPPED_ONE.findall(inner):
            word = value.decode("ascii", "replace").lower()
            if kind.lower() == b"hours" and word.isascii() and word.isdigit() and int(word) <= 24:
                hours.add(int(word) % 24)
            elif kind.lower() == b"days" and word in _DAYS:
                days.add(_DAYS.index(word))
    return tuple(sorted(hours)), tuple(sorted(days))


# -- JSON Feed (jsonfeed.org/version/1.1) -----------------------------------------------------------------------


def _json_feed(body: bytes, url: str) -> Feed | str:
    try:
        feed = orjson.loads(body.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError:
        return "not JSON"
    version, items = feed.get("version"), feed.get("items")
    if not isinstance(version, str) or "jsonfeed.org/version/" not in version or not isinstance(items, list):
        return "not a feed"
    kept, lang = _Kept(), language(feed.get("language"))
    for item in items[:MAX_ENTRIES]:
        kept.add(_json_entry(item, url, lang) if isinstance(item, dict) else "entry: not an object")
    kept.over(len(items))
    return Feed(
        _line(_text(feed.get("title")))[:MAX_TITLE],
        tuple(kept.entries),
        expired=feed.get("expired") is True,
        dropped=dict(kept.dropped),
    )


def _json_entry(item: dict[str, Any], url: str, lang: str) -> Entry | str:
    summary = _text(item.get("summary")) or _text(item.get("content_text"))
    links: tuple[str, ...] = ()
    pictures: tuple[tuple[str, str], ...] = ()
    if not summary and isinstance(item.get("content_html"), str):
        summary, links, pictures = read_html(item["content_html"], url)
    attached: list[Attached] = [("image", web_address(item.get("image"), url), "")]
    files = item.get("attachments")
    for one in files if isinstance(files, list) else ():
        if isinstance(one, dict):
            attached.append(
                (_kind(one.get("mime_type")), web_address(one.get("url"), url), _text(one.get("title"))[:MAX_TITLE])
            )
    attached += (("image", address, alt) for address, alt in pictures)
    outer = web_address(item.get("external_url"), url)
    own = item.get("id")
    return _entry(
        str(own) if isinstance(own, int | float) else own,
        _line(_text(item.get("title"))),
        summary,
        web_address(item.get("url"), url) or outer,
        language(item.get("language")) or lang,
        (_claim(item.get("date_published")), _claim(item.get("date_modified"))),
        attached,
        (outer, *links),
    )


def _text(value: object) -> str:
    return tidy(value) if isinstance(value, str) else ""


def _claim(value: object) -> int:
    at = claimed(value, -1)
    return at if at <= _LATEST else -1


# -- both -------------------------------------------------------------------------------------------------------


class _Kept:
    """The entries that can be used, the first of those with one id, and what was dropped of the others."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.dropped: Counter[str] = Counter()
        self._ids: set[str] = set()

    def add(self, entry: Entry | str) -> None:
        if isinstance(entry, str):
            self.dropped[entry] += 1
        elif entry.id in self._ids:
            self.dropped["entry: repeated id"] += 1
        else:
            self._ids.add(entry.id)
            self.entries.append(entry)

    def over(self, found: int) -> None:
        if found > MAX_ENTRIES:
            self.dropped["entry: too many"] += found - MAX_ENTRIES


def _entry(
    own: object,
    title: str,
    summary: str,
    url: str,
    lang: str,
    times: tuple[int, int],
    attached: Iterable[Attached],
    links: Iterable[str],
) -> Entry | str:
    text = summary if not title or summary.startswith(title) else f"{title}\n{summary}".strip()
    text = _clipped(text)
    if not text:
        return "entry: no text"
    media = {a[1]: a for a in attached if a[1]}
    claimed, changed = times
    return Entry(
        _identity(own, url, text),
        text,
        url,
        lang,
        claimed if claimed >= 0 else changed,
        changed if changed >= 0 else claimed,
        tuple(media.values())[:_MAX_MEDIA],
        tuple(dict.fromkeys(link for link in links if link and link != url))[:_MAX_LINKS],
    )


def _identity(own: object, url: str, text: str) -> str:
    """The entry's own id, else its address, else what it says."""
    given = tidy(own[:_MAX_ID]) if isinstance(own, str) else ""
    return given or url or "text:" + blake2b(text.encode(), digest_size=12).hexdigest()


def _clipped(text: str) -> str:
    """At most 3,000 characters, cut between words."""
    if len(text) <= MAX_TEXT:
        return text
    cut = text[: MAX_TEXT - 1]
    return (cut[: cut.rfind(" ")] if " " in cut[-200:] else cut).rstrip() + "…"


def _line(text: str) -> str:
    return " ".join(text.split())
