"""Recognising a model whose weights may stand elsewhere, in another order or precision.

A digest would do to tell two files apart, but a wrongly converted model must be recognised as the
one it was made from, so that its numbers are shown to be wrong. The fingerprint therefore does not
depend on where a weight stands: it is the sample of the weights' bit patterns whose hash is
smallest ("bottom-k", Broder 1997). Two trainings of one architecture have next to none in common;
gates exchanged, layers exchanged or a matrix transposed change nothing, one bad weight hardly.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from ckptconv.graph.graph import RecurrentLayer
from ckptconv.tensors.dtypes import DType, DTypes
from ckptconv.tensors.regions import Array
from ckptconv.tensors.tensor import Tensor

_SAMPLE = 128
_ENOUGH = 0.5
_MIX = np.uint32(0x9E3779B1)
_PIECE = 2 << 20
PRECISIONS = DTypes({name: name for name in ("float32", "float16", "bfloat16")})
Fingerprint = dict[str, list[int]]
"""Precision → the sample of the weights as rounded to it."""


def fingerprint(weights: Iterable[Tensor]) -> Fingerprint:
    """Return the fingerprint of matrices; biases may be summed."""
    samples = {name: np.zeros(0, np.uint32) for name in PRECISIONS}
    for weight in weights:
        _add(samples, weight)
    return {name: sample.tolist() for name, sample in samples.items()}


def matrices(layers: Iterable[RecurrentLayer]) -> Iterator[Tensor]:
    """Yield the matrices of recurrent layers."""
    for layer in layers:
        for cell in layer.cells.values():
            yield from (cell.w_ih, cell.w_hh)


def well_formed(found: object) -> bool:
    """Tell whether a document has the form of a fingerprint."""
    samples = [found.get(name) if isinstance(found, dict) else None for name in PRECISIONS]
    return all(isinstance(s, list) and all(type(n) is int for n in s) for s in samples)


def similar(expected: Fingerprint, found: Fingerprint, dtype: DType) -> bool:
    """Tell whether two fingerprints are one model's.

    Args:
        dtype: of the second one's weights; the first's were rounded to it.
    """
    name = dtype.name if dtype.name in PRECISIONS else "float32"
    one, other = set(expected[name]), set(found[name])
    size = min(_SAMPLE, len(one | other))
    smallest = sorted(one | other)[:size]
    shared = sum(value in one and value in other for value in smallest)
    return shared >= _ENOUGH * size


def _add(samples: dict[str, Array], weight: Tensor) -> None:
    for block in weight.blocks(_PIECE):
        single = block.astype(np.float32, copy=False)
        for name, dtype in PRECISIONS.items():
            with np.errstate(over="ignore"):
                hashes = _hashes(single.astype(dtype, copy=False))
            if len(samples[name]) == _SAMPLE:
                hashes = hashes[hashes < samples[name][-1]]
            if len(hashes):
                samples[name] = np.unique(np.concatenate([samples[name], hashes]))[:_SAMPLE]


def _hashes(values: Array) -> Array:
    """Mix the bits of each value; a bijection, so that equal hashes are equal values."""
    bits = values.reshape(-1).view(f"u{values.dtype.itemsize}").astype(np.uint32)
    bits *= _MIX
    bits ^= bits >> np.uint32(15)
    bits *= _MIX
    return bits
