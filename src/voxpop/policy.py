"""What is refused, by rules that anybody can read and change; a refusal names its rule, nothing else is refused.

The rules are data (`policy.toml`): groups of words that must meet in a question. They read words, not minds: what
they miss is answered from posts with citations, which is all that an answer ever is.
"""

import hashlib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache
from importlib import resources
from itertools import pairwise, product
from pathlib import Path
from typing import Any

from voxpop.errors import UsageError
from voxpop.messages import Passage
from voxpop.text import fold

KEPT = "sexual-minors"  # the one rule that an operator cannot switch off
_COMBINED = ("refuses", "unless", "firm", "posts")
_FIELDS = ("name", "title", "description", "within", *_COMBINED)
_UNSEEN = re.compile(r"[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_SPELLED = re.compile(r"(?<!\w)(?!a )(?:\w[ .*_/|+~-]{1,2}){3,}\w(?!\w)")
_LEET = str.maketrans("013457@$", "oieastas")
_CYRILLIC = str.maketrans("аеорсухіѕјкмт", "aeopcyxisjkmt")
_TWO_SCRIPTS = re.compile(r"(?<!\w)(?=\w*[a-z])(?=\w*[а-яіѕј])\w+")
_MIXED = re.compile(r"(?<!\w)[a-z]+[0-9@$][a-z0-9@$]*[a-z](?!\w)")
_LEANS = re.compile(r"(?<!\w)(?:it|one|that|this|them|those|ca|cela|lo|la|eso|es|das|isso|それ)(?!\w)")


@dataclass(frozen=True, slots=True)
class Rule:
    """An intent that is refused.

    Each entry of `refuses` is a combination of groups of words that must all stand within `within` words, `unless`
    one of its exceptions is met; `firm` ones know no exception. `posts`: a post that meets one is not quoted.
    """

    name: str
    title: str
    description: str = ""
    within: int = 20
    refuses: tuple[tuple[str, ...], ...] = ()
    unless: tuple[tuple[str, ...], ...] = ()
    firm: tuple[tuple[str, ...], ...] = ()
    posts: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules in force. `changed`: they are not those that voxpop ships; `digest` names them."""

    rules: tuple[Rule, ...]
    groups: Mapping[str, re.Pattern[str]]
    said: Mapping[str, str]
    digest: str
    changed: bool = False

    def refuses(self, question: str, earlier: Sequence[str] = ()) -> Rule | None:
        """The rule that refuses a question; one that leans on the last of the `earlier` ones is read after it."""
        plain = _plain(question)
        if rule := next((r for r in self.rules if self._falls_under(r, plain)), None):
            return rule
        if not earlier or not _LEANS.search(plain):
            return None
        both = f"{_plain(earlier[-1])} . {plain}"
        return next((r for r in self.rules if self._asks(r, plain) and self._falls_under(r, both)), None)

    def withholds(self, post: str) -> Rule | None:
        """The rule under which a post's text may not be quoted."""
        plain = _plain(post)
        return next((r for r in self.rules if any(self._meets(c, plain, r.within) for c in r.posts)), None)

    def quotable(self, passages: Iterable[Passage]) -> tuple[tuple[Passage, ...], tuple[Rule, ...]]:
        """The passages that may be quoted, and the rule that keeps each of the others back."""
        judged = [(p, self.withholds(p.post.text)) for p in passages]
        return tuple(p for p, rule in judged if not rule), tuple(rule for _, rule in judged if rule)

    def notice(self, rule: Rule, lang: str) -> str:
        """What a refusal says: the name of its rule."""
        return self.said.get(lang, self.said["en"]).format(title=rule.title, name=rule.name)

    def json(self) -> dict[str, Any]:
        """What clients are shown of it."""
        rules = [{"name": r.name, "title": r.title, "description": r.description} for r in self.rules]
        return {"digest": self.digest, "changed": self.changed, "rules": rules}

    def _falls_under(self, rule: Rule, plain: str) -> bool:
        if any(self._meets(c, plain, rule.within) for c in rule.firm):
            return True
        excused = any(all(self.groups[g].search(plain) for g in c) for c in rule.unless)
        return not excused and any(self._meets(c, plain, rule.within) for c in rule.refuses)

    def _asks(self, rule: Rule, plain: str) -> bool:
        """Whether a question holds two parts of what a rule refuses: what leans only fills in the rest."""
        return any(sum(bool(self.groups[g].search(plain)) for g in c) >= min(2, len(c) - 1) for c in rule.refuses)

    def _meets(self, combination: Sequence[str], plain: str, within: int) -> bool:
        """Whether words of all groups stand together; two groups may not meet in one and the same word."""
        found = [[m.span() for m in self.groups[g].finditer(plain)][:12] for g in combination]
        return all(found) and any(_near(spans, plain, within) for spans in product(*found))


def _near(spans: Sequence[tuple[int, int]], plain: str, within: int) -> bool:
    ordered = sorted(spans)
    if any(a[1] > b[0] for a, b in pairwise(ordered)):
        return False
    return len(plain[ordered[0][1] : ordered[-1][0]].split()) <= within if len(ordered) > 1 else True


def _plain(text: str) -> str:
    """Folded, without what only hides a word: marks that nobody sees, letters set apart, figures for letters."""
    flat = fold(_UNSEEN.sub("", text)).replace("’", "'")
    flat = _SPELLED.sub(lambda m: re.sub(r"[ .*_/|+~-]", "", m[0]), flat)
    flat = _TWO_SCRIPTS.sub(lambda m: m[0].translate(_CYRILLIC), flat)
    return _MIXED.sub(lambda m: m[0].translate(_LEET), flat)


# -- reading it -------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Read:
    rules: dict[str, Rule] = field(default_factory=dict)
    words: dict[str, list[str]] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)

    def digest(self) -> str:
        rows = {
            "rules": [[str(getattr(r, f)) for f in _FIELDS] for r in self.rules.values()],
            "words": {g: w for g, w in sorted(self.words.items())},
        }
        return hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode()).hexdigest()[:16]


