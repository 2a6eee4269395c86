"""A file of xAI's checkpoint: what was pickled is read as it was, what was not is refused, and nothing runs."""

import io
import os
import pickle
import pickletools
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from leaf_oracle import QuantizedWeight8bit, known, parts
from voxpop.errors import VoxpopError
from voxpop.weights.formats import pickles, pickling
from voxpop.weights.tensors import Quantised, bfloat16

SEEDS = Path(__file__).parent / "fuzz" / "seeds" / "leaf"
WEIGHT = (np.arange(96) - 48).astype(np.int8).reshape(2, 8, 6)
SCALES = (np.arange(24) / 4).astype(bfloat16).reshape(2, 2, 6)
MATRIX = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.fixture(autouse=True)
def as_in_2024(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's own pickler writes the names that numpy 1 had, which numpy 2 still knows."""
    monkeypatch.setattr(sys.modules["__main__"], "QuantizedWeight8bit", QuantizedWeight8bit, raising=False)
    monkeypatch.setattr(np._core.multiarray._reconstruct, "__module__", "numpy.core.multiarray")


def pickled(value: Any, protocol: int = 4) -> bytes:
    """What Python's pickler writes, but for one flag that ml_dtypes 0.3.2 set and later ones do not."""
    real = QuantizedWeight8bit(value.weight, value.scales) if isinstance(value, Quantised) else value
    return pickle.dumps(real, protocol).replace(b"K\x02K\x02K\x40t", b"K\x02K\x02K\x50t")


def written(tensor: NDArray[Any] | Quantised) -> bytes:
    file = io.BytesIO()
    pickling.write(tensor, file)
    return file.getvalue()


def read(data: bytes, tmp_path: Path) -> NDArray[Any] | Quantised:
    (tmp_path / "leaf").write_bytes(data)
    return pickles.read(tmp_path / "leaf")


def refused(data: bytes, tmp_path: Path) -> str:
    with pytest.raises(VoxpopError) as caught:
        read(data, tmp_path)
    assert str(tmp_path / "leaf") in caught.value.what
    assert caught.value.cure.endswith(".")
    return caught.value.what


# What is read


@pytest.mark.parametrize("protocol", [4, 5])
def test_what_numpy_1_wrote_is_read(protocol: int) -> None:
    """Files that Python 3.11, numpy 1.26.4 and ml_dtypes 0.3.2 wrote, as xAI's requirements have them."""
    found = pickles.read(SEEDS / f"numpy-1.26-quantised-{protocol}")
    assert isinstance(found, Quantised)
    assert parts(found) == parts(Quantised(WEIGHT, SCALES))
    assert parts(pickles.read(SEEDS / f"numpy-1.26-float32-{protocol}")) == parts(MATRIX)


def test_we_write_what_numpy_1_wrote() -> None:
    assert written(Quantised(WEIGHT, SCALES)) == (SEEDS / "numpy-1.26-quantised-4").read_bytes()
    assert written(MATRIX) == (SEEDS / "numpy-1.26-float32-4").read_bytes()


ARRAYS = st.one_of(
    st.tuples(st.integers(1, 3000)),
    st.tuples(st.integers(1, 40), st.sampled_from([1, 5, 255, 256, 257, 4095, 4096, 70_000])),
    st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 300)),
).map(lambda shape: np.resize(np.arange(-500, 500, dtype=np.float32), shape))
INT8 = st.builds(
    lambda experts, groups, rows, columns: Quantised(
        np.resize(np.arange(-127, 128).astype(np.int8), (*experts, groups * rows, columns)),
        np.resize(SCALES, (*experts, groups, columns)),
    ),
    experts=st.sampled_from([(), (1,), (3,)]),
    groups=st.sampled_from([1, 2, 8]),
    rows=st.sampled_from([1, 3, 8]),
    columns=st.sampled_from([1, 7, 300, 1000, 1024, 4096, 8180, 8190, 8192, 10_000]),  # frames are of 64 KiB
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tensor=st.one_of(ARRAYS, ARRAYS.map(lambda a: a.astype(bfloat16)), INT8))
def test_any_size_is_written_as_python_would_and_read_back(tensor: Any, tmp_path: Path) -> None:
    data = written(tensor)
    assert data == pickled(tensor)
    for way in (data, pickled(tensor, 5)):
        assert parts(read(way, tmp_path)) == parts(tensor)


