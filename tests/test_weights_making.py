"""A small model that was made: what it learnt, what is written of it, and that every reader finds the same one."""

import json
import math
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("torch", reason="voxpop[weights] is not installed")
pytest.importorskip("sentencepiece", reason="voxpop[weights] is not installed")

import torch

from voxpop.cli import program
from voxpop.cli_weights_make import posts_of
from voxpop.errors import UsageError, VoxpopError
from voxpop.simulator import world
from voxpop.weights.formats.opening import opened
from voxpop.weights.formats.tokenizer import Tokenizer, template_beside
from voxpop.weights.formats.tokenizer import opened as tokenizer_of
from voxpop.weights.making import model as making
from voxpop.weights.making.folder import made, spoken
from voxpop.weights.making.lessons import BOS, Texts, divided, framed
from voxpop.weights.making.model import Recipe, Report, rate_of, taught
from voxpop.weights.proving.measuring import InTorch, Remembered, in_llama_cpp, perplexity, quality, speed, unigram
from voxpop.weights.random_weights import random_weights

TINY = making.SIZES["tiny"]
POSTS = [event.text for event in world.night(1) if event.op == "create" and event.record["langs"] == ["en"]]
RECIPE = Recipe(TINY, seed=1, steps=70, batch=8, length=96, rate=4e-3, threads=1)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that learnt for some seconds, as its maker writes it."""
    out = tmp_path_factory.mktemp("made") / "model"
    made(out, POSTS, RECIPE)
    return out


@pytest.fixture(scope="session")
def report(folder: Path) -> dict[str, float]:
    return dict(json.loads((folder / "made.json").read_text())["report"])


@pytest.fixture(scope="session")
def held(folder: Path) -> list[list[int]]:
    """Posts that it never saw, in its tokens."""
    vocabulary = tokenizer_of(folder)
    return [[BOS, *vocabulary.encode(text)] for text in divided(POSTS, 1)[1][:12]]


@pytest.fixture(scope="session")
def vocabulary() -> Tokenizer:
    return Tokenizer(spoken(POSTS, RECIPE))


@pytest.fixture(scope="session")
def some(vocabulary: Tokenizer) -> Texts:
    """Few texts, for models of which only the bytes are looked at."""
    return Texts(POSTS[:150], vocabulary, 3)


def bytes_of(model: making.Held) -> bytes:
    parts = (model.read(name) for name in model.shape.specs)
    return b"".join((p.weight.tobytes() if hasattr(p, "weight") else p.tobytes()) for p in parts)


class TestLearning:
    def test_it_foresees_posts_that_it_never_saw(self, report: dict[str, float]) -> None:
        assert report["before"] > report["unigram"] > 100
        assert report["after"] < report["unigram"] / 2

    def test_int8_is_as_good(self, report: dict[str, float]) -> None:
        assert report["int8"] == pytest.approx(report["after"], rel=0.01)
        assert report["int8"] != report["after"]

    def test_its_routers_are_calm_and_even(self, folder: Path, report: dict[str, float]) -> None:
        assert 0 < report["router"] <= making.ROUTER_MOST
        weights = making.Floats(opened(folder))
        routers = making.Routers(weights)
        making.Forward(weights, watch=routers).logits(torch.tensor([[BOS, 300, 301, 302, 303, 304, 305, 306]]))
        assert routers.layers == 12
        assert 1 <= float(routers.balance) / 12 < 3

    def test_a_router_beyond_what_engines_agree_on_is_told(self) -> None:
        calm = Report(1, 1, 1, 1, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, router=2.9)
        loud = Report(1, 1, 1, 1, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, router=3.1)
        assert calm.fault == ""
        assert "3.1" in loud.fault
        assert "SGLang" in loud.fault

    def test_loud_routers_are_made_calm(self) -> None:
        weights = making.Floats(random_weights(TINY, strong=True), trained=True)
        routers = making.Routers(weights)
        learn = [tensor for name, tensor in weights.tensors.items() if name.endswith("router")]
        adam = torch.optim.Adam(learn, lr=0.05)
        forward = making.Forward(weights, watch=routers)
        heard = []
        for _ in range(10):
            routers.begin()
            forward.logits(torch.arange(300, 316)[None])
            heard.append(routers.largest)
            routers.z.backward()
            adam.step()
            adam.zero_grad()
        assert heard[0] > 8
        assert heard[-1] < heard[0] * 2 / 3

    def test_the_same_seed_and_steps_give_the_same_model(self, some: Texts) -> None:
        short = Recipe(TINY, seed=3, steps=2, batch=2, length=32, threads=1)
        first, again = (taught(short, some)[0] for _ in range(2))
        other = taught(Recipe(TINY, seed=4, steps=2, batch=2, length=32, threads=1), some)[0]
        assert bytes_of(first) == bytes_of(again)
        assert bytes_of(first) != bytes_of(other)

    def test_minutes_give_the_model_that_their_steps_give(self, some: Texts) -> None:
        ticks = iter(range(0, 1000, 10))
        by_time = Recipe(TINY, seed=3, minutes=1.0, batch=2, length=32, threads=1)
        timed, told = taught(by_time, some, clock=lambda: float(next(ticks)))
        assert told.steps == 7  # 36 of 60 seconds are over after four steps of ten
        counted = taught(Recipe(TINY, seed=3, steps=7, batch=2, length=32, threads=1), some)[0]
        assert bytes_of(timed) == bytes_of(counted)

    def test_the_rate_rises_stays_and_falls(self) -> None:
        rates = [rate_of(step, 200) for step in range(200)]
        assert rates[0] == 0.05
        assert rates[19] == rates[100] == 1.0
        assert rates[120:] == sorted(rates[120:], reverse=True)
        assert 0 < rates[-1] < 1e-3
        assert rates[:120] == [rate_of(step, None) for step in range(120)]


class TestLessons:
    def test_a_frame_is_the_prompt_of_an_engine_and_the_posts_own_words(self) -> None:
        lessons = list(framed(POSTS, 5, 200))
        assert len(lessons) == 200
        for before, after in lessons:
            assert before.startswith("Posts:\n[1] @")
            assert before.endswith(", one line a post.\n")
            posts = dict(line.split("] ", 1) for line in before.split("\n\n")[0].splitlines()[1:])
            for number, answer in enumerate(after.splitlines(), 1):
                told, cited = answer.rsplit(" [", 1)
                assert cited == f"{number}]"
                words = told.split(": ", 1)[1] if "[unverified]" in posts[f"[{number}"] else told
                assert words in posts[f"[{number}"]

    def test_no_text_is_both_learnt_and_held_back(self) -> None:
        known, held = divided([*POSTS, *POSTS], 1)
        assert len(known) + len(held) == len({t.strip() for t in POSTS})
        assert not set(known) & set(held)
        assert len(held) == math.ceil((len(known) + len(held)) / 20)

    def test_what_is_held_back_is_in_no_row_and_token_0_in_none(self, vocabulary: Tokenizer) -> None:
        few = [f"Post number {n} of the night, {n * 7919 % 1000} votes" for n in range(400)]
        known = Texts(few, vocabulary, 1)
        _, back = divided(few, 1)
        rows = known.rows(96)
        seen = [next(rows) for _ in range(300)]
        assert all(len(row) == len(weights) == 96 and 0 not in row for row, weights in seen)
        said = "\n".join(vocabulary.decode(row) for row, _ in seen)
        assert not [text for text in back if f"{text}\n" in said or f"{text} [" in said]
        assert "Post number" in said

    def test_an_answer_is_cut_as_what_goes_on_from_a_prompt(self, some: Texts, vocabulary: Tokenizer) -> None:
        for lesson in framed(POSTS, 6, 20):
            tokens, early = some.tokens(lesson), some.before(lesson)
            assert tokens[:early] == [BOS, *vocabulary.encode(lesson.before)]
            assert vocabulary.decode(tokens[1:-1]) == "".join(lesson)
            assert not vocabulary.pieces.texts[tokens[early]].startswith("▁")

    def test_a_text_without_a_sentence_to_cite_gives_no_frame(self, vocabulary: Tokenizer) -> None:
        assert list(framed(["[1]", "hm"], 1, 5)) == []
        rows = Texts([f"w{n}" for n in range(120)], vocabulary, 1).rows(20)
        assert len(next(rows)[0]) == 20

    def test_too_few_texts_are_refused(self) -> None:
        with pytest.raises(UsageError, match="There are 2 different texts"):
            divided(["a", "b", "b ", ""], 1)


class TestEveryReader:
    def test_a_prompt_is_what_it_was_taught_with(self, folder: Path, tmp_path: Path) -> None:
        from voxpop.engines.gguf_file import GgufFile
        from voxpop.engines.template import Template
        from voxpop.engines.vocabulary import Vocabulary
        from voxpop.messages import Message

        as_gguf(folder, tmp_path / "m.gguf", "Q8_0")
        card = GgufFile(tmp_path / "m.gguf").card()
        words, lesson = Vocabulary(card), next(framed(POSTS, 9, 1))
        messages = (Message("system", "Be plain."), Message("user", lesson.before.removesuffix("\n")))
        tokens: list[int] = []
        for text, ours in Template(card).pieces(messages):
            tokens += words.encode(text, specials=ours, begins=tokens in ([], [BOS]))
        assert tokens == [BOS, *tokenizer_of(folder).encode(lesson.before)]

    async def test_it_answers_as_an_engine_in_the_form_of_an_answer(self, folder: Path, tmp_path: Path) -> None:
        from voxpop.engines.local import LocalEngine
        from voxpop.engines.runtimes import Wish
        from voxpop.messages import Message, Prompt, Sampling
        from voxpop.prompt import grammar

        as_gguf(folder, tmp_path / "m.gguf", "Q8_0")
        engine = LocalEngine.open(tmp_path / "m.gguf", Wish(threads=1, context=512, seats=1))
        try:
            engine.warm(["Be plain."])
            asked = next(framed(POSTS, 9, 1)).before
            prompt = Prompt(
                (Message("system", "Be plain."), Message("user", asked.removesuffix("\n"))),
                grammar=grammar({1: "@ann says: "}),
                sampling=Sampling(max_tokens=120, temperature=0.0),
            )
            said = "".join([delta.text async for delta in engine.generate(prompt)])
        finally:
            engine.close()
        assert said.startswith("@ann says: ")
        assert len(said) > 20

    def test_the_same_perplexity_in_every_layout(
        self, folder: Path, held: list[list[int]], report: dict[str, float], tmp_path: Path
    ) -> None:
        from voxpop.weights.formats.hf import FolderSink
        from voxpop.weights.formats.layouts import LAYOUTS

        source = opened(folder)
        found = {"xai": perplexity(InTorch(source), held)}
        for layout in LAYOUTS.values():
            sink = FolderSink(tmp_path / layout.name, layout, source.shape, "F32")
            written(source, sink)
            found[layout.name] = perplexity(InTorch(opened(tmp_path / layout.name)), held)
        for type_ in ("F32", "EXACT"):
            path = tmp_path / f"{type_}.gguf"
            as_gguf(folder, path, type_)
            found[f"gguf {type_}"] = perplexity(InTorch(opened(path)), held)
            with in_llama_cpp(path, threads=1) as model:
                found[f"llama.cpp {type_}"] = perplexity(model, held)
        assert len(found) == 8
        assert found["xai"] < report["unigram"] / 2
        rounds = found.pop("llama.cpp EXACT")  # what goes into a product with Q8_0, llama.cpp rounds to 8 bits too
        assert rounds == pytest.approx(found["xai"], rel=1e-2)
        for name, value in found.items():
            assert value == pytest.approx(found["xai"], rel=1e-3), name


class TestMeasuring:
    def test_a_model_is_at_no_distance_from_itself(self, folder: Path, held: list[list[int]]) -> None:
        model = InTorch(opened(folder))
        same = quality(model, held[:5], model)
        assert (same.kl, same.agrees) == (pytest.approx(0, abs=1e-12), 1.0)
        other = quality(InTorch(random_weights(TINY)), held[:5], model)
        assert other.kl > 1
        assert other.agrees < 0.9
        assert other.kl_99 > other.kl
        assert same.tokens == sum(len(tokens) - 1 for tokens in held[:5])

    def test_what_is_measured_is_what_a_hand_computes(self) -> None:
        one, two = _Fixed([0.5, 0.25, 0.25]), _Fixed([0.125, 0.375, 0.5])
        found = quality(two, [[0, 2, 1], [1, 1]], one)
        assert found.tokens == 3
        assert found.perplexity == pytest.approx((0.5 * 0.375 * 0.375) ** (-1 / 3))
        assert found.kl == pytest.approx(0.5 * math.log(4) + 0.25 * math.log(2 / 3) + 0.25 * math.log(0.5))
        assert found.agrees == 0

    def test_a_reference_is_asked_once(self) -> None:
        asked: list[list[int]] = []

        class Counted(_Fixed):
            def logits(self, tokens: list[int]) -> np.ndarray:
                asked.append(tokens)
                return super().logits(tokens)

        truth = Remembered(Counted([0.5, 0.5]))
        first, again = (quality(_Fixed([0.25, 0.75]), [[0, 1], [1, 1]], truth) for _ in range(2))
        assert first == again
        assert asked == [[0, 1], [1, 1]]

    def test_who_knows_only_how_often(self) -> None:
        assert unigram([[9, 0, 0, 1]], [[9, 0, 1]], 10) == pytest.approx((3 / 13 * 2 / 13) ** -0.5)

    def test_what_cannot_be_compared_is_refused(self) -> None:
        with pytest.raises(UsageError, match="knows 2 tokens, the model 3"):
            quality(_Fixed([0.5, 0.25, 0.25]), [[0, 1]], _Fixed([0.5, 0.5]))
        with pytest.raises(UsageError, match="no text of two tokens"):
            quality(_Fixed([0.5, 0.5]), [[1], []])

    def test_tokens_a_second(self, folder: Path) -> None:
        pace = speed(InTorch(opened(folder)), [[BOS, 300, 301]], prompt=16, answer=2, rounds=1)
        assert 1 < pace.answer < 1e6
        assert 1 < pace.prompt < 1e7


class TestFolder:
    def test_how_it_came_to_be(self, folder: Path) -> None:
        record = json.loads((folder / "made.json").read_text())
        assert record["recipe"]["steps"] == record["report"]["steps"] == 70
        assert {p.name for p in folder.iterdir()} == {
            "ckpt-0",
            "tokenizer.model",
            "chat_template.jinja",
            "made.json",
        }
        assert len(list((folder / "ckpt-0").glob("tensor*_000"))) == 2 + 12 * 12

    def test_a_folder_with_something_in_it_is_left_alone(self, tmp_path: Path) -> None:
        (tmp_path / "mine").write_text("mine")
        with pytest.raises(UsageError, match="something at"):
            made(tmp_path, POSTS, RECIPE)
        assert [p.name for p in tmp_path.iterdir()] == ["mine"]

    def test_one_that_was_killed_while_it_was_written_is_no_model(self, tmp_path: Path) -> None:
        out = tmp_path / "model"
        script = f"""