@lru_cache(maxsize=4)
def load(own: Path | None = None) -> Policy:
    """The shipped rules, changed by the operator's own file; raises UsageError for what it does not know."""
    text = resources.files("voxpop").joinpath("policy.toml").read_text("utf-8")
    read = _take(_Read(), tomllib.loads(text), "policy.toml")
    shipped = read.digest()
    if own:
        read = _take(read, _parsed(own), str(own))
    groups = {name: _pattern(name, listed) for name, listed in read.words.items()}
    for rule in read.rules.values():
        for group in {g for part in _COMBINED for combination in getattr(rule, part) for g in combination}:
            _known(group, groups, f"the rule '{rule.name}'", "group of words")
    digest = read.digest()
    return Policy(tuple(read.rules.values()), groups, read.said, digest, digest != shipped)


def _parsed(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"Cannot read the policy {file}: {error.strerror}.", "Check answers.policy.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"The policy {file} is not TOML: {error}.", "Mend that line.") from error


def _take(read: _Read, raw: Mapping[str, Any], file: str) -> _Read:
    for key in raw:
        _known(key, ("off", "rule", "words", "said"), file, "key")
    words, said, rules, off = raw.get("words", {}), raw.get("said", {}), raw.get("rule", []), raw.get("off", [])
    _typed(isinstance(words, dict) and all(_texts(listed) and listed for listed in words.values()), file, "words")
    _typed(isinstance(said, dict) and all(_says(text) for text in said.values()), file, "said")
    _typed(isinstance(rules, list) and all(isinstance(row, dict) for row in rules), file, "rule")
    _typed(_texts(off), file, "off")
    read.words |= words
    read.said |= said
    for row in rules:
        rule = _rule(row, file)
        if rule.name == KEPT in read.rules:
            raise UsageError(f"The rule '{KEPT}' cannot be replaced.", f"Give your rule in {file} another name.")
        read.rules[rule.name] = rule
    for name in off:
        _known(name, read.rules, f"'off' in {file}", "rule")
        if name == KEPT:
            raise UsageError(f"The rule '{name}' cannot be switched off.", f"Take it out of 'off' in {file}.")
        del read.rules[name]
    return read


def _rule(row: Mapping[str, Any], file: str) -> Rule:
    for key in row:
        _known(key, _FIELDS, f"a rule of {file}", "key")
    for key in ("name", "title"):
        _typed(isinstance(row.get(key), str) and bool(row[key].strip()), file, f"{key} of a rule")
    _typed(isinstance(row.get("description", ""), str), file, "description of a rule")
    _typed(type(row.get("within", 20)) is int and 0 < row.get("within", 20) <= 200, file, "within of a rule")
    combined: dict[str, Any] = {}
    for part in _COMBINED:
        listed = row.get(part, [])
        _typed(isinstance(listed, list) and all(_texts(c) and c for c in listed), file, f"{part} of a rule")
        combined[part] = tuple(tuple(c) for c in listed)
    if not (combined["refuses"] or combined["firm"]):
        raise UsageError(
            f"The rule '{row['name']}' of {file} refuses nothing.", "Give it 'refuses', or put it off."
        )
    return Rule(row["name"], row["title"], row.get("description", ""), row.get("within", 20), **combined)


def _texts(listed: Any) -> bool:
    return isinstance(listed, list) and all(isinstance(text, str) and text for text in listed)


def _says(text: Any) -> bool:
    return isinstance(text, str) and "{title}" in text and set(re.findall(r"{(.*?)}", text)) <= {"title", "name"}


def _typed(right: bool, file: str, what: str) -> None:
    if not right:
        raise UsageError(f"The {what} in {file} is not as it should be.", "See docs/policy.md for its form.")


def _known(name: str, known: Sequence[str] | Mapping[str, Any], where: str, kind: str) -> None:
    if name not in known:
        close = get_close_matches(name, list(known), 1, 0.5)
        cure = f"Did you mean '{close[0]}'?" if close else f"Known are: {', '.join(known)}."
        raise UsageError(f"Unknown {kind} '{name}' in {where}.", cure, code="unknown_setting")


def _pattern(name: str, listed: Sequence[str]) -> re.Pattern[str]:
    spaced, cjk = [p for p in listed if p.isascii()], [p for p in listed if not p.isascii()]
    try:
        return re.compile("|".join([*([rf"(?<!\w)(?:{'|'.join(spaced)})(?!\w)"] if spaced else []), *cjk]))
    except re.error as error:
        raise UsageError(f"The words '{name}' of the policy are no pattern: {error}.", "Mend them.") from error
