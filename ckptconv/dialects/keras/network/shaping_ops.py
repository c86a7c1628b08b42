"""Operations of Keras 3 that move numbers, such as ``ops.stack``.

Each leaves the batch where it is, or is refused.
"""

from __future__ import annotations

from itertools import pairwise
from math import prod

from ckptconv.dialects.keras.network.builder import Builder, Site, joined
from ckptconv.dialects.keras.network.operation import Rule, Rules, axis_of
from ckptconv.dialects.keras.network.promotion import FLOAT, WHOLE_DTYPES, alike, converted, numbers
from ckptconv.dialects.keras.network.structure import WHOLE, moved, padded
from ckptconv.graph.network import Value


def _stack(b: Builder, site: Site) -> list[Value]:
    values = site.inputs
    axis = axis_of(site, rank=site.x.rank + 1, default=0)
    shape = (*site.x.shape[:axis], len(values), *site.x.shape[axis:])
    return [b.add("stack", alike(b, values), shape, axis=axis)]


def _squeeze(b: Builder, site: Site) -> list[Value]:
    axis = axis_of(site)
    if site.x.shape[axis] != 1:
        raise site.refuse("an axis that is not of length one")
    shape = (*site.x.shape[:axis], *site.x.shape[axis + 1 :])
    return [b.add("squeeze", (site.x,), shape, axis=axis)]


def _reshape(b: Builder, site: Site) -> list[Value]:
    first, *sizes = site.get("newshape")
    inner = site.x.shape[1:]
    known = None not in inner and all(type(n) is int and n > 0 for n in sizes)
    if first not in (-1, None) or not known or prod(sizes) != prod(n or 0 for n in inner):
        raise site.refuse("a shape that does not keep the batch")
    return [b.add("reshape", (site.x,), (site.x.shape[0], *sizes), sizes=tuple(sizes))]


def _pad(b: Builder, site: Site) -> list[Value]:
    pairs = [tuple(pair) for pair in site.get("pad_width")]
    if site.get("mode") != "constant" or site.kwargs.get("constant_values") not in (None, 0):
        raise site.refuse("padding by something else than zeros")
    whole = all(type(n) is int and n >= 0 for pair in pairs for n in pair)
    if len(pairs) != site.x.rank or pairs[0] != (0, 0) or not whole:
        raise site.refuse("padding of the batch, or by no sizes")
    return [padded(b, site.x, [(one, other) for one, other in pairs[1:]], 1)]


def _soft(op: str) -> Rule:
    def rule(b: Builder, site: Site) -> list[Value]:
        return [b.add(op, (site.x,), axis=axis_of(site, default=-1) - site.x.rank)]

    return rule


def _swap(b: Builder, site: Site) -> list[Value]:
    one, other = axis_of(site, "axis1"), axis_of(site, "axis2")
    order = list(range(site.x.rank))
    order[one], order[other] = other, one
    return [moved(b, site.x, tuple(order))]


def _flip(b: Builder, site: Site) -> list[Value]:
    return [b.add("flip", (site.x,), axis=axis_of(site))]


def _expand(b: Builder, site: Site) -> list[Value]:
    axis, x = site.get("axis"), site.x
    if type(axis) is not int or not -x.rank - 1 <= axis <= x.rank:
        raise site.refuse("an axis that is none")
    return [b.expand(x, axis % (x.rank + 1))]


def _concatenate(b: Builder, site: Site) -> list[Value]:
    axis, values = site.get("axis", default=0), site.inputs
    if type(axis) is not int or not -values[0].rank <= axis < values[0].rank:
        raise site.refuse("an axis that is none")
    shape = joined(values, axis % values[0].rank)
    return [b.add("concat", alike(b, values), shape, axis=axis)]


def _transpose(b: Builder, site: Site) -> list[Value]:
    axes = site.get("axes")
    if not isinstance(axes, list) or sorted(axes) != list(range(site.x.rank)) or axes[0]:
        raise site.refuse("a transposition of the batch")
    return [moved(b, site.x, tuple(axes))]