import os, signal
from pathlib import Path
from voxpop.weights.making.model import SIZES
from voxpop.weights.making.folder import written
from voxpop.weights.random_weights import random_weights
model = random_weights(SIZES["tiny"])
class Dies:
    shape, count = model.shape, 0
    def read(self, name):
        self.count += 1
        if self.count == 100:
            os.kill(os.getpid(), signal.SIGKILL)
        return model.read(name)
written(Path({str(out)!r}), Dies())
"""
        run = subprocess.run([sys.executable, "-c", script], timeout=60, check=False)
        assert run.returncode == -signal.SIGKILL
        assert list((out / "ckpt-0.part").glob("tensor*"))
        with pytest.raises(VoxpopError):
            opened(out)


class TestCommands:
    def test_make_then_bench(self, tmp_path: Path) -> None:
        out, posts = tmp_path / "m", tmp_path / "posts.jsonl"
        posts.write_text("".join(json.dumps({"text": text}) + "\n" for text in POSTS[:900]))
        asked = ["weights", "make", str(out), "--steps", "2", "--size", "tiny", "--texts", str(posts), "--json"]
        ran = CliRunner().invoke(program(), [*asked, "--threads", "1"])
        assert ran.exit_code == 0, ran.output
        told = json.loads(ran.stdout)
        assert told["steps"] == 2
        assert told["path"] == str(out)
        assert told["parameters"] > 1_000_000
        again = CliRunner().invoke(program(), asked)
        assert again.exit_code == 2
        assert "something at" in json.loads(again.stdout)["error"]["message"]
        plot = tmp_path / "kl.svg"
        asked = [
            "weights",
            "bench",
            str(out),
            "--reference",
            str(out),
            "--most",
            "3",
            "--plot",
            str(plot),
            "--json",
        ]
        ran = CliRunner().invoke(program(), [*asked, "--texts", str(posts)])
        assert ran.exit_code == 0, ran.output
        (row,) = json.loads(ran.stdout)["files"]
        assert row["engine"] == "torch"
        assert row["kl"] < 1e-9
        assert row["agrees"] == 1
        assert 8 < row["bits"] < 20
        assert plot.read_text().count("<svg") == 1

    def test_what_is_measured_on_was_not_learnt_from(self) -> None:
        learnt, measured = set(posts_of(None)), list(posts_of(None, unseen=True))
        assert len(learnt) > 5000
        assert len(measured) > 1000
        assert not learnt & set(measured)

    def test_texts_of_no_known_form(self, tmp_path: Path) -> None:
        bad = tmp_path / "posts.jsonl"
        for line, why in (("{", "line 2 is no JSON"), ('{"a": 1}', "line 2 has no 'text'")):
            bad.write_text('{"text": "one"}\n' + line + "\n")
            ran = CliRunner().invoke(program(), ["weights", "make", str(tmp_path / "m"), "--texts", str(bad)])
            assert ran.exit_code == 2
            assert why in ran.output
        assert not (tmp_path / "m").exists()


class _Fixed:
    """Foresees the same after every token."""

    def __init__(self, odds: list[float]) -> None:
        self._odds = np.log(np.array(odds, np.float32))
        self.vocabulary = len(odds)

    def logits(self, tokens: list[int]) -> np.ndarray:
        return np.tile(self._odds, (len(tokens), 1))

    def goes_on(self, tokens: list[int], count: int) -> float:
        return 1.0


def written(source: object, sink: object) -> None:
    for name in source.shape.specs:
        sink.write(name, source.read(name))
    sink.close()


def as_gguf(folder: Path, path: Path, mix: str) -> None:
    from voxpop.weights.formats.gguf_grok import GgufSink
    from voxpop.weights.mixes import mix as mix_of

    source, vocabulary = opened(folder), tokenizer_of(folder)
    pieces, template = vocabulary.pieces, template_beside(folder / "tokenizer.model")
    written(source, GgufSink(path, source.shape, mix_of(mix), vocabulary=pieces, template=template))
