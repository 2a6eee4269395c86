"""Score how far the cited posts carry a sentence, as a calibrated probability; it knows words, not the world.

A logistic model on features of the pair. Its coefficients are data, `support.toml`, written by
`python -m voxpop.evaluation.calibrate`; nothing but this file reads them, and nothing is learned at run time.
"""

import re
import tomllib
from collections.abc import Sequence
from functools import lru_cache
from importlib import resources
from math import exp, log1p
from typing import Any

from voxpop.figures import readable
from voxpop.messages import Passage
from voxpop.text import HANDLE, bare, fold, language, names
from voxpop.wording import held, meant

_LOWER = re.compile(r"(?<!\w)[^\W\d_A-ZÀ-Þ]\w*")
_SHARED = 0.4  # of its words without a capital: a sentence that shares so many with a post is in its language


def score(text: str, cited: Sequence[Passage]) -> float | None:
    """The probability that the cited posts carry the sentence; None where none is in its language."""
    if is_abroad(text, cited):
        return None
    weights = _model()
    logit = sum(weights[name] * value for name, value in features(text, cited).items())
    return round(1 / (1 + exp(-max(-30.0, min(30.0, logit)))), 4)


def is_abroad(text: str, cited: Sequence[Passage]) -> bool:
    """Whether no cited post is in the sentence's language: two languages share too few words to tell."""
    plain = HANDLE.sub(" ", text)
    mine = language(plain)
    if any(language(bare(HANDLE.sub(" ", p.post.text))) == mine for p in cited):
        return False
    own = [w for w in _LOWER.findall(plain) if len(w) > 1]
    known = held("\n".join(p.post.text for p in cited)).known
    return sum(fold(w) in known for w in own) < _SHARED * len(own) or not own


@lru_cache(maxsize=1)
def least() -> float:
    """The support below which a sentence is withheld: one in a hundred of those shown may be unsupported."""
    return float(_file()["least"])


def features(text: str, cited: Sequence[Passage]) -> dict[str, float]:
    """How much of a sentence's words of meaning no post holds, themselves or by kin; counts grow slowly."""
    wanted = meant(text)
    whole = held("\n".join(map(readable, cited)))
    missing = sum(not whole.has(word) for word in wanted)
    return {
        "one": 1.0,
        "all held": float(not missing),
        "missing": log1p(missing),
        "missing names": log1p(sum(not whole.has(name) for name in names(HANDLE.sub(" ", text)))),
        "length": log1p(len(wanted)),
    }


@lru_cache(maxsize=1)
def _file() -> dict[str, Any]:
    return tomllib.loads(resources.files("voxpop").joinpath("support.toml").read_text("utf-8"))


@lru_cache(maxsize=1)
def _model() -> dict[str, float]:
    return {name: float(weight) for name, weight in _file()["weights"].items()}
