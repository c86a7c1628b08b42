"""Operations of Keras 3 that make one number of many along axes, or hold numbers against those."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ckptconv.dialects.keras.network.builder import Builder, Site, reduced
from ckptconv.dialects.keras.network.operation import Rule, Rules, axis_of, number, truth
from ckptconv.dialects.keras.network.promotion import WHOLE_DTYPES, converted, floats, numbers
from ckptconv.graph.network import Shape, Value

_EPSILON = 1e-7
"""What Keras takes for a small number."""


def _axes(site: Site) -> tuple[tuple[int, ...], bool, Shape]:
    """Return (the axes, whether they stay, the shape without them).

    Raises:
        LossyError: all of them, or what is none.
    """
    axis, x = site.get("axis"), site.x
    axes = axis if isinstance(axis, list) else [axis]
    if not axes or not all(type(n) is int and -x.rank <= n < x.rank for n in axes):
        raise site.refuse("a reduction over all axes")
    found = tuple(sorted(n % x.rank for n in axes))
    keep = bool(site.get("keepdims"))
    return found, keep, reduced(x.shape, found, keep=keep)


def _mean(op: str) -> Rule:
    """A mean, and what is told of floats alone."""
    told: dict[str, Any] = {"correction": 0} if op in ("var", "std") else {}

    def rule(b: Builder, site: Site) -> list[Value]:
        axes, keep, shape = _axes(site)
        return [b.add(op, (floats(b, site.x),), shape, axes=axes, keep=keep, **told)]

    return rule


def _sum(b: Builder, site: Site) -> list[Value]:
    axes, keep, shape = _axes(site)
    return [_summed(b, site.x, b.add("sum", (site.x,), shape, axes=axes, keep=keep))]


def _summed(b: Builder, x: Value, made: Value) -> Value:
    """Return a sum in Keras's dtype: sums of whole numbers are of int64 elsewhere."""
    if x.dtype not in WHOLE_DTYPES:
        return made
    return converted(b, replace(made, dtype="int64"), "int64" if x.dtype == "int64" else "int32")


def _extreme(op: str) -> Rule:
    def rule(b: Builder, site: Site) -> list[Value]:
        axes, keep, shape = _axes(site)
        if site.x.dtype == "bool":
            raise site.refuse("an extreme of bools")
        return [b.add(op, (site.x,), shape, axes=axes, keep=keep)]

    return rule


def _truths(op: str) -> Rule:
    def rule(b: Builder, site: Site) -> list[Value]:
        axes, keep, shape = _axes(site)
        x = truth(b, site, site.x)
        return [b.add(op, (x,), shape, name="mask", axes=axes, keep=keep)]

    return rule


def _place(op: str) -> Rule:
    def rule(b: Builder, site: Site) -> list[Value]:
        axis, keep = axis_of(site), bool(site.get("keepdims"))
        if site.x.dtype != "float32":
            raise site.refuse("the place of an extreme of whole numbers")
        shape = reduced(site.x.shape, [axis], keep=keep)
        made = b.add(op, (site.x,), shape, dtype="int64", axis=axis, keep=keep)
        return [converted(b, made, "int32")]

    return rule


def _cumsum(b: Builder, site: Site) -> list[Value]:
    x = numbers(b, site.x)
    return [_summed(b, x, b.add("cumsum", (x,), axis=axis_of(site)))]


def _normalize(b: Builder, site: Site) -> list[Value]:
    """Divide by the length, which counts as a small number at least."""
    if site.get("order", default=2) != 2:
        raise site.refuse(f"order={site.get('order')}"[:100])
    x, axis = floats(b, site.x), axis_of(site, default=-1)
    given = site.get("epsilon")
    epsilon = _EPSILON if given is None else number(site, given)
    if epsilon <= 0:
        raise site.refuse(f"epsilon={epsilon}")
    shape = reduced(x.shape, [axis], keep=True)
    length = b.add(
        "sqrt", (b.add("sum", (b.add("square", (x,)),), shape, axes=(axis,), keep=True),)
    )
    return [b.add("divide", (x, b.add("clip", (length,), low=epsilon, high=None)), x.shape)]


_REDUCED = ("axis", "keepdims")
RULES: Rules = {
    **{name: (_mean(name.lower()), _REDUCED) for name in ("Mean", "Var", "Std", "Logsumexp")},
    "Sum": (_sum, _REDUCED),
    **{name: (_extreme("amax"), _REDUCED) for name in ("Max", "Amax")},
    **{name: (_extreme("amin"), _REDUCED) for name in ("Min", "Amin")},
    **{name: (_truths(name.lower()), _REDUCED) for name in ("Any", "All")},
    **{name: (_place(name.lower()), _REDUCED) for name in ("Argmax", "Argmin")},
    "Cumsum": (_cumsum, ("axis",)),
    "Normalize": (_normalize, ("axis", "order", "epsilon")),
}
