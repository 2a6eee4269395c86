"""Names and tags that the first hits join with a question, to search once more with them; pure and bounded.

Independent accounts decide, so that no flood brings its tag in.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from voxpop.floods import voices
from voxpop.posts import Post
from voxpop.questions import Question
from voxpop.store import Hit
from voxpop.text import dates, keywords, lexicon, names, words

_LOOKED_AT = 30
_VOICES = 3
_TERMS = 4


def expansion(question: Question, hits: Sequence[Hit]) -> tuple[str, ...]:
    """At most four names, handles or tags, folded, that at least three independent accounts give with the topic."""
    known = frozenset(words(question.text)).union(*(c.kin for c in question.concepts))
    saying: defaultdict[str, list[Post]] = defaultdict(list)
    for hit in hits[:_LOOKED_AT]:
        text = hit.post.text
        if question.met_by(question.terms(text)):
            for name in sorted(names(text) - dates(text)):
                if not known & set(words(name)) and keywords(name, hit.post.lang or "en"):
                    saying[name].append(hit.post)
    counted = {name: voices(posts) for name, posts in saying.items() if len(posts) >= _VOICES}
    best = sorted((name for name, count in counted.items() if count >= _VOICES), key=lambda n: (-counted[n], n))
    return tuple(best[:_TERMS])


def against(langs: Iterable[str]) -> tuple[str, ...]:
    """The words by which posts of these languages deny and correct, English always among them."""
    listed = lexicon("denials")
    return tuple(dict.fromkeys(w for lang in ("en", *sorted(set(langs))) for w in listed.get(lang, "").split()))
