"""Turn payloads of X's API v2 into posts; bad input has a reason and is counted, never raised.

One payload is one line of the filtered stream, one page of a search or one lookup: `data` (a post or a list),
`includes`, `errors`, `meta`. A post's id, text and time belong together on X: an edit makes a new id. So the time
in the id, which X's own clock wrote, is when the text could first be known, and it is what `witnessed_at` says,
never later than our own clock. Handles, media and quoted posts come from `includes`.
"""

import re
from collections import Counter
from collections.abc import Iterable
from html import unescape
from typing import Any, NamedTuple

import orjson

from voxpop.posts import Author, Engagement, Media, Post
from voxpop.sources.fields import bio, claimed, count, language, web

NETWORK = "x"
MAX_TEXT = 30_000
WORST = 3  # post objects that one post can bring: itself, what it answers, what it quotes
EPOCH_MS = 1_288_834_974_657
_FIRST_SNOWFLAKE = 29_700_859_247
_MOST = 1000
_MOST_URLS = 32
_AHEAD_OK = 600_000_000  # ids are of X's clock, not ours
_ID = re.compile(r"[0-9]{1,19}").fullmatch
_HANDLE = re.compile(r"[A-Za-z0-9_]{1,32}").fullmatch
_SHORT = re.compile(r"https?://t\.co/[A-Za-z0-9]{1,64}")
_OWN_MEDIA = re.compile(r"https://(?:x|twitter)\.com/\w+/status/\d+/(?:photo|video)/").match
_KIND = {"photo": "image", "animated_gif": "image", "video": "video"}
_MARKS = {"government": "government", "business": "organisation"}  # `blue` is for sale, and says nothing
_GONE = ("resource-not-found", "not-authorized-for-resource", "disallowed-resource")
Json = dict[str, Any]

FIELDS = {
    "tweet.fields": "author_id,created_at,edit_history_tweet_ids,entities,attachments,lang,note_tweet,"
    "public_metrics,referenced_tweets,conversation_id,withheld",
    "expansions": "author_id,attachments.media_keys,referenced_tweets.id,referenced_tweets.id.author_id",
    "user.fields": "name,username,verified_type,parody,created_at,description",
    "media.fields": "type,url,preview_image_url,alt_text",
}


class Problem(NamedTuple):
    """X's own words about what it could not do; `kind` is the last part of the problem's address."""

    kind: str
    title: str
    detail: str
    value: str = ""

    def __str__(self) -> str:
        return self.detail or self.title or self.kind or "no reason given"


class Payload(NamedTuple):
    """What a payload held.

    `posts` are the `asked` ones, and then those that they quote or answer. `billed` counts every post object
    that X sent, usable or not. `gone` are the ids of posts that X no longer shows. `problems` are all others.
    `replaced` are ids of earlier versions of an edited post. `next_token` leads to the next page.
    """

    posts: list[Post]
    billed: int
    gone: list[str]
    replaced: list[str]
    problems: list[Problem]
    dropped: Counter[str]
    newest: int = 0
    next_token: str = ""
    asked: int = 0


def read(body: bytes, now: int) -> Payload:
    """A payload that came at `now` (microseconds); what is wrong with it is in `dropped`."""
    dropped: Counter[str] = Counter()
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _nothing("not JSON")
    if type(payload) is not dict:
        return _nothing("not an object")
    data, includes = payload.get("data"), payload.get("includes")
    asked = _objects(data if type(data) is list else [data])
    includes = includes if type(includes) is dict else {}
    beside = _objects(includes.get("tweets"))
    reading = _Reading(_users(includes.get("users")), _media(includes.get("media")), now, dropped)
    posts: dict[str, Post] = {}
    gone: list[str] = []
    replaced: list[str] = []
    known = {tweet.get("id") for tweet in beside if type(tweet.get("id")) is str}
    for tweet in asked:
        reading.add(tweet, posts, gone, known)
    first = len(posts)
    for tweet in beside:
        reading.add(tweet, posts, gone, known)
    for tweet in (*asked, *beside):
        replaced += _earlier(tweet)
    lost, problems = _problems(payload)
    meta = payload.get("meta")
    token = meta.get("next_token") if type(meta) is dict else ""
    return Payload(
        list(posts.values()),
        len(asked) + len(beside),
        gone + lost,
        replaced,
        problems,
        dropped,
        _newest(asked, now),
        token if type(token) is str and len(token) <= 512 else "",
        first,
    )


def uri(id_: object) -> str:
    """The post's id in the store, as a recording has it too."""
    return f"{NETWORK}:{id_}"


