"""Read X's rules: words, "phrases", #tags, @names, from:, lang:, is:, has:, -, OR and brackets; nothing else.

What X would refuse is a `ValueError` in words like X's.
"""

import re
from collections.abc import Callable

from voxpop.simulator.x_posts import Tweet

Matches = Callable[[Tweet], bool]
LONGEST = 1024
_TOKEN = re.compile(r'\s*(\(|\)|-?"[^"]*"|-?\(|[^\s()"]+)')
_OPERATORS = ("from", "lang", "is", "has")
_STANDALONE = ("from",)


def matcher(rule: str) -> Matches:
    """A function that says whether a post fits the rule. Raises ValueError for a rule that X would refuse."""
    if len(rule) > LONGEST:
        raise ValueError(f"Rules must be less than {LONGEST} characters long")
    if rule.count('"') % 2:
        raise ValueError("Reference to invalid syntax: missing closing quote")
    tokens = _TOKEN.findall(rule)
    if not any(_positive(t) for t in tokens):
        raise ValueError("Rules must contain at least one positive, standalone operator")
    found, rest = _either(tokens)
    if rest:
        raise ValueError(f"no viable alternative at input '{rest[0]}'")
    return found


def _positive(token: str) -> bool:
    name, colon, _ = token.partition(":")
    return (
        token not in ("(", ")", "-(", "OR")
        and not token.startswith("-")
        and (not colon or name in _STANDALONE or name not in _OPERATORS)
    )


def _either(tokens: list[str]) -> tuple[Matches, list[str]]:
    choices: list[Matches] = []
    while True:
        choice, tokens = _all(tokens)
        choices.append(choice)
        if not tokens or tokens[0] != "OR":
            return (lambda tweet: any(c(tweet) for c in choices)), tokens
        tokens = tokens[1:]


def _all(tokens: list[str]) -> tuple[Matches, list[str]]:
    parts: list[Matches] = []
    while tokens and tokens[0] not in (")", "OR"):
        token, *tokens = tokens
        if token in ("(", "-("):
            inner, tokens = _either(tokens)
            if not tokens or tokens[0] != ")":
                raise ValueError("missing ')' at '<EOF>'")
            tokens = tokens[1:]
        else:
            inner = _one(token.removeprefix("-"))
        parts.append(_not(inner) if token.startswith("-") else inner)
    if not parts:
        raise ValueError("no viable alternative at input '<EOF>'")
    return (lambda tweet: all(p(tweet) for p in parts)), tokens


def _not(inner: Matches) -> Matches:
    return lambda tweet: not inner(tweet)


def _one(token: str) -> Matches:
    name, colon, value = token.partition(":")
    if colon and not token.startswith('"'):
        if name not in _OPERATORS:
            raise ValueError(
                f"Reference to invalid operator '{name}'. Operator is not available in current product."
            )
        return _operator(name, value)
    if token.startswith('"'):
        phrase = token.strip('"').lower()
        return lambda tweet: phrase in tweet.text.lower()
    whole = re.compile(rf"(?<!\w){re.escape(token)}(?!\w)", re.IGNORECASE)
    return lambda tweet: whole.search(tweet.text) is not None


def _operator(name: str, value: str) -> Matches:
    if name == "from":
        return lambda tweet: value.lower() in (tweet.author.handle.lower(), tweet.author.id)
    if name == "lang":
        return lambda tweet: tweet.lang == value
    kinds: dict[str, Matches] = {
        "retweet": lambda tweet: bool(tweet.repost),
        "quote": lambda tweet: bool(tweet.quote),
        "reply": lambda tweet: bool(tweet.reply_to),
        "images": lambda tweet: bool(tweet.alt),
        "media": lambda tweet: bool(tweet.alt),
        "links": lambda tweet: "http" in tweet.text,
    }
    if value not in kinds:
        raise ValueError(f"Reference to invalid field '{name}:{value}'")
    return kinds[value]
