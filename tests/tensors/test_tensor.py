"""Lazy tensors against numpy doing the same in memory."""

from __future__ import annotations

import itertools
import os
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptconv.errors import ContainerError
from ckptconv.graph.gates import permutation, permute
from ckptconv.io.reader import File
from ckptconv.tensors import computed
from ckptconv.tensors import ops as relayout
from ckptconv.tensors.dtypes import of
from ckptconv.tensors.regions import split, whole
from ckptconv.tensors.tensor import ArrayTensor, FileTensor, FilledTensor, trace


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Return a function that gives an array and the FileTensor of the same values."""
    folder = tmp_path_factory.mktemp("stored")

    def make(shape, dtype="<f4"):
        array = np.arange(1, 1 + int(np.prod(shape))).astype(dtype).reshape(shape)
        path = folder / f"{'x'.join(map(str, shape))}{dtype[1:]}{dtype[0] == '>'}"
        path.write_bytes(b"head" + array.tobytes())
        return array, FileTensor(File(path), 4, shape, of(dtype))

    return make


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<i2"])
@pytest.mark.parametrize("shape", [(), (7,), (5, 3), (2, 3, 5), (4, 1, 600), (3, 700, 2)])
def test_any_region_of_a_file(stored, shape, dtype):
    array, tensor = stored(shape, dtype)
    np.testing.assert_array_equal(tensor.numpy(), array)
    for region in itertools.product(*([(0, n), (n // 2, n), (0, 1)] for n in shape)):
        expected = array[tuple(slice(*pair) for pair in region)]
        np.testing.assert_array_equal(tensor.read(region), expected)
    assert tensor.dtype is tensor.dtype.little


def _chain(array, tensor, data):
    """Apply a few random relayouts to an array and to its lazy twin."""
    for _ in range(data.draw(st.integers(1, 5))):
        axis = data.draw(st.integers(0, array.ndim - 1))
        match data.draw(st.sampled_from(["transpose", "cut", "reshape", "join", "cast"])):
            case "transpose":
                axes = data.draw(st.permutations(range(array.ndim)))
                array, tensor = array.transpose(axes), relayout.transpose(tensor, axes)
            case "cut" if array.shape[axis] > 1:
                start = data.draw(st.integers(0, array.shape[axis] - 1))
                stop = data.draw(st.integers(start + 1, array.shape[axis]))
                array = np.take(array, range(start, stop), axis)
                tensor = relayout.cut(tensor, axis, start, stop)
            case "reshape":
                shape = data.draw(
                    st.sampled_from([(array.size,), (1, array.size), (*array.shape, 1)])
                )
                array, tensor = array.reshape(shape), relayout.reshape(tensor, shape)
            case "join":
                array = np.concatenate([array, array], axis)
                tensor = relayout.concat([tensor, tensor], axis)
            case "cast":
                array = array.astype(np.float64)
                tensor = computed.cast(tensor, of(np.float64))
    return array, tensor


@settings(max_examples=150, deadline=None, derandomize=True)
@given(shape=st.lists(st.integers(1, 6), min_size=1, max_size=3).map(tuple), data=st.data())
def test_chains_of_relayouts(stored, shape, data):
    array, tensor = _chain(*stored(shape), data)
    assert (tensor.shape, tensor.dtype) == (array.shape, of(array.dtype))
    np.testing.assert_array_equal(tensor.numpy(), array)
    pieces = [block.reshape(-1) for block in tensor.blocks(limit=40)]
    np.testing.assert_array_equal(np.concatenate(pieces), array.reshape(-1))
    spans = tensor.extents()
    if spans is not None:
        raw = b"".join(span.file.read(span.offset, span.length) for span in spans)
        assert raw == np.ascontiguousarray(array).tobytes()


def test_what_changes_nothing_is_the_tensor_itself(stored):
    _, tensor = stored((6, 4))
    assert relayout.transpose(relayout.transpose(tensor, (1, 0)), (1, 0)) is tensor
    assert relayout.concat(relayout.divide(tensor, 0, 3), 0) is tensor
    assert relayout.cut(tensor, 1, 0, 4) is tensor
    assert relayout.reshape(relayout.reshape(tensor, (24,)), (6, 4)) is tensor
    assert computed.cast(tensor, of("f4")) is tensor
    assert permute(tensor, 0, "zrn", "zrn") is tensor
    assert computed.add(tensor, FilledTensor((6, 4), of("f4"))) is tensor


def test_gates_move_as_blocks_and_stay_byte_ranges(stored):
    array, tensor = stored((12, 2))
    moved = permute(tensor, 0, "iofg", "ifgo")
    expected = array.reshape(4, 3, 2)[[0, 2, 3, 1]].reshape(12, 2)
    np.testing.assert_array_equal(moved.numpy(), expected)
    assert moved.extents() is not None
    assert trace(moved).operations == ["gates i,o,f,g → i,f,g,o"]


def test_permutation_is_not_its_own_inverse_here():
    assert permutation("figo", "ifgo") == (1, 0, 2, 3)
    assert permutation("iofg", "ifgo") == (0, 2, 3, 1)
    assert permutation("ifgo", "iofg") == (0, 3, 1, 2)


def test_a_sum_with_zero_keeps_the_bits():
    values = np.array([-0.0, 1.5, np.nan, -np.inf], np.float32)
    total = computed.add(ArrayTensor(values), ArrayTensor(np.zeros(4, np.float32)))
    assert total.numpy().tobytes() == values.tobytes()


def test_a_cast_counts_what_it_loses():
    values = np.array([1.0, 1e6, -1e6, 1e-12, np.inf, 0.0, -0.0, -1e-9, np.nan], np.float32)
    lost = computed.cast(ArrayTensor(values), of(np.float16))
    assert np.isinf(lost.numpy()[1:3]).all()
    assert (lost.overflowed, lost.vanished) == (2, 2)


def test_product_rounds_once():
    rng = np.random.default_rng(3)
    left, right = rng.normal(size=(5, 70)).astype("f4"), rng.normal(size=(70, 4)).astype("f4")
    product = computed.Product(ArrayTensor(left), ArrayTensor(right), of("f4"), "product")
    exact = (left.astype("f8") @ right.astype("f8")).astype("f4")
    np.testing.assert_array_equal(np.concatenate(list(product.blocks(limit=32))), exact)


@pytest.mark.parametrize("limit", [1, 5, 17, 1000])
def test_split_covers_everything_once_in_order(limit):
    shape = (3, 4, 5)
    seen = np.concatenate(
        [
            np.arange(60).reshape(shape)[tuple(slice(*p) for p in region)].reshape(-1)
            for region in split(whole(shape), limit)
        ]
    )
    np.testing.assert_array_equal(seen, np.arange(60))


def test_a_range_beyond_the_file_is_refused_before_it_is_read(tmp_path):
    (tmp_path / "short").write_bytes(bytes(16))
    with pytest.raises(ContainerError, match="truncated or damaged: expected 4398046511104 bytes"):
        FileTensor(File(tmp_path / "short"), 0, (1 << 40,), of("f4"))


def test_a_large_transpose_is_read_at_once_and_says_where_the_file_ends(tmp_path):
    rows, columns = 3000, 2000  # 24 MB: two threads read it
    array = np.arange(rows * columns, dtype="<i4").reshape(rows, columns)
    path = tmp_path / "large"
    path.write_bytes(array.tobytes())
    turned = relayout.transpose(FileTensor(File(path), 0, array.shape, of(array.dtype)), (1, 0))
    (block,) = turned.blocks()
    np.testing.assert_array_equal(block, array.T)
    for size in (array.nbytes - 4, array.nbytes // 4):
        os.truncate(path, size)
        with pytest.raises(ContainerError, match="truncated while being read"):
            turned.numpy()


def test_a_file_is_let_go_of_when_python_ends(tmp_path, monkeypatch):
    """Modules are emptied then, and what is said in ``__del__`` would stand on the terminal."""
    (tmp_path / "f").write_bytes(b"x")
    source = File(tmp_path / "f")
    monkeypatch.setattr("ckptconv.io.reader.os", None)
    source.__del__()


def test_what_overflows_warns_nobody() -> None:
    float32 = of(np.float32)
    big = ArrayTensor(np.full((2, 2), 3e38, float32))
    square = computed.Elementwise(lambda a: a * a, (big,), float32, "square")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for made in (computed.add(big, big), computed.Product(big, big, float32, ""), square):
            assert np.isinf(made.numpy()).all()