def _moved(b: Builder, site: Site) -> list[Value]:
    ends = (site.get(key) for key in ("source", "destination"))
    rows = [[n] if type(n) is int else n for n in ends]
    rank = site.x.rank
    if not all(isinstance(row, list) and all(type(n) is int for n in row) for row in rows):
        raise site.refuse("axes that are none")
    taken, given = ([n % rank for n in row] for row in rows)
    if len(taken) != len(given) or 0 in taken + given or len({*taken}) < len(taken):
        raise site.refuse("a transposition of the batch")
    places = dict(zip(given, taken, strict=True))
    rest = iter([n for n in range(rank) if n not in taken])
    return [moved(b, site.x, tuple(places[n] if n in places else next(rest) for n in range(rank)))]


def _tile(b: Builder, site: Site) -> list[Value]:
    given, x = site.get("repeats"), site.x
    times = given if isinstance(given, list) else [given]
    times = [*[1] * (x.rank - len(times)), *times]
    if len(times) != x.rank or not all(type(n) is int and n > 0 for n in times) or times[0] != 1:
        raise site.refuse("repeating the batch, or no number of times")
    shape = tuple(
        size if size is None else size * n for size, n in zip(x.shape, times, strict=True)
    )
    return [b.add("tile", (x,), shape, times=tuple(times))]


def _repeat(b: Builder, site: Site) -> list[Value]:
    axis, n, x = axis_of(site), site.get("repeats"), site.x
    if type(n) is not int or n < 1:
        raise site.refuse("repeating no number of times")
    size = x.shape[axis]
    shape = (*x.shape[:axis], None if size is None else size * n, *x.shape[axis + 1 :])
    made = b.add("repeat", (numbers(b, x),), shape, times=n, axis=axis)
    return [converted(b, made, x.dtype)]


def _split(b: Builder, site: Site) -> list[Value]:
    axis, given, x = axis_of(site), site.get("indices_or_sections"), site.x
    size = x.shape[axis]
    if size is None or (type(given) is int and (given < 1 or size % given)):
        raise site.refuse("parts of a size that is not known, or not alike")
    ends = list(range(0, size, size // given))[1:] if type(given) is int else given
    if not isinstance(ends, list) or not all(type(n) is int and 0 <= n <= size for n in ends):
        raise site.refuse("parts that end nowhere")
    return [_part(b, x, axis, cut) for cut in pairwise([0, *ends, size])]


def _part(b: Builder, x: Value, axis: int, cut: tuple[int, int]) -> Value:
    shape = (*x.shape[:axis], max(cut[1] - cut[0], 0), *x.shape[axis + 1 :])
    return b.add("index", (x,), shape, cuts=(*[WHOLE] * axis, (*cut, None)))


def _one_hot(b: Builder, site: Site) -> list[Value]:
    size, dtype, x = site.get("num_classes"), site.get("dtype") or FLOAT, site.x
    last = site.get("axis", default=-1) in (-1, x.rank)
    if type(size) is not int or size < 1 or not last or x.dtype not in ("int32", "int64"):
        raise site.refuse("what are no whole numbers, or not along the last axis")
    if dtype not in (*WHOLE_DTYPES, FLOAT) or site.get("sparse"):
        raise site.refuse(f"one_hot of {dtype}"[:100])
    places = converted(b, x, "int64")
    return [converted(b, b.add("one_hot", (places,), (*x.shape, size), size=size), dtype)]


RULES: Rules = {
    "ExpandDims": (_expand, ("axis",)),
    "Concatenate": (_concatenate, ("axis",)),
    "Transpose": (_transpose, ("axes",)),
    "Moveaxis": (_moved, ("source", "destination")),
    "Tile": (_tile, ("repeats",)),
    "Repeat": (_repeat, ("repeats", "axis")),
    "Split": (_split, ("indices_or_sections", "axis")),
    "OneHot": (_one_hot, ("num_classes", "axis", "dtype", "sparse")),
    "Stack": (_stack, ("axis",)),
    "Squeeze": (_squeeze, ("axis",)),
    "Reshape": (_reshape, ("newshape",)),
    "Pad": (_pad, ("pad_width", "mode")),
    "Softmax": (_soft("softmax"), ("axis",)),
    "LogSoftmax": (_soft("log_softmax"), ("axis",)),
    "Swapaxes": (_swap, ("axis1", "axis2")),
    "Flip": (_flip, ("axis",)),
}
