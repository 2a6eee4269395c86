"""A tensor's bytes as another type and another way round: the same values whatever the sizes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxpop.weights import casting
from voxpop.weights.tensors import Packed, Quantised, Tensor, bfloat16, float32, quantised

DTYPES = {"f32": np.dtype(np.float32), "f16": np.dtype(np.float16), "bf16": bfloat16}


def int8(experts: int, rows: int, columns: int, groups: int, seed: int = 0) -> Quantised:
    luck = np.random.RandomState(seed)
    return quantised(luck.standard_normal((experts, rows, columns)).astype(np.float32), groups)


def bytes_of(tensor: Tensor, type_: casting.Type, turned: bool) -> bytes:
    return b"".join(part.tobytes() for part in casting.stored(tensor, type_, turned=turned))


@settings(max_examples=60, deadline=None)
@given(
    experts=st.integers(1, 3),
    rows=st.integers(1, 9),
    groups=st.sampled_from([1, 2, 8]),
    columns=st.integers(1, 130),
    tile=st.sampled_from([1, 100, 4096, 1 << 20]),
    turned=st.booleans(),
    type_=st.sampled_from(sorted(DTYPES)),
    whole=st.booleans(),
)
def test_every_size_gives_what_numpy_gives(
    experts: int, rows: int, groups: int, columns: int, tile: int, turned: bool, type_: str, whole: bool
) -> None:
    tensor: Tensor = int8(experts, rows * groups, columns, groups)
    values = float32(tensor)
    if whole:
        tensor = values
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(casting, "TILE", tile)
        found = bytes_of(tensor, type_, turned)  # type: ignore[arg-type]
    expected = np.swapaxes(values, -1, -2) if turned else values
    assert found == expected.astype(DTYPES[type_]).tobytes()


@settings(max_examples=30, deadline=None)
@given(
    blocks=st.integers(1, 5),
    groups=st.sampled_from([1, 2, 8]),
    columns=st.integers(1, 70),
    tile=st.sampled_from([1, 999, 1 << 20]),
    turned=st.booleans(),
)
def test_q8_0_holds_released_int8_to_the_last_bit(
    blocks: int, groups: int, columns: int, tile: int, turned: bool
) -> None:
    tensor = int8(2, 32 * blocks * groups, columns, groups)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(casting, "TILE", tile)
        data = np.frombuffer(bytes_of(tensor, "q8_0", True), np.uint8).reshape(2, columns, -1)
        packed = Packed(data, casting.Q8_0)
        assert (float32(packed) == float32(tensor)).all()
        again = b"".join(part.tobytes() for part in casting.tiles(packed, turned=turned))
    assert again == bytes_of(tensor, "f32", turned)


def test_q8_0_with_a_loss_is_refused() -> None:
    odd_rows = int8(1, 24, 5, 1)
    shared = int8(1, 64, 5, 4)  # a group ends within a block
    fine = int8(1, 64, 5, 1)
    tiny = Quantised(fine.weight, (fine.scales.astype(np.float32) * 2.0**-20).astype(bfloat16))  # not a float16
    for tensor in (odd_rows, shared, tiny, float32(fine)):
        assert not casting.exact_q8_0(tensor)
        with pytest.raises(ValueError, match="without a loss"):
            list(casting.stored(tensor, "q8_0", turned=True))
    assert casting.exact_q8_0(fine)


def test_a_norm_and_a_mapped_view_keep_their_order() -> None:
    norm = np.linspace(0, 1, 9, dtype=np.float32)
    assert bytes_of(norm, "f32", False) == norm.tobytes()
    stored = np.arange(12, dtype=np.float32).reshape(4, 3)
    stored.flags.writeable = False
    assert bytes_of(stored.T, "f32", True) == stored.tobytes()
    assert bytes_of(stored, "f32", False) == stored.tobytes()
