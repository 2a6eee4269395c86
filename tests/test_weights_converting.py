"""A checkpoint converted is the same weights, whatever is killed on the way (invariant 56)."""

import os
import random
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import environment
from voxpop.errors import UsageError, VoxpopError
from voxpop.weights import converting, targets
from voxpop.weights.formats.opening import opened
from voxpop.weights.formats.sums import checksum, manifest_of, read_manifest
from voxpop.weights.grok import GROK_1, Grok, scaled
from voxpop.weights.random_weights import random_weights
from voxpop.weights.tensors import Held, Hollow, float32

TINY = Grok(
    layers=12,
    width=64,
    heads=4,
    kv_heads=2,
    head_width=16,
    feed_forward=128,
    vocabulary=96,
    context=512,
    row_groups=2,
    embedding_scale=8.0,
    attention_scale=0.25,
)
EXACT = {"xai": "int8", "gguf": "f32", "keyfan": "f32", "hpcai": "f32", "lmzheng": "f32"}
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def held() -> Held:
    return random_weights(TINY, 7)


@pytest.fixture(scope="module")
def sources(memory: Path, held: Held) -> dict[str, Path]:
    """The same weights in every format."""
    found = {}
    for format_, type_ in EXACT.items():
        found[format_] = memory / f"source.{format_}"
        write(held, targets.target(found[format_], format_, type_))
    return found


def write(held: Held, to: targets.Target) -> None:
    sink = to.sink(held.shape)
    list(converting.convert(held, sink))
    sink.close()


def convert(source: Path, to: targets.Target, *, force: bool = False) -> list[converting.Progress]:
    return list(targets.converted(opened(source), source, to, force=force))


def tree(path: Path) -> dict[str, bytes]:
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


@pytest.mark.parametrize("there", EXACT)
@pytest.mark.parametrize("here", EXACT)
def test_any_format_becomes_any_other_with_equal_values(
    here: str, there: str, sources: dict[str, Path], memory: Path, held: Held
) -> None:
    out = memory / f"{here}-{there}"
    steps = convert(sources[here], targets.target(out, there, EXACT[there]))
    assert steps[-1].done == steps[-1].total
    assert len(steps) == len(TINY.specs)
    found = opened(out)
    manifest = read_manifest(out)
    assert manifest.keys() == TINY.specs.keys()
    for name in TINY.specs:
        tensor = found.read(name)
        np.testing.assert_array_equal(float32(tensor), float32(held.read(name)), name)
        assert checksum(tensor) == manifest[name]
    assert replace(found.shape, row_groups=2) == TINY
    assert not list(out.parent.glob(f"{out.name}.*part*"))
    assert not list(out.parent.glob(f"{out.name}.claim"))
    if here == there:
        assert tree(out) == tree(sources[here])
    converting.remove(out)
    assert not out.exists()
    assert not manifest_of(out).exists()


@settings(max_examples=10, deadline=None)
@given(
    layers=st.integers(1, 3),
    heads=st.integers(1, 3),
    kv=st.integers(1, 2),
    experts=st.integers(2, 5),
    wide=st.integers(1, 3),
    vocabulary=st.integers(5, 80),
    groups=st.sampled_from([1, 2, 8]),
)
def test_any_shape_goes_round(
    memory: Path, layers: int, heads: int, kv: int, experts: int, wide: int, vocabulary: int, groups: int
) -> None:
    shape = Grok(
        layers=layers,
        width=32 * heads * kv,
        heads=heads * kv,
        kv_heads=kv,
        head_width=32,
        feed_forward=32 * wide,
        experts=experts,
        vocabulary=vocabulary,
        row_groups=groups,
        embedding_scale=3.0,
    )
    given_ = random_weights(shape, layers)
    first, second, third = (memory / f"shape-{name}" for name in ("xai", "gguf", "keyfan"))
    for path in (first, second, third):
        converting.remove(path)
    write(given_, targets.target(first, "xai"))
    convert(first, targets.target(second, "gguf", "f32"))
    convert(second, targets.target(third, "keyfan", "f32"))
    for path in (second, third):
        found = opened(path)
        for name in shape.specs:
            np.testing.assert_array_equal(float32(found.read(name)), float32(given_.read(name)), name)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_killed_at_any_moment_it_ends_with_the_same_bytes(sources: dict[str, Path], memory: Path) -> None:
    folder, seed = memory / "lives", random.randrange(1 << 30)
    folder.mkdir()
    command = [sys.executable, str(HERE / "conversion_lives.py"), str(sources["xai"]), str(folder), "6", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment())
    assert done.returncode == 0, f"seed {seed}: {done.stdout}{done.stderr}"
    for format_ in ("gguf", "xai", "keyfan"):
        lay = [int(count) for name, count in map(str.split, done.stdout.splitlines()) if name == format_]
        assert any(0 < count < len(TINY.specs) for count in lay), f"seed {seed}: {done.stdout}"
        out, twin = folder / f"out.{format_}", folder / f"twin.{format_}"
        assert tree(out) == tree(twin), f"seed {seed}"
        assert read_manifest(out) == read_manifest(twin)
    assert not [path.name for path in folder.iterdir() if "part" in path.name or "claim" in path.name]


@pytest.mark.parametrize(
    ("format_", "type_", "files", "gigabytes"),
    [
        ("gguf", "q8_0", 1, 335.43),
        ("gguf", "f32", 1, 1262.74),
        ("keyfan", "bf16", 192, 631.38),
        ("xai", "int8", 770, 318.24),
    ],
)
def test_grok_1_whole_has_true_headers_and_the_size_that_was_said(
    format_: str, type_: str, files: int, gigabytes: float, on_disk: Path
) -> None:
    to = targets.target(on_disk / "grok-1", format_, type_)
    found, size = targets.headers(GROK_1, to, to.path)
    assert (found, round(size / 1e9, 2)) == (files, gigabytes)
    assert targets.expected_bytes(GROK_1, to) == pytest.approx(size, rel=2e-5)
    held_ = sum(file.stat().st_blocks * 512 for file in on_disk.rglob("*") if file.is_file())
    assert held_ < 20e6, "holes were filled"