def test_columns_first_is_read_and_rows_first_is_written(tmp_path: Path) -> None:
    data = pickled(np.asfortranarray(MATRIX))
    assert parts(read(data, tmp_path)) == parts(MATRIX)
    assert data != pickled(MATRIX)
    assert written(np.asfortranarray(MATRIX)) == written(MATRIX)
    turned = Quantised(np.asfortranarray(WEIGHT), SCALES[..., ::-1])
    assert parts(read(written(turned), tmp_path)) == parts(turned)


def test_a_file_of_the_release_has_the_size_that_was_reported(tmp_path: Path) -> None:
    nothing = np.zeros((), np.int8)
    for rows, groups, columns, size in ((6144, 1, 32768, 1_611_137_347), (32768, 8, 6144, 1_611_399_491)):
        tensor = Quantised(
            np.broadcast_to(nothing, (8, rows, columns)),
            np.broadcast_to(nothing.astype(bfloat16), (8, groups, columns)),
        )
        with (tmp_path / "leaf").open("wb") as file:
            pickling.write(tensor, file, hollow=True)
        about = (tmp_path / "leaf").stat()
        assert about.st_size == size
        assert about.st_blocks * 512 < 1 << 20
        found = pickles.read(tmp_path / "leaf")
        assert isinstance(found, Quantised)
        assert (found.weight.shape, found.scales.shape) == (tensor.weight.shape, tensor.scales.shape)


BOUNDED = """
import resource, sys
from pathlib import Path
from voxpop.weights.formats.pickles import read

def peak():  # not ru_maxrss, which begins with what the process that started this one had
    return next(int(line.split()[1]) for line in Path("/proc/self/status").open() if line.startswith("VmHWM"))

before = peak()
resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, 1 << 30))
found = read(Path(sys.argv[1]))
print(found.nbytes, found[-1, -1000:].sum(), peak() - before)
"""


def test_a_tensor_of_gigabytes_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "leaf"
    with path.open("wb") as file:
        pickling.write(np.broadcast_to(np.float32(0), (131072, 6144)), file, hollow=True)
    done = subprocess.run(
        [sys.executable, "-c", BOUNDED, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
    )
    size, last, grown_kib = done.stdout.split()
    assert (int(size), float(last)) == (3_221_225_472, 0)
    assert int(grown_kib) < 16 << 10


# What is refused


class Evil:
    def __init__(self, call: Any, *given: Any) -> None:
        self._call, self._given = call, given

    def __reduce__(self) -> Any:
        return self._call, self._given


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("where", ["whole", "scales", "weight"])
def test_a_call_of_the_system_is_refused_and_not_made(protocol: int, where: str, tmp_path: Path) -> None:
    evil = Evil(os.system, f"touch {tmp_path}/was-here")
    whole = QuantizedWeight8bit(evil if where == "weight" else WEIGHT, evil if where == "scales" else SCALES)
    data = pickle.dumps(evil if where == "whole" else whole, protocol)
    said = refused(data, tmp_path)
    assert not (tmp_path / "was-here").exists()
    if protocol in (4, 5):
        assert "'posix.system', which is not part of a tensor" in said
    pickle.loads(data)
    assert (tmp_path / "was-here").exists()  # the file would have done it


def text(said: str) -> bytes:
    return b"\x8c" + bytes([len(said)]) + said.encode()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("builtins", "eval"),
        ("os", "system"),
        ("numpy", "load"),
        ("numpy", "ndarray.tofile"),
        ("numpy.core.multiarray", "fromstring"),
        ("numpy.core.multiarray", "scalar"),
        ("ml_dtypes", "float8_e4m3fn"),
        ("__main__", "Other"),
        ("__main__", "QuantizedWeight8bit.__init__"),
        ("model", "QuantizedWeight8bit"),
        ("numpy ", "dtype"),
        ("numpy dtype", ""),
        ("", "numpy dtype"),
        ("copyreg", "_reconstructor"),
    ],
)
def test_no_other_name_is_known(module: str, name: str, tmp_path: Path) -> None:
    said = refused(b"\x80\x04" + text(module) + text(name) + b"\x93.", tmp_path)
    assert f"{module}.{name}" in said


