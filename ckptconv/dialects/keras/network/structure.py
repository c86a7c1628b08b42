"""Layers that only move numbers: reshaping, padding, cropping, pooling."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from ckptconv.dialects.keras import theano
from ckptconv.dialects.keras.network.builder import Builder, Site, masked, reduced
from ckptconv.errors import DialectError
from ckptconv.graph.axes import lacking
from ckptconv.graph.network import Value

WHOLE = (None, None, None)
"""A cut of an axis that leaves all of it."""


def flatten(b: Builder, site: Site) -> list[Value]:
    x = site.x
    if x.rank < 3:
        return [masked(x, None) if x.rank == 2 else b.expand(x, 1)]
    if not are_channels_last(site):
        x = channels_last(b, x)
    size = None if None in x.shape[1:] else prod(n or 0 for n in x.shape[1:])
    return [b.add("flatten", (x,), (x.shape[0], size))]


def reshape(b: Builder, site: Site) -> list[Value]:
    sizes = integers(site, "target_shape", "dims")
    if None not in site.x.shape[1:] and -1 in sizes:
        rest = prod(n for n in sizes if n != -1)
        whole = prod(n or 0 for n in site.x.shape[1:])
        sizes = [whole // max(rest, 1) if n == -1 else n for n in sizes]
    shape = (site.x.shape[0], *(None if n == -1 else n for n in sizes))
    return [b.add("reshape", (site.x,), shape, sizes=tuple(sizes))]


def permute(b: Builder, site: Site) -> list[Value]:
    dims = integers(site, "dims")
    if sorted(dims) != list(range(1, site.x.rank)):
        raise site.refuse("Permute whose dims are not those of its input")
    return [moved(b, site.x, (0, *dims))]


def moved(b: Builder, x: Value, order: tuple[int, ...]) -> Value:
    """Bring axes into another order, without the mask."""
    if order == tuple(range(x.rank)):
        return masked(x, None)
    shape = tuple(x.shape[i] for i in order)
    return b.add("permute", (x,), shape, order=order)


def are_channels_last(site: Site) -> bool:
    """Tell where the channels are; Keras 1 calls that ``dim_ordering``."""
    return site.get("data_format", "dim_ordering") not in ("channels_first", "th")


def channels_first(b: Builder, x: Value) -> Value:
    return moved(b, x, (0, x.rank - 1, *range(1, x.rank - 1)))


def channels_last(b: Builder, x: Value) -> Value:
    return moved(b, x, (0, *range(2, x.rank), 1))


def repeat_vector(b: Builder, site: Site) -> list[Value]:
    n = integer(site, "n")
    return [b.add("repeat_vector", (site.x,), (site.x.shape[0], n, *site.x.shape[1:]), n=n)]


def crop(b: Builder, site: Site) -> list[Value]:
    return [cropped(b, site.x, _pairs(site, "cropping"), first_of_space(site))]


def cropped(b: Builder, x: Value, pairs: list[tuple[int, int]], first: int) -> Value:
    """Cut (before, after) off axes that follow each other."""
    shape = list(x.shape)
    for i, pair in enumerate(pairs, first):
        size = shape[i]
        shape[i] = None if size is None else size - sum(pair)
    ends = ((left or None, -right or None, None) for left, right in pairs)
    return b.add("index", (x,), tuple(shape), cuts=(*[WHOLE] * first, *ends))


def step(b: Builder, x: Value, place: int) -> Value:
    """Return one step of (batch, time, …)."""
    return b.add("index", (x,), (x.shape[0], *x.shape[2:]), cuts=(WHOLE, place))


def pad(b: Builder, site: Site) -> list[Value]:
    return [padded(b, site.x, _pairs(site, "padding"), first_of_space(site))]


def padded(b: Builder, x: Value, pairs: list[tuple[int, int]], first: int) -> Value:
    """Add zeros (before, after) along axes that follow each other."""
    shape = list(x.shape)
    for i, pair in enumerate(pairs, first):
        size = shape[i]
        shape[i] = None if size is None else size + sum(pair)
    behind = ((0, 0),) * (x.rank - first - len(pairs))
    sides = [n for pair in reversed((*pairs, *behind)) for n in pair]
    return b.add("pad", (x,), tuple(shape), sides=tuple(sides))


def pool(b: Builder, site: Site) -> list[Value]:
    x, name = site.x, site.layer.class_name
    rank = x.rank - 2
    size = per_axis(site, rank, "pool_size", "pool_length")
    given = site.get("strides", "stride")
    stride = size if given is None else per_axis(site, rank, "strides", "stride")
    padding = site.get("padding", "border_mode", default="valid")
    if padding == "same" and b.backend == theano.NAME:
        raise site.refuse(theano.PADS)
    last = are_channels_last(site)
    x = channels_first(b, x) if last else x
    spatial = tuple(
        conv_length(n, k, s, padding) for n, k, s in zip(x.shape[2:], size, stride, strict=True)
    )
    if name.startswith("Average") and padding == "same" and b.version >= (3, 0):
        _check_even(site, x, size, stride)
    op = "max_pool" if name.startswith("Max") else "avg_pool"
    if padding == "same":
        op += "_same"
    made = b.add(op, (x,), (*x.shape[:2], *spatial), rank=rank, size=size, stride=stride)
    return [channels_last(b, made) if last else made]


def _check_even(site: Site, x: Value, size: Sequence[int], stride: Sequence[int]) -> None:
    """Backends of Keras 3 differ in averages over windows that reach over one end more."""
    for n, k, s in zip(x.shape[2:], size, stride, strict=True):
        if n is None or lacking(n, k, s) % 2:
            raise site.refuse("an average pool with padding 'same' that backends compute apart")


def global_pool(b: Builder, site: Site) -> list[Value]:
    x = site.x
    keep = bool(site.get("keepdims", default=False))
    last = are_channels_last(site)
    axes = tuple(range(1, x.rank - 1)) if last else tuple(range(2, x.rank))
    shape = reduced(x.shape, axes, keep=keep)
    mean = "Average" in site.layer.class_name or "Avg" in site.layer.class_name
    if mean and x.mask is not None and x.rank == 3:
        return [b.add("masked_mean", (x, x.mask), shape, keep=keep)]
    return [b.add("mean" if mean else "amax", (x,), shape, axes=axes, keep=keep)]


def masking(b: Builder, site: Site) -> list[Value]:
    value = site.get("mask_value", default=0.0)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise site.refuse("Masking by something that is no number")
    differs = b.differing(site.x, float(value))
    mask = b.add("any", (differs,), site.x.shape[:-1], name="mask", axes=(-1,))
    return [masked(b.add("fill_masked", (site.x, mask), value=0.0), mask)]


def conv_length(
    n: int | None, size: int, stride: int, padding: str, dilation: int = 1
) -> int | None:
    """Return how many places a window takes."""
    if n is None:
        return None
    if padding in ("same", "causal"):
        return -(-n // stride)
    return (n - dilation * (size - 1) - 1) // stride + 1


def first_of_space(site: Site) -> int:
    """Return the first axis of space or time."""
    return 1 if are_channels_last(site) else 2


def integer(site: Site, *keys: str) -> int:
    value = site.get(*keys)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 31:
        raise DialectError(f"{keys[0]} is no size", tensor=site.where, found=str(value)[:80])
    return value


def integers(site: Site, *keys: str) -> list[int]:
    value = site.get(*keys)
    row = value if isinstance(value, list | tuple) else [value]
    if not row or len(row) > 8 or not all(type(n) is int and abs(n) < 1 << 31 for n in row):
        raise DialectError(
            f"{keys[0]} is no row of sizes", tensor=site.where, found=str(value)[:80]
        )
    return list(row)


def per_axis(site: Site, rank: int, *keys: str) -> tuple[int, ...]:
    row = integers(site, *keys)
    row = row * rank if len(row) == 1 else row
    if len(row) != rank or min(row) < 1:
        raise DialectError(f"{keys[0]} is no size per axis", tensor=site.where, found=row)
    return tuple(row)


def _pairs(site: Site, key: str) -> list[tuple[int, int]]:
    """Return (before, after) for each axis of ``2``, ``[1, 2]`` or ``[[1, 2], [0, 0]]``."""
    value: Any = site.get(key)
    rank = site.x.rank - 2
    row = value if isinstance(value, list | tuple) else [value] * rank
    if rank == 1 and len(row) == 2 and all(isinstance(n, int) for n in row):
        row = [row]
    pairs = [tuple(p) if isinstance(p, list | tuple) else (p, p) for p in row]
    sizes = [n for pair in pairs for n in pair]
    good = all(type(n) is int and 0 <= n < 1 << 31 for n in sizes)
    if len(pairs) != rank or not good or any(len(p) != 2 for p in pairs):
        raise DialectError(f"{key} is no row of sizes", tensor=site.where, found=str(value)[:80])
    return [(p[0], p[1]) for p in pairs]


_POOLS = [f"{kind}Pooling{n}D" for kind in ("Max", "Average") for n in (1, 2, 3)]
RULES = {
    "Flatten": flatten,
    "Reshape": reshape,
    "Permute": permute,
    "RepeatVector": repeat_vector,
    "Masking": masking,
    **{f"Cropping{n}D": crop for n in (1, 2, 3)},
    **{f"ZeroPadding{n}D": pad for n in (1, 2, 3)},
    **dict.fromkeys(_POOLS, pool),
    **dict.fromkeys((f"Global{name}" for name in _POOLS), global_pool),
}
