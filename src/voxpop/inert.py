"""Make a stranger's text harmless in a line of ours: it keeps the words, and nothing that steers, marks or hides.

What it takes away is what no reader sees (controls, format characters, tags, private use) and what would be read as
ours: line breaks, brackets of citations and of chat templates, the quotation marks around a quotation.
"""

import re
from dataclasses import replace
from functools import lru_cache

from voxpop.posts import Author, Post

_MARKS = (
    "\u0300-\u036f\u0483-\u0489\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0e31\u0e34-\u0e3a\u0e47-\u0e4e"
    "\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe00-\ufe0f\ufe20-\ufe2f"
)
# ZWJ and ZWNJ are part of the writing between letters of other alphabets, and in emoji.
_JOINER = r"[\u200c\u200d](?![^\x00-\u02af\u2000-\u206f])|(?<![^\x00-\u02af\u2000-\u206f])[\u200c\u200d]"
_HIDDEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f"
    r"\u202a-\u202e\u2060-\u206f\u3164\ud800-\udfff\ue000-\uf8ff\ufdd0-\ufdef\ufeff\uffa0\ufff0-\ufffb\uffff"
    rf"\ufffe\U000e0000-\U000e0fff\U000f0000-\U0010ffff]|{_JOINER}|(?<=[{_MARKS}]{{2}})[{_MARKS}]+"
)
_BETWEEN = re.compile(r"(?<=\S)[\x00-\x08\x0b-\x1f\x7f-\x9f]+(?=[^\s\x00-\x1f])")  # joined, "1" and "1" are "11"
_BREAKS = re.compile(r"[\s\x1c-\x1f\x85\u2028\u2029]+")
_BRACKETS = str.maketrans("[]［］【】〔〕⟦⟧〚〛<>＜＞", "()()()()()()‹›‹›")
_NESTED = str.maketrans('“”„‟"＂″«»「」｢｣〝〞〟', "‘’‚‘''′‹›『』『』‘’’")
_NO_HANDLE = re.compile(r"[^\w.@-]+")
_WEB = re.compile(r"https?://[^\s\x00-\x20\x7f\\\"'<>`]+", re.IGNORECASE)
_LONGEST, _LONGEST_NAME = 500, 100


def visible(text: str) -> str:
    """The text without what nobody sees, lines and tabs kept; more than two accents on a letter are dropped."""
    return _HIDDEN.sub("", _BETWEEN.sub(" ", text))


def line(text: str) -> str:
    """The text as one line, in which nothing is a marker of ours or of a chat template: `[3]` is `(3)`."""
    return " ".join(_BREAKS.sub(" ", visible(_BREAKS.sub(" ", text))).split()).translate(_BRACKETS)


@lru_cache(maxsize=1024)
def quotable(text: str) -> str:
    """The text as it stands between our quotation marks: its own are nested ones, so that it cannot end them."""
    said = line(text).translate(_NESTED)
    return said if len(said) <= _LONGEST else said[: said.rfind(" ", _LONGEST // 2, _LONGEST) % _LONGEST] + " …"


def signed(post: Post) -> Post:
    """The post with a handle of letters, digits and `.@-_`, and a name of one line; its text is left as it is.

    No handle comes to look like another: what may not stand in it is `_`, and a part that is not ASCII is written
    as domain names are (RFC 3492).
    """
    return replace(post, author=_named(post.author))


@lru_cache(maxsize=8192)
def _named(author: Author) -> Author:
    handle, name = _handle(author.handle), line(author.name)[:_LONGEST_NAME]
    return author._replace(handle=handle, name=name)


def address(url: str) -> str:
    """A web address, or nothing: no other scheme, and no character that could end it where it is written."""
    return url if _WEB.fullmatch(url) else ""


def _handle(handle: str) -> str:
    return ".".join(_ascii(_NO_HANDLE.sub("_", label)) for label in handle.split("."))[:_LONGEST_NAME]


def _ascii(label: str) -> str:
    return label if label.isascii() else f"xn--{label.encode('punycode').decode('ascii')}"