def test_what_is_cut_is_refused_at_every_byte(tmp_path: Path) -> None:
    for data in (written(Quantised(WEIGHT, SCALES)), pickled(MATRIX, 5)):
        for size in range(len(data)):
            refused(data[:size], tmp_path)


def test_what_goes_on_is_refused(tmp_path: Path) -> None:
    for more in (b"\0", b".", b"\0" * 5000, written(MATRIX)):
        assert f"goes on for {len(more):,} bytes" in refused(written(MATRIX) + more, tmp_path)


def test_lengths_beyond_the_file_are_refused(tmp_path: Path) -> None:
    short = [b"\x8e" + (1 << 40).to_bytes(8, "little"), b"B" + b"\xff" * 4, b"C\x09", b"\x8c\x09"]
    short += [
        code + length for code in (b"\x8e", b"\x95", b"\x96") for length in (b"\xff" * 8, b"\x40" + b"\0" * 7)
    ]
    for head in short:
        assert "is cut" in refused(b"\x80\x04" + head + b"12345.", tmp_path)


def test_bombs_end(tmp_path: Path) -> None:
    doubling = b"\x80\x04" + b")" + b"\x94" + b"h\0h\0\x86\x94" * 10_000 + b"."
    assert "over 400 instructions" in refused(doubling, tmp_path)
    deep = b"\x80\x04" + b")" + b"\x85" * 100_000 + b"."
    assert "over 400 instructions" in refused(deep, tmp_path)
    assert "over 400 instructions" in refused(b"\x80\x04" + b"(" * 100_000 + b".", tmp_path)
    assert "instruction 0x72" in refused(b"\x80\x04)r\xff\xff\xff\xff.", tmp_path)  # a place in the memo at 4 GiB


def test_no_instruction_leaves_its_frame(tmp_path: Path) -> None:
    data = written(MATRIX)
    assert data[2:3] == b"\x95"
    for size in range(1, len(data) - 11):
        shorter = data[:3] + size.to_bytes(8, "little") + data[11:]
        try:
            assert parts(read(shorter, tmp_path)) == parts(MATRIX) == known(shorter)
        except VoxpopError as error:
            assert "leaves its frame" in error.what  # noqa: PT017
    assert "frame within a frame" in refused(data[:11] + data[2:3] + bytes(8) + data[11:], tmp_path)


SHAPE = b"K\x03K\x04\x86"


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        (b"K\x04K\x04\x86", "48 bytes for an array of 64"),
        (b"K\x03K\x03\x86", "48 bytes for an array of 36"),
        (b"J\xff\xff\xff\x7fK\x04\x86", "48 bytes for an array of"),
        (b"J\xfd\xff\xff\xffJ\xfc\xff\xff\xff\x86", "no size"),
        (b"K\x00K\x04\x86", "no size"),
        (b"\x88K\x0c\x86", "no size"),
        (b"NK\x0c\x86", "no size"),
        (b")", "one to 3 dimensions"),
        (b"(K\x01K\x01K\x03K\x04t", "one to 3 dimensions"),
        (b"K\x0c", "one to 3 dimensions"),
    ],
)
def test_shapes_that_do_not_hold_the_bytes_are_refused(shape: bytes, said: str, tmp_path: Path) -> None:
    data = written(MATRIX)
    assert data.count(SHAPE) == 1
    other = data.replace(SHAPE, shape)
    other = other[:3] + (len(other) - 11).to_bytes(8, "little") + other[11:]
    assert said in refused(other, tmp_path)