class TestRefusals:
    def test_a_disk_that_is_too_small(self, sources: dict[str, Path], tmp_path: Path) -> None:
        need = targets.expected_bytes(TINY, targets.target(tmp_path / "out", "gguf"))
        with pytest.raises(VoxpopError, match=r"needs 0\.07 GB more; .* has 0\.07 GB free") as caught:
            converting.refuse_unwritable(sources["xai"], tmp_path / "out", need, free=need + (64 << 20) - 1)
        assert caught.value.code == "disk_full"
        converting.refuse_unwritable(sources["xai"], tmp_path / "out", need, free=need + (64 << 20))

    def test_what_was_begun_counts_as_there(self, sources: dict[str, Path], tmp_path: Path) -> None:
        out = tmp_path / "out"
        (tmp_path / "out.part").write_bytes(bytes(1 << 20))
        converting.refuse_unwritable(sources["xai"], out, 1 << 20, free=64 << 20)
        with pytest.raises(VoxpopError):
            converting.refuse_unwritable(sources["xai"], out, (1 << 20) + 8192, free=64 << 20)

    def test_source_and_target_in_each_other(self, sources: dict[str, Path], tmp_path: Path) -> None:
        link = tmp_path / "link"
        link.symlink_to(sources["xai"])
        for target in (sources["xai"], sources["xai"] / "ckpt-0" / "x", sources["xai"].parent, link):
            with pytest.raises(UsageError, match="is the source"):
                converting.refuse_unwritable(sources["xai"], target, 1, replaced=True)

    def test_a_target_that_is_there_unless_forced(self, sources: dict[str, Path], tmp_path: Path) -> None:
        to = targets.target(tmp_path / "out", "keyfan")
        to.path.write_text("mine")
        with pytest.raises(UsageError, match="something at"):
            convert(sources["xai"], to)
        with pytest.raises(UsageError, match="no checkpoint"):
            convert(sources["xai"], to, force=True)
        assert to.path.read_text() == "mine"
        to.path.write_bytes(b"GGUF of before")
        convert(sources["xai"], to, force=True)
        assert opened(to.path).shape.layers == TINY.layers

    def test_to_go_on_from_another_source(self, sources: dict[str, Path], tmp_path: Path) -> None:
        to = targets.target(tmp_path / "out", "gguf")
        steps = targets.converted(opened(sources["xai"]), sources["xai"], to)
        next(steps)
        with pytest.raises(VoxpopError, match="written by another process"):
            convert(sources["xai"], to)
        steps.close()  # type: ignore[attr-defined]
        with pytest.raises(VoxpopError, match="begun as another conversion"):
            convert(sources["keyfan"], to)
        assert len(convert(sources["xai"], to)) == len(TINY.specs) - 1
        assert not manifest_of(to.path).with_name("out.claim").exists()

    def test_a_type_that_the_format_has_not(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="no type 'q8_0', only bf16"):
            targets.target(tmp_path / "out", "keyfan", "q8_0")
        with pytest.raises(UsageError, match="voxpop weights quantize"):
            targets.target(tmp_path / "out", "gguf", "int8")

    def test_a_disk_that_fails_says_so_and_is_gone_on_with(self, sources: dict[str, Path], tmp_path: Path) -> None:
        out = tmp_path / "out"
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
            with pytest.raises(VoxpopError, match="cannot be written: File too large"):
                convert(sources["xai"], targets.target(out, "keyfan"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, ignored)
        assert not out.exists()
        convert(sources["xai"], targets.target(out, "keyfan"))
        assert opened(out).shape.layers == TINY.layers


_MEASURED = """
import sys
from pathlib import Path
from voxpop.weights import targets
from voxpop.weights.converting import remove
from voxpop.weights.formats.opening import opened

def peak():
    # getrusage would tell the peak of whoever started this, where that one was larger.
    text = Path("/proc/self/status").read_text()
    return int(text.partition("VmHWM:")[2].split()[0]) * 1024

def convert(source, out, format_, type_):
    for _ in targets.converted(opened(Path(source)), Path(source), targets.target(Path(out), format_, type_)):
        pass

small, large, out = sys.argv[1:]
every = (("gguf", "q8_0"), ("gguf", "f16"), ("hpcai", "bf16"))
for format_, type_ in every:
    convert(small, out, format_, type_)
    remove(Path(out))
before = peak()
for format_, type_ in every:
    convert(large, out, format_, type_)
    remove(Path(out))
    print(format_, type_, peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system tells no peak of memory")
def test_memory_is_bounded_by_the_largest_tensor(sources: dict[str, Path], memory: Path) -> None:
    shape = replace(scaled(1, layers=1, vocabulary=64), width=2048, heads=16, feed_forward=6144)
    hollow = targets.target(memory / "large", "xai").sink(shape, hollow=True)
    for name in shape.specs:
        hollow.write(name, Hollow(shape).read(name))
    hollow.close()
    largest = max(spec.parameters for spec in shape.specs.values())
    command = [sys.executable, "-c", _MEASURED, str(sources["xai"]), str(memory / "large"), str(memory / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment())
    assert done.returncode == 0, done.stderr
    peaks = [int(line.split()[-1]) for line in done.stdout.splitlines()]
    assert len(peaks) == 3
    assert max(peaks) <= 2 * largest, f"{done.stdout} for {largest}"
