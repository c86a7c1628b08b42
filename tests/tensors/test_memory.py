"""Memory that is used again is never anybody's still."""

import gc
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ckptconv.tensors import memory
from ckptconv.tensors.dtypes import of

SHAPE = (memory._LARGE // 4096, 1024)
FLOAT = of("f4")


def _address(array):
    return array.__array_interface__["data"][0]


def test_what_nobody_refers_to_is_used_again():
    with memory.reused():
        first = memory.empty(SHAPE, FLOAT)
        where = _address(first)
        del first
        assert _address(memory.empty((SHAPE[0] * 4096,), of("u1"))) == where
    assert next(memory._Kept.spare, None) is None


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a.T,
        lambda a: a[3:5],
        lambda a: a.reshape(-1).view(np.uint8),
        lambda a: a.data,
        lambda a: np.frombuffer(a, "u2"),
        lambda a: iter([a[0]]),
    ],
)
def test_what_a_view_refers_to_is_not(view):
    with memory.reused():
        first = memory.empty(SHAPE, FLOAT)
        first[...] = 7
        kept, where = view(first), _address(first)
        del first
        gc.collect()
        other = memory.empty(SHAPE, FLOAT)
        other[...] = 8
        assert _address(other) != where
        del kept


def test_large_ones_grow_and_small_ones_are_not_kept():
    with memory.reused():
        memory.empty(SHAPE, FLOAT)
        twice = memory.empty((2 * SHAPE[0], SHAPE[1]), FLOAT)
        assert twice.shape == (2 * SHAPE[0], SHAPE[1])
        twice[-1] = 3
        del twice
        assert next(memory._Kept.spare).size == 2 * memory._LARGE
        assert memory.empty((4,), FLOAT).base is None


def test_nothing_is_kept_where_nobody_reads_pieces():
    assert memory.empty(SHAPE, FLOAT).base is None
    with memory.reused():
        held = memory.empty(SHAPE, FLOAT)
    del held
    assert next(memory._Kept.spare, None) is None


def test_no_two_threads_are_given_the_same(monkeypatch):
    monkeypatch.setattr(memory, "_LARGE", 64)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def work(mark):
        for _ in range(3000):
            with memory.reused():
                held = [memory.empty((64,), of("u1")) for _ in range(2)]
                for i, array in enumerate(held):
                    array[...] = mark + i
                if any((array != mark + i).any() for i, array in enumerate(held)):
                    return False
        return True

    try:
        with ThreadPoolExecutor(4) as threads:
            assert all(threads.map(work, range(0, 80, 20)))
    finally:
        sys.setswitchinterval(before)
    assert memory._Kept.readers == 0