def bare(id_: str) -> str:
    """X's own id of a post of the store; empty where it is none of X."""
    network, _, number = id_.partition(":")
    return number if network == NETWORK and _ID(number) else ""


def instant_of(id_: int) -> int:
    """When X made an id, in microseconds (snowflake: milliseconds above 22 bits); 0 for older, plain ids."""
    return ((id_ >> 22) + EPOCH_MS) * 1000 if id_ >= _FIRST_SNOWFLAKE else 0


def id_at(at: int) -> int:
    """The smallest id of a moment (microseconds)."""
    return max(at // 1000 - EPOCH_MS, 0) << 22


class _Reading(NamedTuple):
    """What posts of one payload share."""

    users: dict[str, Author]
    media: dict[str, Media]
    now: int
    dropped: Counter[str]

    def add(self, tweet: Json, posts: dict[str, Post], gone: list[str], known: set[Any]) -> None:
        """A post, or the reason why it is none; a repost is none, but what it reposts is."""
        if not _is_id(tweet.get("id")):
            self.dropped["bad id"] += 1
        elif why := _taken_back(tweet):
            gone.append(tweet["id"])
            self.dropped[why] += 1
        else:
            references = _references(tweet.get("referenced_tweets"))
            if "retweeted" in references:
                if references["retweeted"] not in known:
                    self.dropped["repost of a post that did not come"] += 1
                return
            post = self._post(tweet, references)
            if isinstance(post, str):
                self.dropped[post] += 1
            else:
                posts.setdefault(post.id, post)

    def _post(self, tweet: Json, references: dict[str, str]) -> Post | str:
        id_, author_id = tweet["id"], tweet.get("author_id")
        raw, entities = _text(tweet)
        if not _is_id(author_id):
            return "no author"
        at = instant_of(int(id_)) or claimed(tweet.get("created_at"), 0)
        if not at or at > self.now + _AHEAD_OK:
            return "bad time"
        urls = dict(_urls(entities))
        text = _shown(raw, urls)
        media = self._attached(tweet.get("attachments"))
        if (not text or text.isspace()) and not any(m.alt for m in media):
            return "no text"
        if len(text) > MAX_TEXT:
            return "text too long"
        author = self.users.get(str(author_id)) or Author(uri(author_id))
        reply, root = references.get("replied_to", ""), tweet.get("conversation_id")
        return Post(
            uri(id_),
            NETWORK,
            author,
            text,
            at,
            min(at, self.now),
            f"https://x.com/{author.handle or 'i'}/status/{id_}",
            language(tweet.get("lang")),
            uri(reply) if reply else "",
            uri(root) if reply and _is_id(root) else "",
            uri(references["quoted"]) if "quoted" in references else "",
            media,
            tuple(dict.fromkeys(long for long in urls.values() if not _own_media(long))),
            _engagement(tweet.get("public_metrics")),
        )

    def _attached(self, attachments: object) -> tuple[Media, ...]:
        keys = attachments.get("media_keys") if type(attachments) is dict else None
        if type(keys) is not list:
            return ()
        return tuple(self.media[k] for k in keys[:16] if type(k) is str and k in self.media)


def _nothing(reason: str) -> Payload:
    return Payload([], 0, [], [], [], Counter([reason]))


def _objects(value: object) -> list[Json]:
    return [v for v in value[:_MOST] if type(v) is dict] if type(value) is list else []


def _newest(tweets: list[Json], now: int) -> int:
    """The newest id that X can have made by now: one of the far future would end every search after it."""
    return max(
        (int(t["id"]) for t in tweets if _is_id(t.get("id")) and int(t["id"]) < id_at(now + _AHEAD_OK)), default=0
    )


def _is_id(value: object) -> bool:
    return type(value) is str and _ID(value) is not None


def _users(value: object) -> dict[str, Author]:
    found: dict[str, Author] = {}
    for user in _objects(value):
        id_, handle, name = user.get("id"), user.get("username"), user.get("name")
        if _is_id(id_) and type(handle) is str and _HANDLE(handle):
            found[str(id_)] = Author(
                uri(id_),
                handle,
                name[:256] if type(name) is str else "",
                _MARKS.get(str(user.get("verified_type")), ""),
                "parody" if user.get("parody") is True else "",
                claimed(user.get("created_at"), 0),
                bio(user.get("description")),
            )
    return found


def _media(value: object) -> dict[str, Media]:
    found: dict[str, Media] = {}
    for item in _objects(value):
        key, kind, alt = item.get("media_key"), item.get("type"), item.get("alt_text")
        if type(key) is str and type(kind) is str and kind in _KIND:
            address = web(item.get("url")) or web(item.get("preview_image_url"))
            found[key] = Media(_KIND[kind], address, alt[:MAX_TEXT] if type(alt) is str else "")
    return found


def _references(value: object) -> dict[str, str]:
    return {r["type"]: r["id"] for r in _objects(value) if type(r.get("type")) is str and _is_id(r.get("id"))}


def _earlier(tweet: Json) -> list[str]:
    """Every edit has an id of its own; the list ends with the newest."""
    ids = tweet.get("edit_history_tweet_ids")
    if type(ids) is not list or len(ids) < 2 or tweet.get("id") != ids[-1]:
        return []
    return [i for i in ids[:-1] if _is_id(i)][:16]


def _text(tweet: Json) -> tuple[str, object]:
    """A long post's `text` is cut: the whole of it, with its own entities, is in `note_tweet`."""
    note = tweet.get("note_tweet")
    if type(note) is dict and type(note.get("text")) is str and note["text"]:
        return note["text"], note.get("entities") or tweet.get("entities")
    text = tweet.get("text")
    return (text if type(text) is str else ""), tweet.get("entities")


def _urls(entities: object) -> Iterable[tuple[str, str]]:
    """(as it stands in the text, where it leads)."""
    listed = entities.get("urls") if type(entities) is dict else None
    for entity in _objects(listed)[:_MOST_URLS]:
        short, long = web(entity.get("url")), web(entity.get("unwound_url")) or web(entity.get("expanded_url"))
        if short and long:
            yield short, long


def _shown(text: str, urls: dict[str, str]) -> str:
    """The text as a reader sees it: addresses in full, entities of HTML as what they stand for."""
    text = unescape(text[: 2 * MAX_TEXT]) if "&" in text else text[: 2 * MAX_TEXT]
    if not urls:
        return text
    # One pass, and no more addresses than a post can have: what replaces them is not looked at again.
    return _SHORT.sub(lambda m: _in_full(m[0], urls), text, count=_MOST_URLS).rstrip()


def _in_full(short: str, urls: dict[str, str]) -> str:
    long = urls.get(short, short)
    return "" if _own_media(long) else long


def _own_media(address: str) -> bool:
    """X puts an address of its own at the end of a text that has a picture: it leads to the post itself."""
    return _OWN_MEDIA(address) is not None


def _engagement(counts: object) -> Engagement:
    if type(counts) is not dict:
        return Engagement()
    likes, reposts, replies = (count(counts.get(f"{name}_count")) for name in ("like", "retweet", "reply"))
    return Engagement(likes, reposts, replies)


def _taken_back(tweet: Json) -> str:
    """Why a post that came may not be shown.

    It is withheld, by law or by a claim of copyright, somewhere: we do not know where our reader is. Or its author
    has edited it, which makes a new post.
    """
    value, ids = tweet.get("withheld"), tweet.get("edit_history_tweet_ids")
    if type(value) is dict and (value.get("copyright") is True or value.get("country_codes")):
        return "withheld"
    return "edited since" if type(ids) is list and len(ids) > 1 and tweet["id"] in ids[:-1] else ""


def _problems(payload: Json) -> tuple[list[str], list[Problem]]:
    """Ids that are gone, and all other problems."""
    gone: list[str] = []
    others: list[Problem] = []
    if "data" not in payload and type(payload.get("title")) is str:
        others.append(problem(payload))
    for error in _objects(payload.get("errors")):
        found = problem(error)
        about_post = error.get("resource_type") in ("tweet", "post")
        if found.kind in _GONE and about_post and _is_id(found.value):
            if error.get("parameter") in ("id", "ids"):
                gone.append(found.value)
            continue  # a quoted post that cannot be seen is no fault: its quote says who is gone
        others.append(found)
    return gone, others


def problem(error: Json) -> Problem:
    """X's problem object (RFC 7807, with fields of its own), bounded."""
    kind, title = error.get("type"), error.get("title")
    detail = error.get("detail") or error.get("message") or error.get("details")
    value = error.get("value") or error.get("resource_id")
    if type(detail) is list:
        detail = "; ".join(d for d in detail[:4] if type(d) is str)
    words = [" ".join(str(w).split())[:300] if type(w) is str else "" for w in (title, detail, value)]
    return Problem(kind.rpartition("/")[2][:64] if type(kind) is str else "", words[0], words[1], words[2])
