"""A tensor put together of pieces that tile it, side by side on any axes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from ckptconv.tensors.lazy import np
from ckptconv.tensors.regions import Array, Region, extent
from ckptconv.tensors.tensor import Tensor


def tiled(pieces: Sequence[tuple[Region, Tensor]]) -> Tensor:
    """Return the tensor whose ``region`` is each piece.

    Raises:
        ValueError: pieces of several dtypes or ranks, or of another shape than their region;
            regions that overlap, or leave a part unfilled.
    """
    for region, tensor in pieces:
        if extent(region) != tensor.shape:
            raise ValueError(f"a piece of {tensor.shape} in a place of {extent(region)}")
    if len({tensor.dtype for _, tensor in pieces}) > 1:
        raise ValueError("pieces of several dtypes")
    if len({len(region) for region, _ in pieces}) > 1:
        raise ValueError("pieces of several ranks")
    regions = [region for region, _ in pieces]
    if both := overlapping(regions):
        raise ValueError(f"{shown(both[0])} and {shown(both[1])} overlap")
    shape = tuple(max(stop for _, stop in pairs) for pairs in zip(*regions, strict=True))
    missing = math.prod(shape) - sum(tensor.size for _, tensor in pieces)
    if missing:
        raise ValueError(f"nothing fills {missing} of the {math.prod(shape)} values of {shape}")
    return pieces[0][1] if len(pieces) == 1 else _Tiled(shape, pieces)


def overlapping(regions: Sequence[Region]) -> tuple[Region, Region] | None:
    """Return two regions of one tensor that have values in common, if there are any."""
    ordered = sorted(regions)
    for place, first in enumerate(ordered):
        for second in itertools.islice(ordered, place + 1, None):
            if first and second[0][0] >= first[0][1]:
                break
            if all(a < d and c < b for (a, b), (c, d) in zip(first, second, strict=True)):
                return first, second
    return None


def shown(region: Region) -> str:
    """Return a region as Python spells a slice."""
    return f"[{', '.join(f'{start}:{stop}' for start, stop in region)}]"


class _Tiled(Tensor):
    of_inputs = True

    def __init__(self, shape: tuple[int, ...], pieces: Sequence[tuple[Region, Tensor]]) -> None:
        self.inputs = tuple(tensor for _, tensor in pieces)
        self.shape, self.dtype, self.label = shape, self.inputs[0].dtype, "put together"
        self._regions = [region for region, _ in pieces]

    def read(self, region: Region) -> Array:
        out = np.empty(extent(region), self.dtype)
        for place, tensor in zip(self._regions, self.inputs, strict=True):
            both = [(max(a, c), min(b, d)) for (a, b), (c, d) in zip(region, place, strict=True)]
            if all(start < stop for start, stop in both):
                own = tuple((a - c, b - c) for (a, b), (c, _) in zip(both, place, strict=True))
                inside = (slice(a - c, b - c) for (a, b), (c, _) in zip(both, region, strict=True))
                out[tuple(inside)] = tensor.read(own)
        return out
