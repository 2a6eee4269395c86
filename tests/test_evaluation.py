"""`voxpop eval`: each suite counts what it must, and shows the failure of an engine, or of a check, that is bad."""

import gzip
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from html.parser import HTMLParser
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from conftest import voxpop
from voxpop import trust
from voxpop.engines import EngineInfo
from voxpop.engines.quote import quotation
from voxpop.errors import UsageError
from voxpop.evaluation import (
    abstention,
    agreement,
    brought,
    calls,
    citations,
    cost,
    datasets,
    facts,
    found,
    live,
    mirrored,
    questions,
    reports,
    rumours,
    support,
    swapped,
)
from voxpop.evaluation.bench import Bench, Skipped
from voxpop.evaluation.judge import attributed, holds, lacks
from voxpop.evaluation.liars import KINDS, Liar
from voxpop.evaluation.measures import Goal, Measure, Miss, Report, share, timed, wilson
from voxpop.evaluation.night import Night
from voxpop.evaluation.page import page
from voxpop.evaluation.results import early
from voxpop.evaluation.suites import SUITES, measure
from voxpop.evaluation.told import Told
from voxpop.messages import (
    AnswerEvent,
    Delta,
    Done,
    Freshness,
    Passage,
    Prompt,
    Request,
    Text,
    Timings,
    Usage,
)
from voxpop.posts import Author, Post
from voxpop.simulator.world import FACTS
from voxpop.verification import Verdict

DAY = "2026-03-01T"
Folders = pytest.TempPathFactory


@pytest.fixture(scope="session")
def folders(tmp_path_factory: Folders) -> Folders:
    return tmp_path_factory


def post(text: str, handle: str = "ann.example", name: str = "") -> Post:
    return Post(f"at://{handle}/1", "test", Author(f"did:{handle}", handle, name), text, 1, 1)


def told(*texts: Text, passages: tuple[Passage, ...] = (), result: str = "") -> Told:
    return Told("id", "Who won?", list(texts), {p.number: p for p in passages})


