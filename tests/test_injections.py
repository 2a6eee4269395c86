"""Posts are data: the corpus of hostile posts, and what none of them can do to an answer."""

from collections import Counter
from dataclasses import asdict

import pytest

from voxpop.simulator.injections import Injection, corpus, scene

CORPUS = corpus()


def everything(one: Injection) -> str:
    return "\0".join(asdict(one).values())


def test_the_corpus_is_large_varied_and_the_same_each_time() -> None:
    assert len(CORPUS) >= 400
    assert len({i.kind for i in CORPUS}) >= 14
    assert min(Counter(i.kind for i in CORPUS).values()) >= 8
    assert {i.lang for i in CORPUS} == {"en", "fr", "es", "de", "pt", "ja"}
    assert len({i.canary for i in CORPUS}) == len(CORPUS) == len(set(CORPUS))
    assert corpus() == CORPUS
    assert corpus() is not CORPUS


@pytest.mark.parametrize("one", CORPUS, ids=lambda one: f"{one.kind}-{one.canary}")
def test_each_holds_its_payload_and_nothing_of_it_when_tamed(one: Injection) -> None:
    tame = one.tamed()
    assert one.canary.lower() in one.payload.lower()
    fields = asdict(one)
    assert any(one.payload in value for name, value in fields.items() if name != "payload")
    assert one.statement in one.text
    assert (tame.text, tame.question) != ("", "")
    assert not any(one.canary.lower() in v.lower() for name, v in asdict(tame).items() if name != "canary")
    assert tame.tamed() == tame


def test_a_scene_has_its_question_in_each_language() -> None:
    for topic in ("bridge", "result"):
        assert len({scene(topic, lang) for lang in ("en", "fr", "es", "de", "pt", "ja")}) == 6