@pytest.mark.parametrize(
    "value",
    [
        MATRIX.astype(np.float64),
        MATRIX.astype(np.float16),
        MATRIX.astype(">f4"),
        MATRIX.astype("U4"),
        np.array(["a", None], object),
        np.zeros(3, [("a", "f4")]),
        np.array(1.0, np.float32),
        np.zeros((0, 4), np.float32),
        np.zeros((1, 1, 1, 1), np.float32),
        np.float32(1),
        QuantizedWeight8bit(WEIGHT, None),
        QuantizedWeight8bit(WEIGHT, SCALES.astype(np.float32)),
        QuantizedWeight8bit(MATRIX, SCALES),
        QuantizedWeight8bit(WEIGHT, SCALES[0]),
        QuantizedWeight8bit(WEIGHT[0], SCALES),
        QuantizedWeight8bit(WEIGHT, SCALES[:1]),
        QuantizedWeight8bit(WEIGHT, SCALES[..., :5]),
        QuantizedWeight8bit(WEIGHT, np.repeat(SCALES, 3, axis=1)[:, :3]),
        QuantizedWeight8bit(WEIGHT[0, 0], SCALES[0, 0]),
        QuantizedWeight8bit(QuantizedWeight8bit(WEIGHT, SCALES), SCALES),
        {"weight": WEIGHT, "scales": SCALES},
        [MATRIX],
        (MATRIX,),
        b"bytes",
        None,
    ],
)  # fmt: skip
@pytest.mark.parametrize("protocol", [4, 5])
def test_what_is_no_tensor_of_ours_is_refused(value: Any, protocol: int, tmp_path: Path) -> None:
    refused(pickle.dumps(value, protocol), tmp_path)


def test_only_a_file_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").touch()
    said = {"pipe": "not a file", "empty": "is empty", ".": "Is a directory", "none": "cannot be read"}
    for name, what in said.items():
        with pytest.raises(VoxpopError, match=what):
            pickles.read(tmp_path / name)


GOOD = [path.read_bytes() for path in sorted(SEEDS.glob("numpy-*"))]


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_changed_file_is_refused_or_means_what_python_says(data: st.DataObject, tmp_path: Path) -> None:
    changed = bytearray(data.draw(st.sampled_from(GOOD)))
    other = data.draw(st.sampled_from(GOOD))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(changed)))
        much = data.draw(st.integers(0, 12))
        start = data.draw(st.integers(0, len(other)))
        changed[at : at + much] = data.draw(
            st.one_of(
                st.binary(max_size=3),
                st.just(other[start : start + much]),
                st.sampled_from([bytes([code]) for code in pickles._STEPS]),
            )
        )
    try:
        found = parts(read(bytes(changed), tmp_path))
    except VoxpopError:
        return
    assert known(bytes(changed)) == found


def test_every_instruction_that_is_followed_is_one_that_python_writes() -> None:
    """Nothing is there that no file needs."""
    wide = Quantised(np.zeros((70_000, 300), np.int8), np.zeros((1, 300), bfloat16))
    seen: set[str] = set()
    for tensor in (Quantised(WEIGHT, SCALES), wide, MATRIX):
        for protocol in (4, 5):
            seen |= {code.code for code, _, _ in pickletools.genops(pickled(tensor, protocol))}
    assert {chr(code) for code in pickles._STEPS} == seen - {"\x80", "."} | {
        "\x8e"
    }  # 8 bytes of length: over 4 GiB
