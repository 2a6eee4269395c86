"""Checkpoints that lie, folders full of traps, and a hurried operator: each is refused, said, and loses nothing."""

import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from click.testing import CliRunner

from test_weights_converting import TINY
from voxpop.cli import program
from voxpop.engines.llamacpp import LlamaModel
from voxpop.errors import UsageError, VoxpopError
from voxpop.regular import regular
from voxpop.weights import converting, importance, narrowing, targets
from voxpop.weights.formats.gguf_grok import GgufSink, GgufSource
from voxpop.weights.formats.gguf_keys import Pieces, gguf_name, numbers
from voxpop.weights.formats.opening import opened
from voxpop.weights.formats.safetensors_file import Entry, header
from voxpop.weights.grok import Grok
from voxpop.weights.importance import Importance
from voxpop.weights.mixes import mix
from voxpop.weights.planning import machine
from voxpop.weights.proving import judging, verifying
from voxpop.weights.quantise import number, packed_rows
from voxpop.weights.random_weights import random_weights
from voxpop.weights.tensors import Held, Packed, Quantised, Tensor, float32, quantised

SHAPE = replace(TINY, layers=2)
WIDE = replace(
    SHAPE, layers=1, width=256, heads=4, head_width=64, feed_forward=256, experts=2, embedding_scale=16.0
)
SOURCE = random_weights(SHAPE, 1)
OTHER = random_weights(SHAPE, 2)
STEER = "\x1b[31mred\x07\u202e"


def written(held: Held, path: Path, format_: str = "xai", type_: str | None = None) -> Path:
    sink = targets.target(path, format_, type_).sink(held.shape)
    list(converting.convert(held, sink))
    sink.close()
    return path


