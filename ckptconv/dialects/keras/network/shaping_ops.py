"""Operations of Keras 3 that move numbers, bound them or choose among them, such as ``ops.stack``.

Each leaves the batch where it is, or is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from ckptconv.dialects.keras.network.builder import Builder, Site, broadcast
from ckptconv.dialects.keras.network.promotion import alike, common, numbers, with_number
from ckptconv.dialects.keras.network.structure import moved, padded
from ckptconv.graph.network import Value

_COMPARED = {"Greater": "gt", "GreaterEqual": "ge", "Less": "lt", "LessEqual": "le", "Equal": "eq"}


def _axis(site: Site, key: str = "axis", rank: int | None = None, default: Any = None) -> int:
    """Return an axis that is not the batch's.

    Raises:
        LossyError: it is none, or the batch's.
    """
    axis, size = site.get(key, default=default), site.x.rank if rank is None else rank
    if type(axis) is not int or not -size <= axis < size or axis % size == 0:
        raise site.refuse("an axis that is none, or the batch's")
    return axis % size


def number(site: Site, value: Any) -> float:
    """Return a value of an operation's that is a number.

    Raises:
        LossyError: it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= 1e30:
        raise site.refuse("something that is no number")
    return value


def _stack(b: Builder, site: Site) -> list[Value]:
    values = site.inputs
    axis = _axis(site, rank=site.x.rank + 1, default=0)
    shape = (*site.x.shape[:axis], len(values), *site.x.shape[axis:])
    return [b.add("stack", alike(b, values), shape, axis=axis)]


def _squeeze(b: Builder, site: Site) -> list[Value]:
    axis = _axis(site)
    if site.x.shape[axis] != 1:
        raise site.refuse("an axis that is not of length one")
    shape = (*site.x.shape[:axis], *site.x.shape[axis + 1 :])
    return [b.add("squeeze", (site.x,), shape, axis=axis)]


def _clip(b: Builder, site: Site) -> list[Value]:
    low, high = (number(site, site.get(key)) for key in ("x_min", "x_max"))
    dtype = with_number(with_number(site.x.dtype, low), high)
    return [b.add("clip", (numbers(b, site.x),), dtype=dtype, low=low, high=high)]


def _compare(b: Builder, site: Site) -> list[Value]:
    given = site.kwargs["args"]
    by = _COMPARED[site.layer.class_name.rpartition(".")[2]]
    values = [value for value in given if isinstance(value, Value)]
    if len(values) == 2:
        shape = broadcast([value.shape for value in values])
        return [b.add("compare", values, shape, dtype="bool", by=by)]
    if not isinstance(given[0], Value):
        raise site.refuse("a number before a value")
    limit = number(site, given[1])
    return [b.add("compare_number", values, dtype="bool", by=by, number=limit)]


def _where(b: Builder, site: Site) -> list[Value]:
    values = [value for value in site.kwargs["args"] if isinstance(value, Value)]
    if len(values) != 3 or values[0].dtype != "bool":
        raise site.refuse("numbers to choose, or a condition that is no comparison")
    shape = broadcast([value.shape for value in values])
    return [b.add("where", values, shape, dtype=common(value.dtype for value in values[1:]))]


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


def _soft(op: str) -> Callable[[Builder, Site], list[Value]]:
    def rule(b: Builder, site: Site) -> list[Value]:
        return [b.add(op, (site.x,), axis=_axis(site, default=-1) - site.x.rank)]

    return rule


def _swap(b: Builder, site: Site) -> list[Value]:
    one, other = _axis(site, "axis1"), _axis(site, "axis2")
    order = list(range(site.x.rank))
    order[one], order[other] = other, one
    return [moved(b, site.x, tuple(order))]


def _flip(b: Builder, site: Site) -> list[Value]:
    return [b.add("flip", (site.x,), axis=_axis(site))]


def _gelu(b: Builder, site: Site) -> list[Value]:
    return [b.add("gelu_tanh" if site.get("approximate") else "gelu", (site.x,))]


RULES: dict[str, tuple[Callable[[Builder, Site], list[Value]], tuple[str, ...]]] = {
    # operation: its rule, and the settings that it reads
    **dict.fromkeys(_COMPARED, (_compare, ())),
    "Where": (_where, ()),
    "Stack": (_stack, ("axis",)),
    "Squeeze": (_squeeze, ("axis",)),
    "Clip": (_clip, ("x_min", "x_max")),
    "Reshape": (_reshape, ("newshape",)),
    "Pad": (_pad, ("pad_width", "mode")),
    "Softmax": (_soft("softmax"), ("axis",)),
    "LogSoftmax": (_soft("log_softmax"), ("axis",)),
    "Swapaxes": (_swap, ("axis1", "axis2")),
    "Flip": (_flip, ("axis",)),
    "Gelu": (_gelu, ("approximate",)),
}