def named(measures: list[Measure]) -> dict[str, Measure]:
    return {m.name: m for m in measures}


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks that let everything pass: what a suite must notice."""
    monkeypatch.setattr("voxpop.writing.verify", lambda draft, passages, evidence: Verdict(True))
    monkeypatch.setattr("voxpop.writing.unconfirmed", lambda *_: "")


class Says:
    """Writes what it is told to, of every claim."""

    def __init__(self, write: Callable[[Prompt], list[str]]) -> None:
        self._write = write

    async def generate(self, prompt: Prompt, schema: Mapping[str, Any] | None = None) -> AsyncIterator[Delta]:
        for line in self._write(prompt):
            yield Delta(f"{line}\n")
        yield Delta(usage=Usage())

    def check(self, schema: Mapping[str, Any]) -> None:
        """It is held to none."""

    def count(self, text: str) -> int:
        return len(text.split())

    def describe(self) -> EngineInfo:
        return EngineInfo("says", "none", converses=False)


# -- values -----------------------------------------------------------------------------------------------------


def test_the_interval_is_wilsons() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(0, 100) == pytest.approx((0.0, 0.0370), abs=5e-5)
    assert wilson(50, 100) == pytest.approx((0.4038, 0.5962), abs=5e-5)
    assert wilson(98, 100) == pytest.approx((0.9300, 0.9945), abs=5e-5)


@given(st.integers(0, 400), st.integers(0, 400))
def test_a_share_lies_within_its_interval(counted: int, more: int) -> None:
    low, high = wilson(counted, counted + more)
    middle = counted / (counted + more) if counted + more else 0
    assert 0 <= low <= middle + 1e-9
    assert middle - 1e-9 <= high <= 1


def test_a_goal_is_held_or_missed_and_nothing_measured_is_neither() -> None:
    assert share("a.b", "c", 1, 100, Goal("<=", 0.01)).held
    assert share("a.b", "c", 2, 100, Goal("<=", 0.01)).held is False
    assert share("a.b", "c", 0, 0, Goal("<=", 0.01)).held is None
    assert timed("a.b", "c", [3.0, 1.0, 2.0]).value == 2.0
    assert timed("a.b", "c", [3.0, 30.0], Goal("<=", 2), worst=True).held is False


@pytest.mark.parametrize(
    ("sentence", "text", "fault"),
    [
        ("@ann.example says: “The bridge is closed.”", "The bridge is closed. Sorry!", ""),
        ("@ann.example says: “The bridge is open.”", "The bridge is closed.", "has the words"),
        ("@bob.example says the bridge is closed.", "The bridge is closed.", "wrote none"),
        ("The bridge is closed until 18:30.", "The bridge is closed until 18:30 today.", ""),
        ("The bridge is closed until 19:30.", "The bridge is closed until 18:30 today.", "number 19"),
        ("The bridge of Oss is closed to Karl.", "The bridge of Oss is closed.", "name Karl"),
        ("The bridge is not closed.", "The bridge is closed.", "denies"),
        ("Trams wait for a driver in the rain.", "The bridge is closed.", "most of its words"),
        ("12,500 people marched.", "12500 people marched today", ""),
        ("橋は閉鎖されています", "橋は閉鎖されています。", ""),
    ],
)
def test_the_judge(sentence: str, text: str, fault: str) -> None:
    assert (fault in lacks(sentence, [post(text)])) if fault else lacks(sentence, [post(text)]) == ""
    assert lacks(sentence, []) == "cites nothing"


@given(st.text(max_size=80), st.text(max_size=80))
def test_the_judge_stands_any_text(sentence: str, text: str) -> None:
    assert isinstance(lacks(sentence, [post(text)]), str)
    assert isinstance(holds(text, sentence), bool)
    assert isinstance(attributed(sentence, [post(text)]), bool)
    rumours.questions(text)


def test_a_result_in_no_ones_name_is_early() -> None:
    fan = Passage(1, post("Korvane won!!!"))
    assert early(told(Text("Korvane won the election.", (1,)), passages=(fan,)), ["Korvane"])
    assert early(told(Text("Élue : Korvane est présidente.", (1,)), passages=(fan,)), ["Korvane"])
    assert early(told(Text("Korvane has won.", kind="chat")), [])
    for fine in (
        "@ann.example says: “Korvane won!!!”", "Korvane has not won yet.", "If Korvane won, it would rain.",
        "TPA projects that Korvane won.", "The bridge is closed.",
    ):  # fmt: skip
        assert not early(told(Text(fine, (1,)), passages=(fan,)), ["Korvane"]), fine


# -- suites that must show a failure ----------------------------------------------------------------------------


class Caller:
    """An assistant without any check: it calls the race at once."""

    async def answer(self, request: Request) -> AsyncIterator[AnswerEvent]:
        yield Text("Dreyl won the election.")
        yield Done("stop", True, "caller", "regular", Usage(), Freshness(), Timings(total_ms=1.0))


async def test_a_called_race_is_counted_on_the_night(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    undeclared = [f for f in FACTS if f.kind == "undeclared"]
    before = [a for a in calls.asks(calls.read()) if a.race == "president" and not a.due][::20]
    monkeypatch.setattr(Bench, "assistant", lambda *_: Caller())
    async with Bench(heard=night) as bench:
        answered = await facts.ask_all(bench, undeclared)
        bench.kept["night"] = answered
        supported = named(await support.run(bench, liars=()))["support.unsupported"]
        asked = await calls.asked(bench, before)
    assert [a.verdict for a in answered].count("wrong") >= len(undeclared) - 1
    assert supported.value == 1.0
    assert [bool(why) for _, _, why in asked] == [True] * len(before)


async def test_quotes_make_no_early_call(night: Night) -> None:
    async with Bench(heard=night) as bench:
        some = [a for a in calls.asks(calls.read()) if a.lang in ("en", "ja")][::90]
        asked = await calls.asked(bench, some)
    assert len(asked) > 5
    assert not [a.id for a, _, why in asked if why]


async def test_the_true_call_that_never_comes_is_a_miss(night: Night) -> None:
    async with Bench(heard=night) as bench:
        bread = "What is the price of bread in Dornick?"
        late = await live.seconds_to_the_call(bench, bread, lead_s=0.2, patience_s=2.1)
    assert Goal("<=", 2).held(late) is False


async def test_every_kind_of_lie_is_counted_where_nothing_is_checked(night: Night, blind: None) -> None:
    async with Bench(heard=night, sample=6) as bench:
        measured = named(await support.run(bench))
    lied = measured["support.liars"]
    assert lied.held is False
    assert {kind for kind, counted, _ in lied.table if counted} == set(KINDS)


async def test_an_engine_that_swaps_citations_is_seen_by_the_judge(night: Night, blind: None) -> None:
    async with Bench(lambda: Liar("citation swapped"), heard=night, sample=6) as bench:
        measured = named(await support.run(bench, liars=()))
    assert measured["support.unsupported"].held is False
    assert measured["support.precision"].value < 0.9


async def test_swaps_that_pass_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    made = [*citations.pairs()]
    monkeypatch.setattr(citations, "pairs", lambda: made)
    async with Bench() as bench:
        monkeypatch.setattr(citations, "judge", lambda pair: Verdict(True))
        measured = named(await swapped.run(bench))
        assert measured["citations.caught"].value == 0.0
        assert measured["citations.withheld"].value == 0.0
        monkeypatch.setattr(citations, "judge", lambda pair: Verdict(False, "no"))
        assert named(await swapped.run(bench))["citations.withheld"].held is False


async def test_an_engine_of_two_minds_does_not_agree_with_itself(night: Night) -> None:
    turn = count()

    def either(prompt: Prompt) -> list[str]:
        passages = {p.number: p for p in prompt.passages}
        claims = prompt.claims[:1] if next(turn) % 2 else prompt.claims
        return [f"{quotation(c, passages[c.number], prompt.lang)} [{c.number}]" for c in claims]

    async with Bench(lambda: Says(either), heard=night) as bench:
        same = await agreement.repeated(bench, [(7800.0, "What do the exit polls say?")])
    assert same.held is False
    assert same.misses


async def test_slow_checks_cost(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    from voxpop import writing

    real = writing.verify

    def slowly(*given: Any) -> Verdict:
        time.sleep(0.05)
        return real(*given)

    async with Bench(heard=night, sample=6) as bench:
        monkeypatch.setattr("voxpop.writing.verify", slowly)
        assert named(await cost.run(bench))["cost.verification"].held is False


# -- public sets ------------------------------------------------------------------------------------------------


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = b"\n".join(json.dumps(row).encode() for row in rows)
    packed = {".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}.get(path.suffix)
    path.write_bytes(packed(lines) if packed else lines)
    return path


def tweet(qid: str, question: str, answer: str, text: str, author: str) -> dict[str, Any]:
    return {
        "qid": qid,
        "question": question,
        "answers": [answer],
        "tweet": text,
        "author": author,
        "date": f"{DAY}"[:10],
    }


TWEETS = [
    tweet("a", "Is the Oss bakery open?", "open", "The Oss bakery is open again", "annoss"),
    tweet("b", "Is the Lund ferry in dock?", "in dock", "The Lund ferry is in dock at Velby", "lundferry"),
]


def news_question(id_: str, asked: str, choices: list[str], answer: str) -> dict[str, Any]:
    dated = {"question_id": id_, "question_date": "2022/10/20"}
    return dated | {"question_sentence": asked, "choices": choices, "answer": [answer]}


def article(title: str, text: str, day: str, *questions: str) -> dict[str, Any]:
    url = "https://www.news.example/1"
    return {"url": url, "title": title, "text": text, "publish_date": day, "question_ids": [*questions]}


def said(id_: str, author: str, at: str, text: str, **more: Any) -> dict[str, Any]:
    base = {"platform": "x", "event": "harbour", "lang": "en", "id": id_, "author": author, "text": text}
    return base | {"created_at": f"{DAY}{at}Z"} | more


@pytest.fixture
def public(tmp_path: Path) -> Path:
    """A folder of public sets in small, with rows that are broken."""
    qa, posts = tmp_path / "qa", tmp_path / "posts"
    write(qa / "tweetqa_train.jsonl.gz", *TWEETS, {"qid": "broken"})
    which = news_question("1", "Which town opened the Lund bridge?", ["Oss", "Velby"], "1")
    write(qa / "realtimeqa_2022.jsonl.gz", which, news_question("2", "?", [], "7"))
    opened = article("Lund bridge", "The town of Velby opened the Lund bridge.", "2022/10/19", "1")
    write(qa / "realtimeqa_news_2022.jsonl.gz", opened, article("no day", "t", "soon"))
    labels = [{"source_tweet_id": "11", "veracity": "false"}, {"source_tweet_id": "12", "veracity": "true"}]
    write(qa / "rumour_veracity_train.jsonl.gz", *labels)
    write(
        posts / "all.jsonl.zst",
        said("11", "kim", "10:00:00", "BREAKING: The Velby harbour crane fell on the Lund ferry http://t.co/x"),
        said("12", "lee", "10:01:00", "The Lund ferry is late by two hours today"),
        said("13", "mo", "10:04:00", "@kim no it did not", in_reply_to_id="11", labels={"stance": "deny"}),
        said("14", "mo", "10:04:00", "Nothing to see here", event="other"),
    )
    return tmp_path


async def test_a_rumour_told_as_a_fact_is_counted(public: Path, blind: None) -> None:
    async with Bench(data=public) as bench:
        assert named(await rumours.run(bench))["rumours.stated"].held
    async with Bench(lambda: Liar("rumour as fact"), data=public) as bench:
        measured = named(await rumours.run(bench))
    assert measured["rumours.stated"].value == 1
    assert measured["rumours.stated"].table == (("harbour, false", 1, 1),)


def test_a_rumour_is_asked_before_its_denial_and_in_its_own_words(public: Path) -> None:
    labelled, rows = datasets.rumours(public / "qa/rumour_veracity_train.jsonl.gz", public / "posts/all.jsonl.zst")
    false, true = labelled
    assert (false.before - false.at) == 240_000_000 - 1
    assert (true.before - true.at) == 600_000_000 - 1
    assert list(rows) == ["harbour"]
    asked = rumours.questions(false.text)
    assert asked[0] == "Is it true that The Velby harbour crane fell on the Lund ferry?"
    assert asked[1] == "What is known about Velby Lund?"


async def test_abstention_and_answers_of_the_public_sets(public: Path, night: Night) -> None:
    async with Bench(data=public, heard=night, sample=2) as bench:
        measured = named(await abstention.run(bench))
        kinds = {name: (counted, n) for name, counted, n in measured["abstention.answers"].table}
        assert kinds["tweetqa"] == (2, 2)
        assert kinds["realtimeqa"] == (1, 1)
        silent = {name: (counted, n) for name, counted, n in measured["abstention.abstains"].table}
        assert silent["tweetqa"] == (2, 2)
        assert silent["realtimeqa"] == (1, 1)


async def test_an_answer_where_nothing_was_due_is_a_miss(public: Path, night: Night) -> None:
    # The same words once more, in a tweet that no question names: without its tweet the question still gets one.
    copy = tweet("c", "?!", "x", "The Lund ferry is in dock, says Velby port", "port")
    write(public / "qa/tweetqa_train.jsonl.gz", *TWEETS, copy)
    async with Bench(data=public, heard=night, sample=2, seed=4) as bench:
        silent = named(await abstention.run(bench))["abstention.abstains"]
    assert [m.id for m in silent.misses] == ["tweetqa:b (without its post)"]


async def test_what_is_not_found_is_a_miss(public: Path) -> None:
    lost = tweet("d", "Who sang?", "x", "zzz qqq", "q")
    write(public / "qa/tweetqa_train.jsonl.gz", *TWEETS, lost)
    async with Bench(data=public) as bench:
        measured = named(await found.run(bench))
    assert measured["retrieval.first"].value == pytest.approx(2 / 3, abs=1e-3)
    assert [m.id for m in measured["retrieval.ten"].misses] == ["tweetqa:d"]


async def test_a_suite_that_lacks_its_files_says_which() -> None:
    async with Bench() as bench:
        measured, skipped = await measure(bench, ["retrieval", "rumours", "questions"])
    assert measured == []
    assert "--data" in skipped["retrieval"]
    assert "--questions" in skipped["questions"]
    async with Bench(data=Path(__file__).parent) as bench:
        with pytest.raises(Skipped, match="tweetqa_train"):
            bench.public("qa/tweetqa_train.jsonl.gz")
    async with Bench() as bench:
        with pytest.raises(UsageError, match="No suite 'nights'"):
            await measure(bench, ["nights"])


def test_what_differs_between_mirrored_answers_is_told() -> None:
    from voxpop.messages import Refused

    plain = told(Text("A says: x", (1,), outcome="attributed"))
    assert mirrored.unlike([plain, plain]) == ""
    refused = told()
    refused.refused = Refused("violence", "Help with violence")
    assert mirrored.unlike([plain, refused]) == "one side is refused"
    assert mirrored.unlike([plain, told(Text("x", (1,)))]) == "another outcome"


# -- a user's own questions -------------------------------------------------------------------------------------


async def test_questions_that_a_user_brings(tmp_path: Path) -> None:
    write(tmp_path / "posts.jsonl", said("1", "port", "10:00:00", "The north bridge is closed until 18:00."))
    closed = {"ask": "Is the north bridge closed?", "posts": "posts.jsonl"}
    asked = [
        closed | {"expect": "answer", "answers": ["closed"]},
        closed | {"expect": "contested", "id": "c"},
        {"ask": "What does bread cost in Oss?", "posts": "posts.jsonl", "expect": "abstain"},
        closed | {"expect": "abstain", "id": "wrong"},
        closed | {"expect": "answer", "as_of": f"{DAY}09:00:00Z", "id": "early"},
    ]
    async with Bench(questions=write(tmp_path / "q.jsonl", *asked)) as bench:
        measured = named(await brought.run(bench))
    assert measured["questions.right"].value == 0.6
    assert {m.id: m.why for m in measured["questions.right"].misses} == {"wrong": "answered", "early": "abstained"}
    assert measured["questions.unsupported"].value == 0


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"ask": "a", "expect": "answer"}, "lacks 'posts'"),
        ({"ask": " ", "posts": "p.jsonl", "expect": "answer"}, "lacks 'ask'"),
        ({"ask": "a", "posts": "p.jsonl", "expect": "maybe"}, "cannot expect 'maybe'"),
        ({"ask": "a", "posts": "p.jsonl", "expect": "answer", "asof": 1}, "unknown key 'asof'"),
        ({"ask": "a", "posts": "p.jsonl", "expect": "answer", "answers": "x"}, "no list"),
        ({"ask": "a", "posts": "p.jsonl", "expect": "answer", "as_of": "soon"}, "no time"),
        ({"ask": "a", "posts": "none.jsonl", "expect": "answer"}, "no recording"),
        ([1], "no table"),
    ],
)
def test_a_question_that_cannot_be_asked_is_named(tmp_path: Path, row: Any, fault: str) -> None:
    write(tmp_path / "p.jsonl", {})
    with pytest.raises(UsageError, match=fault):
        questions.read(write(tmp_path / "q.jsonl", row))


@given(st.binary(max_size=200), st.sampled_from(["q.toml", "q.jsonl"]))
def test_any_bytes_are_questions_or_a_usage_error(folders: Folders, raw: bytes, name: str) -> None:
    path = folders.mktemp("q") / name
    path.write_bytes(raw)
    with pytest.raises(UsageError):
        questions.read(path)


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_any_lines_are_read_or_passed_over(folders: Folders, raw: list[bytes]) -> None:
    path = folders.mktemp("d") / "tweetqa_train.jsonl.gz"
    path.write_bytes(gzip.compress(b"\n".join([*raw, json.dumps(TWEETS[0]).encode()])))
    asked, rows = datasets.tweetqa(path)
    assert len(asked) <= 7
    assert len(rows) == len(asked)


# -- reports ----------------------------------------------------------------------------------------------------

NASTY = "</pre><script>alert(1)</script><img src=x onerror=alert(1)>"


def a_report(engine: str = "quote") -> Report:
    low, high = Goal("<=", 2), Goal(">=", 0.95)
    miss, table = Miss(NASTY, NASTY, NASTY), (("night", 9, 10), (NASTY, 1, 2))
    measures = (
        share("abstention.abstains", "abstains", 9, 10, high, table=table, misses=(miss,)),
        share("abstention.answers", NASTY, 9, 10, high, table=table),
        timed("calls.live", "live", [0.5, 30.0], low, worst=True, unit="s"),
        timed("cost.total", "times", [3.0, 40.0, 2000.0]),
        Measure("night.soon", "soon", 0.0, 3, unit="s", series={"curve": [(0.0, 0.5), (30.0, 1.0)]}),
    )
    made = {"name": engine, "model": NASTY}
    return Report(made, measures, {"rumours": NASTY}, "2026-01-01T00:00:00Z", 3.0, 0, None, "0")


def test_the_page_of_trust_is_written_from_reports(tmp_path: Path) -> None:
    docs = Path(__file__).parents[1] / "docs"
    (tmp_path / "trust.md").write_text((docs / "trust.md").read_text("utf-8"), "utf-8")
    kept = reports.write(a_report(), tmp_path).with_name("report.json")
    trust.main(tmp_path, [kept, kept])
    text = (tmp_path / "trust.md").read_text("utf-8")
    assert "| abstains | ≥ 95 % | **90.0 % (59.6–98.2 %; n 10): missed** |" in text
    assert "abstains: 1\n" in text
    assert {p.name for p in tmp_path.glob("*.svg")} == {
        f"trust-{n}.svg" for n in ("goals", "answers", "soon", "times")
    }
    with pytest.raises(ValueError, match="lacks"):
        trust.written("no marks", [])


class Seen(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs


def test_the_page_stands_alone_and_nothing_in_it_is_markup() -> None:
    told = [json.loads(json.dumps(a_report(e).json())) for e in ("quote", "local")]
    for reports_ in (told[:1], told):
        html = page(reports_)
        seen = Seen()
        seen.feed(html)
        assert not {"script", "img", "iframe", "link", "object", "form"} & seen.tags
        assert not [a for a, v in seen.attributes if a.startswith("on") or a in ("src", "href")]
        assert html.count("<svg") == 4
        assert "Content-Security-Policy" in html
        assert "90.0 %" in html
        assert "✗ missed" in html


def test_a_report_is_written_read_and_laid_beside_another(tmp_path: Path) -> None:
    path = reports.write(a_report(), tmp_path / "one")
    kept = reports.read(path.with_name("report.json"))
    assert kept["held"] is False
    assert kept["measures"][0]["misses"][0]["said"] == NASTY
    assert "said" not in json.dumps(a_report().json(said=False))
    with pytest.raises(UsageError, match="is no report"):
        reports.read(write(tmp_path / "x.json", {"a": 1}))
    with pytest.raises(UsageError, match="Cannot read"):
        reports.read(tmp_path / "none.json")
    done = voxpop("eval", "--compare", *[str(tmp_path / "one/report.json")] * 2, "--out", str(tmp_path / "both"))
    assert (done.returncode, done.stdout.strip()) == (0, str(tmp_path / "both/compare.html"))
    assert voxpop("eval", "--compare").returncode == 2


def test_the_command_measures_and_exits_by_its_goals(tmp_path: Path) -> None:
    done = voxpop("eval", "--suite", "citations", "--suite", "rumours", "--json", "--out", str(tmp_path / "out"))
    made = json.loads(done.stdout)
    held = {m["name"]: m["held"] for m in made["measures"]}
    assert held["citations.caught"] is True
    assert done.returncode == (1 if False in held.values() else 0), done.stderr
    assert made["skipped"].keys() == {"rumours"}
    assert "said" not in done.stdout
    assert json.loads((tmp_path / "out/report.json").read_text("utf-8"))["engine"] == {"name": "quote", "model": ""}
    assert (tmp_path / "out/report.html").is_file()
    write(tmp_path / "p.jsonl", {"platform": "x", "created_at": f"{DAY}10:00:00Z", "text": "The bridge is closed."})
    bad = write(tmp_path / "q.jsonl", {"ask": "Hello", "posts": "p.jsonl", "expect": "maybe"})
    assert voxpop("eval", "--suite", "questions", "--questions", str(bad), "--out", str(tmp_path)).returncode == 2


def test_every_suite_is_documented() -> None:
    text = (Path(__file__).parents[1] / "docs/evaluation.md").read_text("utf-8")
    for name in SUITES:
        assert f"| `{name}` |" in text, name


def test_the_public_sets_are_read_where_they_are() -> None:
    given = os.environ.get("VOXPOP_TEST_DATA")
    data = Path(given) if given else Path(__file__).parents[2] / "shared" / "data"
    if not (data / "qa/tweetqa_train.jsonl.gz").is_file():
        pytest.skip(f"no public sets at {data}")
    asked, rows = datasets.tweetqa(data / "qa/tweetqa_train.jsonl.gz")
    assert len(asked) == 3000
    assert 2000 < len(rows) <= 3000
    dated, articles = datasets.realtimeqa(
        data / "qa/realtimeqa_2022.jsonl.gz", data / "qa/realtimeqa_news_2022.jsonl.gz"
    )
    assert len(dated) > 100
    assert len(articles) > 4000
    assert all(before < one.as_of for one, before in dated)