def voxpop(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(program(), ["weights", *map(str, words)], color=True)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


# What is no file


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes")
class TestPipes:
    @staticmethod
    def ends(work: Callable[[], object]) -> BaseException:
        """What it raised; a test that waits for a pipe fails."""
        raised: list[BaseException] = []

        def run() -> None:
            try:
                work()
            except (OSError, VoxpopError) as error:
                raised.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(20)
        assert raised, "it waits, or takes a pipe for a file"
        return raised[0]

    def test_no_pipe_is_waited_for(self, tmp_path: Path) -> None:
        pipe = tmp_path / "model-00002-of-00002.gguf"
        os.mkfifo(pipe)
        assert "pipe" in str(self.ends(lambda: regular(pipe)))
        written(SOURCE, tmp_path / "model-00001-of-00002.gguf", "gguf")
        self.ends(lambda: GgufSource(tmp_path / "model-00001-of-00002.gguf"))
        self.ends(lambda: importance.read(pipe, SHAPE))
        os.mkfifo(tmp_path / "machine.toml")
        self.ends(lambda: machine.machine_named(str(tmp_path / "machine.toml")))

    @pytest.mark.parametrize("index", [True, False])
    def test_nor_one_in_a_folder(self, tmp_path: Path, index: bool) -> None:
        folder = written(SOURCE, tmp_path / "out", "keyfan")
        os.mkfifo(folder / "x-TP-000.safetensors")
        if index:
            rows = {"weight_map": {"a": "x-TP-000.safetensors"}}
            (folder / "model.safetensors.index.json").write_text(json.dumps(rows))
        assert "pipe" in str(self.ends(lambda: opened(folder)))


def test_a_link_to_nothing_is_named(tmp_path: Path) -> None:
    folder = written(SOURCE, tmp_path / "out") / "ckpt-0"
    (folder / "tensor00005_000").unlink()
    (folder / "tensor00005_000").symlink_to("nowhere")
    code, said = voxpop("inspect", folder)
    assert code == 1
    assert "tensor00005_000 cannot be read: No such file" in said


def test_a_path_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    written(SOURCE, tmp_path / "in")
    for words in (("inspect", "x" * 300), ("plan", "--machine", "epyc-12ch", "--plot", "/none/x.svg")):
        code, said = voxpop(*words)
        assert code == 1
        assert len(said.splitlines()) == 1
        assert said.startswith("voxpop: ")


# Names


def test_no_name_steers_the_terminal(tmp_path: Path) -> None:
    folder = written(SOURCE, tmp_path / "out", "keyfan")
    (folder / "model.safetensors").write_bytes(header({STEER: Entry("F32", (0,), 0, 0)}))
    path = changed(tmp_path / "m.gguf", {"general.name": STEER}, extra={STEER: np.zeros(3, np.float32)})
    (tmp_path / "m.toml").write_text(f"cores=8\nmemory=9\nrate=9\n{json.dumps(STEER)}=1")
    for words in (("inspect", folder), ("inspect", path), ("plan", "--machine", tmp_path / "m.toml")):
        said = voxpop(*words)[1]
        assert "red" in said
        assert not {"\x1b", "\x07", "\u202e"} & {*said}


def test_a_printed_command_can_be_pasted(tmp_path: Path) -> None:
    path = written(SOURCE, tmp_path / "x; rm -rf y")
    assert f"voxpop weights convert '{path}' 'x; rm -rf y.gguf' --to gguf" in voxpop("inspect", path)[1]


# What a GGUF file says


def changed(
    path: Path,
    keys: dict[str, Any] | None = None,
    extra: dict[str, Any] | None = None,
    types: dict[str, Any] | None = None,
    shape: Grok = SHAPE,
) -> Path:
    """A right file with other keys, more tensors, or tensors of another type."""
    keys = keys or {}
    writer = gguf.GGUFWriter(path, "grok")
    writer.add_tokenizer_model("no_vocab")
    adds: tuple[tuple[type, Any], ...] = (
        *((float, writer.add_float32), (int, writer.add_uint32)),
        *((str, writer.add_string), (list, writer.add_array)),
    )
    for key, value in {**numbers(shape), **keys}.items():
        next(add for kind, add in adds if isinstance(value, kind))(key, value)
    held = random_weights(shape, 1, int8=False)
    for spec in shape.specs.values():
        values = float32(held.read(spec.name))
        values = (
            np.ascontiguousarray(values.swapaxes(-1, -2))
            if values.ndim > 1 and spec.kind != "embedding"
            else values
        )
        writer.add_tensor(gguf_name(spec.name), values.astype((types or {}).get(spec.name, np.float32)))
    for name, values in (extra or {}).items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"grok.rope.scaling.type": "linear"}, "rope.scaling.type is 'linear', and Grok-1 has no such key"),
        ({"grok.expert_weights_scale": 2.5}, "expert_weights_scale is 2.5"),
        ({"grok.expert_gating_func": 2}, "expert_gating_func is 2"),
        ({"grok.router_logit_softcapping": STEER}, "router_logit_softcapping is '\\x1b"),
        ({"grok.router_logit_softcapping": [1.0, 2.0]}, r"router_logit_softcapping is [1.0, 2.0]"),
        ({"tokenizer.ggml.tokens": ["a", "b"]}, "tokens has not the 96 entries"),
        ({"tokenizer.ggml.scores": [0.5]}, "scores has not the 96 entries"),
        ({"grok.expert_gating_func": 1, "grok.rope.scaling.type": "none"}, None),
    ],
)
def test_a_key_that_changes_what_is_computed_is_a_fault(
    tmp_path: Path, keys: dict[str, Any], said: str | None
) -> None:
    found = GgufSource(changed(tmp_path / "m.gguf", keys)).faults()
    assert (len(found) == 1 and said in found[0]) if said else not found


def test_llama_cpp_does_compute_otherwise_with_such_a_key(tmp_path: Path) -> None:
    logits = []
    for keys in ({}, {"grok.rope.scaling.type": "linear", "grok.rope.scaling.factor": 4.0}):
        with LlamaModel(changed(tmp_path / "m.gguf", keys), context=64, threads=1, kv="f32") as model:
            logits.append(model.session().feed([*range(5, 25)]))
    assert np.abs(logits[0] - logits[1]).max() > 0.1


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"grok.block_count": (1 << 31) - 1}, "says 2147483647 layers and holds 26"),
        ({"grok.expert_used_count": 99}, "99 of 8 experts are chosen"),
        ({"grok.attention.head_count": 3}, "3 heads share 2 keys"),
        ({"grok.attention.output_scale": float("nan")}, "output_scale is nan"),
        ({"grok.attention.output_scale": -1.0}, "output_scale is -1.0"),
        ({"voxpop.row_groups": STEER}, "row_groups is '"),
        ({"voxpop.row_groups": 0}, "row_groups is 0"),
        ({"voxpop.row_groups": 7}, "do not fall into 7 groups"),
    ],
)
def test_sizes_that_make_no_model_are_refused_at_once(tmp_path: Path, keys: dict[str, Any], said: str) -> None:
    with pytest.raises(VoxpopError, match=said):
        GgufSource(changed(tmp_path / "m.gguf", keys))


