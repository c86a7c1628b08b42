"""Many pairs of tensors compared at once: each file is read once, on all cores."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from ckptconv.tensors.ops import divide
from ckptconv.tensors.tensor import Tensor
from ckptconv.tensors.writer import Progress
from ckptconv.verification.counterparts import Item
from ckptconv.verification.difference import Difference, compare_tensors, narrower
from ckptconv.verification.results.tensors import TensorDiff

_ALONE = 16 << 20
"""Bytes up to which starting threads costs more than they save."""
_SHARE = 4 << 20
"""Bytes of the items that one thread takes at a time."""
In = TypeVar("In")
Out = TypeVar("Out")


def compare_items(items: Sequence[Item], progress: Progress | None = None) -> list[TensorDiff]:
    """Compare pairs of tensors; a recurrent one that differs, by gates."""
    found: list[TensorDiff] = []
    shares, size = list(_shares(items)), sum(item.a.nbytes for item in items)
    for share, compared in zip(shares, in_threads(_compare_all, shares, size), strict=True):
        found += compared
        if progress is not None:
            progress(sum(item.a.nbytes for item in share))
    return found


def in_threads(function: Callable[[In], Out], arguments: Sequence[In], size: int) -> Iterator[Out]:
    """Yield the function's results in order, computed on all cores.

    Reading files and numpy's loops leave the interpreter to other threads.

    Args:
        size: bytes of what is computed with; a little is, by this thread alone.
    """
    if size <= _ALONE:
        yield from map(function, arguments)
        return
    from concurrent.futures import ThreadPoolExecutor  # slow to import, and not always needed

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            yield from pool.map(function, arguments)
        finally:
            pool.shutdown(cancel_futures=True)


def lonely(name: str, tensor: Tensor, *, first: bool) -> TensorDiff:
    """Describe a tensor that has no counterpart."""
    shape, dtype = list(tensor.shape), tensor.dtype.name
    if first:
        return TensorDiff(name, "", (shape, None), (dtype, None))
    return TensorDiff("", name, (None, shape), (None, dtype))


def _shares(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Yield items that follow one another, of at least a share's size together."""
    share: list[Item] = []
    size = 0
    for item in items:
        share.append(item)
        size += item.a.nbytes
        if size >= _SHARE:
            yield share
            share, size = [], 0
    yield share


def _compare_all(items: Sequence[Item]) -> list[TensorDiff]:
    return [_compare(item) for item in items]


def _compare(item: Item) -> TensorDiff:
    a, b = item.a, item.b
    shapes, dtypes = (list(a.shape), list(b.shape)), (a.dtype.name, b.dtype.name)
    found = TensorDiff(item.name_a, item.name_b, shapes, dtypes, how=item.how, ulps=item.ulps)
    found.wider = a.dtype != b.dtype and narrower(a.dtype, b.dtype) == a.dtype
    if a.shape == b.shape:
        found.difference = compare_tensors(a, b)
        if found.difference.differing and item.gates:
            found.gates = _by_gate(a, b, item.gates, item.axis)
    return found


def _by_gate(a: Tensor, b: Tensor, order: str, axis: int) -> dict[str, Difference]:
    blocks = zip(divide(a, axis, len(order)), divide(b, axis, len(order)), strict=True)
    found = {
        letter: compare_tensors(one, other)
        for letter, (one, other) in zip(order, blocks, strict=True)
    }
    return {letter: gate for letter, gate in found.items() if gate.differing}
