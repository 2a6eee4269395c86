"""llama.cpp through its C interface: what it computes, what it holds, and what is refused before it can crash."""

import ctypes
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("xllamacpp", reason="the extra voxpop[local] is not installed")
pytest.importorskip("gguf", reason="the extra voxpop[local] is not installed")
pytest.importorskip("ml_dtypes", reason="the extra voxpop[weights] is not installed")

from grok_files import TINY, tiny
from voxpop.engines import llama_library
from voxpop.engines.llama_library import library
from voxpop.engines.llamacpp import LlamaModel
from voxpop.errors import UsageError, VoxpopError

NEAR = 2e-4  # of logits of some units: one token at a time rounds in another order than many


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("grok") / "tiny.gguf"
    tiny(found)
    return found


@pytest.fixture
def model(path: Path):
    with LlamaModel(path, context=2048, sequences=4, threads=1, kv="f32") as opened:
        yield opened


def tokens(count: int, seed: int = 0) -> list[int]:
    return np.random.default_rng(seed).integers(300, TINY.vocabulary, count).tolist()


def test_piece_by_piece_is_all_at_once(model: LlamaModel) -> None:
    asked = tokens(600)
    whole = model.session().feed(asked, 600)
    assert whole.shape == (600, TINY.vocabulary)
    assert whole.std() > 0.1
    other, told = model.session(), []
    for first, last in ((0, 1), (1, 2), (2, 130), (130, 600)):
        told.append(other.feed(asked[first:last], last - first))
    assert np.abs(np.concatenate(told) - whole).max() < NEAR
    assert len(other) == 600


def test_the_last_rows_are_told_also_across_batches(model: LlamaModel) -> None:
    asked = tokens(600)
    whole = model.session().feed(asked, 600)
    assert np.abs(model.session().feed(asked, 150) - whole[-150:]).max() < NEAR
    assert np.abs(model.session().feed(asked) - whole[-1:]).max() < NEAR


def test_what_is_cut_was_never_there(model: LlamaModel) -> None:
    asked = tokens(64)
    straight = model.session().feed(asked)
    turned = model.session()
    turned.feed(asked[:40])
    turned.feed(tokens(9, seed=1))
    turned.cut(40)
    assert len(turned) == 40
    assert np.abs(turned.feed(asked[40:]) - straight).max() < NEAR
    turned.cut(0)
    assert len(turned) == 0
    assert np.abs(turned.feed(asked) - straight).max() < NEAR


def test_a_copy_goes_on_by_itself(model: LlamaModel) -> None:
    first, second, lone = model.session(), model.session(), model.session()
    asked, one, two = tokens(50), tokens(7, seed=1), tokens(7, seed=2)
    first.feed(asked)
    second.feed(tokens(3, seed=3))
    second.begin(first.copy())
    expected_one = first.feed(one)
    got_two = second.feed(two)
    assert np.abs(lone.feed([*asked, *two]) - got_two).max() < NEAR
    lone.cut(0)
    assert np.abs(lone.feed([*asked, *one]) - expected_one).max() < NEAR
    first.cut(0)
    second.cut(50)
    assert np.abs(second.feed(two) - got_two).max() < NEAR, "the copy lost what the first one let go"


def test_no_sequence_changes_what_another_computes(model: LlamaModel) -> None:
    asked = tokens(70)
    first, second, third = (model.session() for _ in range(3))
    alone = first.feed(asked, 70)
    second.feed(tokens(900, seed=4))
    assert np.array_equal(third.feed(asked, 70), alone)


def test_a_copy_of_another_model_is_refused(model: LlamaModel, path: Path) -> None:
    session = model.session()
    session.feed(tokens(20))
    copy = session.copy()
    halves = LlamaModel(path, context=64, threads=1, kv="f16").session()
    with pytest.raises(VoxpopError, match="cannot be loaded"):
        halves.begin(copy)


def test_what_does_not_fit_is_said(model: LlamaModel, path: Path) -> None:
    session = model.session()
    with pytest.raises(VoxpopError, match="no place among 2048"):
        session.feed(tokens(2100))
    assert session.feed(tokens(2048)).shape == (1, TINY.vocabulary), "what did not fit was let go"
    session.cut(0)
    with pytest.raises(VoxpopError, match="invalid token"):
        model.session().feed([TINY.vocabulary])
    for _ in range(2):
        model.session()
    with pytest.raises(UsageError, match="in use"):
        model.session()
    with pytest.raises(UsageError, match="sequences"):
        LlamaModel(path, sequences=257)


def test_a_damaged_file_is_refused(path: Path, tmp_path: Path) -> None:
    whole = path.read_bytes()
    for name, data, said in (
        ("short", whole[: len(whole) // 2], "cannot be loaded"),
        ("other", b"not a model", "magic"),
        ("empty", b"", "cannot be loaded"),
        ("unknown", whole.replace(b"grok", b"gr0k"), "architecture"),
    ):
        damaged = tmp_path / f"{name}.gguf"
        damaged.write_bytes(data)
        with pytest.raises(VoxpopError, match=said):
            LlamaModel(damaged, threads=1)
    with pytest.raises(VoxpopError, match="no file"):
        LlamaModel(tmp_path / "absent.gguf")


def test_progress_is_told_to_the_end(path: Path) -> None:
    shares: list[float] = []
    LlamaModel(path, threads=1, progress=shares.append).close()
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


@pytest.mark.parametrize(
    ("which", "field", "value"),
    [("model", "n_gpu_layers", 7), ("model", "use_extra_bufts", 0), ("context", "type_v", 0)],
)
def test_a_library_of_another_layout_is_refused(which: str, field: str, value: int) -> None:
    known = library()

    class Other:
        """The same library with one field elsewhere."""

        def __getattr__(self, name: str) -> object:
            if name == f"llama_{which}_default_params":
                params = getattr(known, name)()
                setattr(params, field, value)
                return lambda: params
            return getattr(known, name)

    llama_library._check(known)
    with pytest.raises(VoxpopError, match=rf"xllamacpp 20.*{field} is {value}.*pip install"):
        llama_library._check(Other())


def test_the_library_agrees_on_what_it_was_given(path: Path) -> None:
    with LlamaModel(path, context=768, sequences=3, threads=2) as model:
        lib, context = library(), model._context
        assert lib.llama_n_ctx(context) == 3 * 768
        assert lib.llama_n_batch(context) == lib.llama_n_ubatch(context) == 512
        assert lib.llama_n_seq_max(context) == 3
        assert lib.llama_n_threads(context) == lib.llama_n_threads_batch(context) == 2


def test_a_batch_of_another_layout_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Shifted(ctypes.Structure):
        _fields_ = (("more", ctypes.c_void_p), *llama_library.Batch._fields_)

    get = library().llama_batch_get_one
    monkeypatch.setattr(get, "restype", Shifted)
    with pytest.raises(VoxpopError, match="llama_batch"):
        llama_library._check(library())