def test_the_same_of_xais_folder_and_of_a_config(tmp_path: Path) -> None:
    for format_, name, key in (
        ("xai", "ckpt-0/voxpop.json", "chosen"),
        ("keyfan", "config.json", "num_experts_per_tok"),
    ):
        path = written(SOURCE, tmp_path / format_, format_)
        rows = json.loads((path / name).read_text())
        (path / name).write_text(json.dumps({**rows, key: 99}))
        with pytest.raises(VoxpopError, match="99 of 8 experts are chosen"):
            opened(path)


def test_tensors_that_hold_no_weights_or_are_there_twice(tmp_path: Path) -> None:
    path = changed(tmp_path / "m.gguf", types={"layers.0.query": np.int32})
    with pytest.raises(VoxpopError, match=r"attn_q.weight is of the type I32"):
        GgufSource(path).read("layers.0.query")
    ones = np.ones(SHAPE.width, np.float32)
    twice = GgufSource(changed(path, extra={"blk.0.post_ffw_norm.weight": ones})).faults()
    assert "twice" in twice[0]
    assert "does not belong" in GgufSource(changed(path, extra={"rope_freqs.weight": ones})).faults()[0]
    first, second = (tmp_path / f"p-0000{i}-of-00002.gguf" for i in (1, 2))
    changed(first)
    changed(second)
    with pytest.raises(VoxpopError, match="a tensor twice"):
        GgufSource(first)


def test_a_folder_full_of_names_is_not_read_to_its_end(tmp_path: Path) -> None:
    folder = written(SOURCE, tmp_path / "out", "keyfan")
    (folder / "model.safetensors").rename(folder / "b.safetensors")
    (folder / "a.safetensors").write_bytes(header({f"x{i}": Entry("F32", (0,), 0, 0) for i in range(500)}))
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"x0": "a.safetensors"}}')
    with pytest.raises(VoxpopError, match="differ on 'x1' and 498 more"):
        opened(folder)
    (folder / "a.safetensors").write_bytes(header({f"x{i}": Entry("F32", (0,), 0, 0) for i in range(70_000)}))
    with pytest.raises(VoxpopError, match="has 70000 tensors"):
        opened(folder)


# A careless operator


class TestForce:
    def test_it_removes_a_checkpoint_and_nothing_else(self, tmp_path: Path) -> None:
        source, thesis = written(SOURCE, tmp_path / "in"), tmp_path / "thesis"
        (thesis / "chapters").mkdir(parents=True)
        (thesis / "model.json").write_text("mine")
        to = targets.target(thesis, "keyfan")
        with pytest.raises(UsageError, match="is no checkpoint"):
            list(targets.converted(opened(source), source, to, force=True))
        assert (thesis / "model.json").read_text() == "mine"
        with pytest.raises(UsageError, match="is no checkpoint"):
            list(narrowing.narrowed(opened(source), source, thesis, mix("Q8_0"), force=True))
        for format_ in ("xai", "keyfan"):
            other = targets.target(written(OTHER, tmp_path / format_, format_), "lmzheng")
            list(targets.converted(opened(source), source, other, force=True))
            assert opened(other.path).shape.layers == 2

    def test_what_is_there_outlives_a_format_that_cannot_say_the_model(self, tmp_path: Path) -> None:
        odd = replace(SHAPE, head_width=32)
        source = written(random_weights(odd, 1), tmp_path / "in")
        for format_ in ("gguf", "keyfan"):
            out = written(OTHER, tmp_path / format_, format_)
            with pytest.raises(VoxpopError, match="heads of 32"):
                list(targets.converted(opened(source), source, targets.target(out, format_), force=True))
            assert opened(out).shape == SHAPE

    def test_it_does_not_take_a_target_from_who_writes_it(self, tmp_path: Path) -> None:
        source, to = written(SOURCE, tmp_path / "in"), targets.target(tmp_path / "out", "keyfan")
        steps = targets.converted(opened(source), source, to)
        next(steps)
        with pytest.raises(VoxpopError, match="written by another process"):
            list(targets.converted(opened(source), source, to, force=True))
        assert len(list(steps)) == len(SHAPE.specs) - 1


