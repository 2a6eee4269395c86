"""Read the markup of a post or a news entry as plain text with its links and pictures; it runs and fetches nothing.

A reader of its own, because the standard library's needs quadratic time for some markup, and feeds are untrusted:
here every step is bounded, whatever the text.
"""

import re
from html import unescape
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

MAX_MARKUP = 200_000
_MAX_LINKS, _MAX_URL = 50, 2048
_TAG = re.compile(
    r"<(/?)([a-zA-Z][a-zA-Z0-9:-]{0,31})((?>[^>\"'<]{1,4096}|\"[^\"]{0,4096}\"|'[^']{0,4096}'|[\"'])*)>"
)
_ATTRIBUTE = re.compile(r"([a-zA-Z-]{1,32})\s{0,9}=\s{0,9}(?>\"([^\"]*)\"|'([^']*)'|([^\s\"'>]+))")
_SILENT = frozenset({"script", "style", "template", "head", "title", "noscript", "iframe", "svg", "math"})
_BLOCKS = {"address", "article", "aside", "blockquote", "br", "center", "dd", "div", "dl", "dt", "figcaption"}
_BLOCKS |= {"figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav"}
_BLOCKS |= {"ol", "p", "pre", "section", "table", "tbody", "td", "th", "tr", "ul"}
_SPACE = re.compile(r"[ \t\r\f\v\u00a0]+")
_EDGE = re.compile(r" ?\n[ \n]*")
_LONG_NUMBER = re.compile(r"&#[xX]?[0-9a-fA-F]{9,};?")
_SCHEME = re.compile(r"https?://(?:www\.)?", re.IGNORECASE)
_SHORTENED = ("…", "...")
_NOT_TEXT = re.compile(r"[\x00-\x08\x0e-\x1f\x7f\ud800-\udfff]")


class _Anchor(NamedTuple):
    """An open link: its address, its class, and how many parts came before it."""

    address: str
    marks: frozenset[str]
    begins: int


class Plain(NamedTuple):
    """A text without markup, a line for each block; links that are no mention or hashtag; (address, description)
    of pictures that have one. A link that was shown shortened stands in the text whole."""

    text: str
    links: tuple[str, ...] = ()
    pictures: tuple[tuple[str, str], ...] = ()


def read_html(markup: str, base: str = "") -> Plain:
    """The text of HTML, relative addresses resolved at `base`; what is over 200,000 characters is not read."""
    markup = markup[:MAX_MARKUP]
    parts: list[str] = []
    links: dict[str, None] = {}
    pictures: dict[str, str] = {}
    at, end, pre = 0, len(markup), 0
    anchor: _Anchor | None = None
    while at < end:
        opening = markup.find("<", at)
        if opening < 0:
            opening = end
        text = _characters(markup[at:opening])
        parts += _lines(text) if pre and "\n" in text else (text,)
        if markup.startswith(("<!", "<?"), opening):
            at = _after(markup, "-->" if markup.startswith("<!--", opening) else ">", opening)
            continue
        tag = _TAG.match(markup, opening)
        if tag is None:
            parts.append(markup[opening : opening + 1])
            at = opening + 1
            continue
        at, name = tag.end(), tag[2].lower()
        if name in _SILENT and not tag[1]:
            at = _past(markup, name, at)
        elif name in _BLOCKS:
            parts.append("\n")
            pre += (-1 if tag[1] and pre else not tag[1]) if name == "pre" else 0
        elif name == "a":
            _link(anchor, parts, links)
            anchor = None if tag[1] else _anchor(_attributes(tag[3]), base, len(parts))
        elif name == "img" and not tag[1]:
            _picture(_attributes(tag[3]), base, pictures)
    _link(anchor, parts, links)
    text = _folded(parts) if "<" in markup else "".join(parts)
    return Plain(tidy(text), tuple(links), tuple(pictures.items()))


def tidy(text: str) -> str:
    """A text without control characters, its spaces single and its lines without edges."""
    return _EDGE.sub("\n", _SPACE.sub(" ", _NOT_TEXT.sub("", text))).strip()


def web_address(value: object, base: str = "") -> str:
    """An absolute http(s) address of at most 2,048 characters; empty where the value is none."""
    if not isinstance(value, str) or not value.strip() or len(value) > _MAX_URL:
        return ""
    try:
        joined = urljoin(base, value.strip())
        urlsplit(joined)
    except ValueError:
        return ""
    joined = _NOT_TEXT.sub("", joined)
    fits = joined.lower().startswith(("https://", "http://")) and len(joined) <= _MAX_URL
    return joined if fits and not any(c.isspace() for c in joined) else ""


def _folded(parts: list[str]) -> str:
    """Line breaks of the markup itself are spaces; those that blocks made stay."""
    return "".join(part if part == "\n" else part.replace("\n", " ") for part in parts)


def _after(markup: str, mark: str, start: int) -> int:
    found = markup.find(mark, start)
    return len(markup) if found < 0 else found + len(mark)


def _past(markup: str, name: str, start: int) -> int:
    """After the end of an element whose content is not shown; the end of all where it is never closed."""
    closing = re.compile(f"</{name}[^>]{{0,4096}}>", re.IGNORECASE).search(markup, start)
    return closing.end() if closing else len(markup)


def _characters(text: str) -> str:
    """Text with its entities resolved; a number longer than any character's would raise in the standard library."""
    return unescape(_LONG_NUMBER.sub("\ufffd", text)) if "&" in text else text


def _lines(text: str) -> list[str]:
    """Lines as they were written, with the breaks between them as blocks make them."""
    return [part for line in text.split("\n") for part in (line, "\n")][:-1]


def _attributes(text: str) -> dict[str, str]:
    return {m[1].lower(): _characters(m[2] or m[3] or m[4] or "") for m in _ATTRIBUTE.finditer(text)}


def _anchor(attributes: dict[str, str], base: str, begins: int) -> _Anchor:
    marks = frozenset(attributes.get("class", "").split())
    return _Anchor(web_address(attributes.get("href"), base), marks, begins)


def _link(anchor: _Anchor | None, parts: list[str], links: dict[str, None]) -> None:
    """Keep the address of a link that ends here, unless it is a mention or hashtag and looks like one."""
    if anchor is None or not anchor.address:
        return
    shown = "".join(parts[anchor.begins :])
    if {"mention", "hashtag"} & anchor.marks and shown.lstrip().startswith(("@", "#")):
        return
    if len(links) < _MAX_LINKS:
        links[anchor.address] = None
    bare = shown.strip()
    if bare.endswith(_SHORTENED) and _bare(anchor.address).startswith(_bare(bare.rstrip("….").rstrip())):
        parts[anchor.begins :] = [shown[: len(shown) - len(shown.lstrip())] + anchor.address]


def _bare(address: str) -> str:
    return _SCHEME.sub("", address, count=1)


def _picture(attributes: dict[str, str], base: str, pictures: dict[str, str]) -> None:
    address, alt = web_address(attributes.get("src"), base), tidy(attributes.get("alt", ""))
    if address and alt and len(pictures) < _MAX_LINKS:
        pictures[address] = alt
