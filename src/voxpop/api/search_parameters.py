"""Read xAI's `search_parameters`: whether posts are searched, and within which bounds; what cannot be is refused.

xAI's Live Search as its API had it: `mode`, `sources` (x, web, news, rss), dates, `max_search_results`,
`return_citations`. `x` is every network of people, `web` all that is heard, the others are feeds (`dialects.py`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal
from urllib.parse import urlsplit

from voxpop import dialects
from voxpop.api.fields import flag, number, refuse, told
from voxpop.dialects import Source
from voxpop.errors import UsageError
from voxpop.messages import Bounds, Look
from voxpop.sources.feeds_places import place
from voxpop.times import MICROS, iso, micros

_PARAM = "search_parameters"
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_HOST = re.compile(r"[\w-]+(\.[\w-]+)*")
_MOST_COUNT = 2**53
_MOST_LINKS = 20
_MODES: Mapping[str, Look] = {"auto": "auto", "on": "on", "off": "off"}
_KINDS: Mapping[str, Literal["x", "web", "news", "rss"]] = {"x": "x", "web": "web", "news": "news", "rss": "rss"}


@dataclass(frozen=True, slots=True)
class Search:
    """What was asked of the search; `cited`: whether the addresses of what is cited are listed."""

    look: Look = "auto"
    bounds: Bounds = field(default_factory=Bounds)
    cited: bool = True


def search_of(raw: Any) -> Search:
    """What `search_parameters` says. Raises FieldError."""
    if raw is None:
        return Search()
    if not isinstance(raw, dict):
        refuse(_PARAM, f"'{_PARAM}' cannot be {told(raw)}.", "Give an object.")
    mode = raw.get("mode")
    if mode is not None and not (isinstance(mode, str) and mode in _MODES):
        refuse(f"{_PARAM}.mode", f"'mode' cannot be {told(mode)}.", "Give auto, on or off.")
    since = moment(raw.get("from_date"), f"{_PARAM}.from_date")
    until = moment(raw.get("to_date"), f"{_PARAM}.to_date", end=True)
    most = number(raw, "max_search_results", Bounds().limit, 1, dialects.MOST_POSTS)
    bounds = dialects.search(_sources(raw.get("sources")), since, until, most)
    cited = raw.get("return_citations") is None or flag(raw, "return_citations")
    return Search(_MODES[mode or "auto"], bounds, cited)


def moment(raw: Any, param: str, *, end: bool = False) -> int | None:
    """A date, or an ISO 8601 time, in microseconds of UTC; of a date its first, or (`end`) its last, moment."""
    if raw in (None, ""):
        return None
    try:
        if isinstance(raw, str) and _DATE.fullmatch(raw):
            day = date.fromisoformat(raw) + timedelta(days=end)
            at = int(datetime.combine(day, time(), UTC).timestamp()) * MICROS - end
        else:
            at = micros(raw)
        iso(at)
    except (TypeError, ValueError, OverflowError, OSError, AttributeError):
        refuse(param, f"'{param.rpartition('.')[2]}' cannot be {told(raw)}.", "Give a date such as 2026-11-21.")
    return at


def _sources(raw: Any) -> list[Source]:
    if raw is None:
        return []
    if not isinstance(raw, list) or len(raw) > len(_KINDS):
        refuse(f"{_PARAM}.sources", f"'sources' cannot be {told(raw)}.", f"Give at most {len(_KINDS)} sources.")
    return [_source(one, f"{_PARAM}.sources[{n}]") for n, one in enumerate(raw)]


def _source(raw: Any, where: str) -> Source:
    named = raw.get("type") if isinstance(raw, dict) else raw  # a bare name is taken too
    if not isinstance(named, str) or named not in _KINDS:
        refuse(where, f"There is no source {told(named)}.", f"Choose of: {', '.join(_KINDS)}.")
    kind, said = _KINDS[named], raw if isinstance(raw, dict) else {}
    if kind == "x":
        views = number(said, "post_view_count", 0, 0, _MOST_COUNT)
        if views:
            cure = "Leave it out, or bound the likes by 'post_favorite_count'."
            refuse(f"{where}.post_view_count", "No network's views are kept here.", cure, code="unsupported")
        included = "included_x_handles" if said.get("included_x_handles") else "x_handles"
        return Source(
            kind,
            handles=texts(said, included, where),
            not_handles=texts(said, "excluded_x_handles", where),
            min_likes=number(said, "post_favorite_count", 0, 0, _MOST_COUNT),
        )
    if kind == "rss":
        return Source(kind, handles=tuple(_feed(link, where) for link in texts(said, "links", where)))
    allowed, excluded = (domains(said, f"{name}_websites", where) for name in ("allowed", "excluded"))
    return Source(kind, domains=allowed, not_domains=excluded)


def domains(said: Mapping[str, Any], name: str, where: str) -> tuple[str, ...]:
    """The hosts of a list of web sites, which may be written as addresses. Raises FieldError."""
    return tuple(_host(text, f"{where}.{name}") for text in texts(said, name, where))


def texts(said: Mapping[str, Any], name: str, where: str) -> tuple[str, ...]:
    """A list of texts; absent or null is an empty one. Raises FieldError."""
    raw = said.get(name)
    if raw is None:
        return ()
    if not isinstance(raw, list) or len(raw) > _MOST_LINKS or not all(isinstance(one, str) for one in raw):
        refuse(
            f"{where}.{name}", f"'{name}' cannot be {told(raw)}.", f"Give a list of at most {_MOST_LINKS} texts."
        )
    return tuple(raw)


def _host(text: str, param: str) -> str:
    try:
        host = (urlsplit(text if "//" in text else f"//{text}").hostname or "").removeprefix("www.").rstrip(".")
    except ValueError:
        host = ""
    if not _HOST.fullmatch(host):
        refuse(param, f"{told(text)} is no web site.", "Write it as a host, such as example.org.")
    return host


def _feed(link: str, where: str) -> str:
    try:
        return f"rss:{place(link).name}"
    except UsageError:
        refuse(f"{where}.links", f"The feed {told(link)} is no web address.", "Write it as https://host/path.")