@pytest.mark.parametrize("name", ["grok[1].gguf", "*.gguf", "plain.gguf"])
def test_another_source_never_goes_on_with_what_was_begun(tmp_path: Path, name: str) -> None:
    first, second = written(SOURCE, tmp_path / "a"), written(OTHER, tmp_path / "b")
    to = targets.target(tmp_path / name, "gguf", "f32")
    begun(opened(first), first, to)
    with pytest.raises(VoxpopError, match=r"begun as another conversion: source '.*/a'"):
        list(targets.converted(opened(second), second, to))
    bystander = targets.target(tmp_path / "grok1.gguf", "gguf", "f32")
    begun(opened(first), first, bystander)
    list(targets.converted(opened(second), second, to, force=True))
    assert len(list(targets.converted(opened(first), first, bystander))) == len(SHAPE.specs) - 4
    assert all(not found.wrong for found in verifying.verify(opened(to.path), OTHER))


def test_nor_the_same_path_with_other_weights(tmp_path: Path) -> None:
    source, to = written(SOURCE, tmp_path / "in"), targets.target(tmp_path / "out", "gguf", "f32")
    begun(opened(source), source, to)
    converting.remove(source)
    written(OTHER, source)
    with pytest.raises(VoxpopError, match=r"The files of .* have changed since"):
        list(targets.converted(opened(source), source, to))


def test_nor_another_matrix_of_importance(tmp_path: Path) -> None:
    source, out = written(SOURCE, tmp_path / "in"), tmp_path / "out.gguf"
    linear = [s for s in SHAPE.specs.values() if s.kind in ("attention", "expert", "router")]

    def matrix(seed: int) -> Importance:
        luck, many = np.random.RandomState(seed), {s.name: s.shape[0] if s.kind == "expert" else 1 for s in linear}
        sums = {s.name: luck.uniform(1, 2, (many[s.name], s.shape[-2])).astype(np.float32) for s in linear}
        return Importance(sums, {s.name: np.ones(many[s.name], np.float32) for s in linear}, 1, 8, ("posts",))

    given = opened(source), source, out, mix("Q4_K_M")
    steps = narrowing.narrowed(*given, importance=matrix(1))
    next(steps)
    steps.close()  # type: ignore[attr-defined]
    with pytest.raises(VoxpopError, match="begun as another conversion: importance"):
        next(narrowing.narrowed(*given, importance=matrix(2)))
    assert len(list(narrowing.narrowed(*given, importance=matrix(1)))) == len(SHAPE.specs) - 1


def begun(source: Any, path: Path, to: targets.Target) -> None:
    steps: Iterator[Any] = targets.converted(source, path, to)
    for _ in range(4):
        next(steps)
    steps.close()  # type: ignore[attr-defined]


def test_what_is_not_finite_does_not_become_int8() -> None:
    values = np.ones((8, 8), np.float32)
    values[3, 3] = np.inf
    with pytest.raises(VoxpopError, match="not finite"):
        quantised(values)


# A wrong file that was called right


def damaged(change: Callable[[Any], object], type_: str = "Q4_K") -> str:
    """What `verify` says of a gate of which one expert was changed before it was quantised."""
    source, name = random_weights(WIDE, 4), "layers.0.gate"
    values = float32(source.read(name)).copy()
    change(values[1])
    rows = [np.concatenate(list(packed_rows(expert, type_, turned=True))) for expert in values]
    tensors: dict[str, Tensor] = {n: source.read(n) for n in WIDE.specs}
    tensors[name] = Packed(np.stack(rows), number(type_))
    findings = {f.tensor: f.wrong for f in verifying.verify(Held(WIDE, tensors), source) if f.wrong}
    assert findings.keys() <= {name}
    return findings.get(name, "")


def column(place: Any, value: Any) -> Callable[[Any], None]:
    return lambda weights: weights.__setitem__(place, value(weights[place]))


ALL = slice(None)


@pytest.mark.parametrize("type_", ["Q6_K", "Q4_K", "IQ4_XS", "Q3_K"])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (column((ALL, 7), lambda w: w * 0), "output 7 is off by 1"),
        (column((ALL, 7), lambda w: -w), "output 7 is off by"),
        (column((ALL, [7, 8]), lambda w: w[:, ::-1]), "output"),
        (column((7, ALL), lambda w: w * 0), "input 7 is off by 1"),
        (column((7, ALL), lambda w: -w), "input 7 is off by"),
        (column((ALL, ALL), lambda w: w * np.float32(1.07)), "times what it should be"),
        (column((ALL, ALL), lambda w: w), ""),
    ],
)
def test_one_row_or_column_of_a_packed_matrix(change: Callable[[Any], None], said: str, type_: str) -> None:
    found = damaged(change, type_)
    assert ("1 of its 2 experts differ, such as 1" in found and said in found) if said else not found


def test_xais_own_type_is_the_same_to_the_bit() -> None:
    tensors: dict[str, Tensor] = {name: SOURCE.read(name) for name in SHAPE.specs}
    for name, part in (("layers.1.up", "weight"), ("layers.0.down", "scales")):
        right = SOURCE.read(name)
        assert isinstance(right, Quantised)
        copy = Quantised(right.weight.copy(), right.scales.copy())
        getattr(copy, part).view(np.uint8)[2, 0, 3] ^= 1
        tensors[name] = copy
    found = {f.tensor for f in verifying.verify(Held(SHAPE, tensors), SOURCE) if f.wrong}
    assert found == {"layers.1.up", "layers.0.down"}


def test_a_model_of_other_sizes_is_said_and_not_computed(tmp_path: Path) -> None:
    larger = replace(SHAPE, vocabulary=97, feed_forward=160)
    one, other = written(SOURCE, tmp_path / "a"), written(random_weights(larger, 1), tmp_path / "b")
    report = list(judging.judged(one, other))[-1]
    assert not report.right
    assert not report.agreements
    assert "It is [96, 64] and must be [97, 64]." in {f.wrong for f in report.findings}
    with pytest.raises(UsageError, match="with itself"):
        next(judging.judged(one, tmp_path / "." / "a"))


def test_another_vocabulary_in_a_file_is_wrong(tmp_path: Path) -> None:
    right = Pieces([f"w{i}" for i in range(96)], [-float(i) for i in range(96)], [1] * 96, 1, 2, 3, 0)
    swapped = replace(right, texts=[right.texts[1], right.texts[0], *right.texts[2:]])
    paths = {}
    for name, pieces in (("right", right), ("swapped", swapped), ("scored", replace(right, scores=[0.0] * 96))):
        paths[name] = tmp_path / f"{name}.gguf"
        sink = GgufSink(paths[name], SHAPE, mix("F32"), vocabulary=pieces)
        list(converting.convert(SOURCE, sink))
        sink.close()
    said = {}
    source = tmp_path / "source.gguf"
    source.write_bytes(paths["right"].read_bytes())
    for name, path in paths.items():
        report = list(judging.judged(path, source, layers=0))[-1]
        said[name] = report.faults
        assert report.right == (name == "right")
    assert "Token 0 has the text 'w1' and must have 'w0'" in said["swapped"][0]
    assert "Token 1 has the score" in said["scored"][0]
    bare = list(judging.judged(paths["right"], written(SOURCE, tmp_path / "bare"), layers=0))[-1]
    assert bare.right
    assert "not compared" in bare.tokenizer


# Odd machines


@pytest.mark.parametrize("flag", ["--ram", "--bandwidth", "--disk", "--watts", "--eur-per-hour", "--eur-per-kwh"])
@pytest.mark.parametrize("value", ["nan", "inf", "1e300", "-1"])
def test_no_plan_for_what_is_no_number(flag: str, value: str) -> None:
    code, said = voxpop("plan", "--machine", "epyc-12ch", flag, value)
    assert code == 2
    assert f"'{flag}'" in said


@pytest.mark.parametrize(
    "line",
    [
        *("rate = nan", "cores = -8", "memory = 1e400", "link = 0", "sockets = 0", "gpus = -1", "disk = '5'"),
        *("price = 'x'", "price = {hour_usd = [1]}", "watts = true", "a = " + "[" * 5000),
    ],
)
def test_nor_for_a_machine_of_odd_numbers(tmp_path: Path, line: str) -> None:
    rows = {"cores": "cores = 8", "memory": "memory = 512", "rate": "rate = 200", "gpu": "gpu = 'h100'"}
    rows[line.partition(" ")[0]] = line
    (tmp_path / "m.toml").write_text("\n".join(rows.values()))
    code, said = voxpop("plan", "--machine", tmp_path / "m.toml")
    assert code == 2
    assert len(said.splitlines()) == 1
