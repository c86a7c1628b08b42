"""aten operators that make one number of many along axes, or the place of one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ckptconv.dialects.torch.network.arithmetic import pair, truth
from ckptconv.dialects.torch.network.call import Operator, Rule, number
from ckptconv.graph.network import Shape, Value


def _axes(o: Operator, x: Value) -> tuple[int, ...]:
    """Return the axes, in order; all of them where none is named."""
    if not x.rank:
        raise o.refuse("a single number")
    given = o.get("dim")
    axes = [given] if isinstance(given, int) else given or range(x.rank)
    return tuple(sorted(n % x.rank for n in axes))


def _keeps(o: Operator) -> bool:
    """Tell whether the axes stay, each of length one."""
    return bool(o.get("keepdim", False))


def _length(o: Operator, x: Value, axes: tuple[int, ...], keep: bool, shape: Shape) -> Value:
    """Return the root of the sum of squares."""
    squares = Value(f"{o.outputs[0]}_{x.name}_squares", shape, x.dtype)
    squares = o.program.append("sum", [o.between("square", x)], squares, axes=axes, keep=keep)
    return o.between("sqrt", squares)


def _wide(rule: Rule) -> Rule:
    """Take a sum or a product, but for one that is kept narrow: it is of int64 elsewhere."""

    def checked(o: Operator) -> None:
        if (dtype := o.program.dtype(o.outputs[0])) in ("int32", "bool"):
            raise o.refuse(f"dtype={dtype}")
        rule(o)

    return checked


def _reduce(op: str) -> Rule:
    def rule(o: Operator) -> None:
        x = o.typed()
        if x.dtype == "bool":
            raise o.refuse("bools")
        # max.dim gives (values, indices)
        o.program.give(op, [x], o.outputs[:1], axes=_axes(o, x), keep=_keeps(o))

    return rule


def _extreme(word: str) -> Rule:
    """The largest of two values, or along axes, and then its first place."""

    def rule(o: Operator) -> None:
        if o.has_tensor("other"):
            pair(f"{word}imum")(o)
            return
        _reduce(f"a{word}")(o)
        if len(o.outputs) > 1:
            x, places = o.tensor("self"), o.outputs[1:]
            o.program.give(f"arg{word}", [x], places, axis=o.axis(), keep=_keeps(o))

    return rule


def _place(op: str) -> Rule:
    def rule(o: Operator) -> None:
        _give_along(o, op, o.tensor("self"))

    return rule


def _product(o: Operator) -> None:
    _give_along(o, "prod", o.typed())


def _give_along(o: Operator, op: str, x: Value) -> None:
    if o.get("dim") is None:
        raise o.refuse("all axes")
    o.give(op, x, axis=o.axis(), keep=_keeps(o))


def _truths(op: str) -> Rule:
    def rule(o: Operator) -> None:
        x = truth(o, o.tensor("self"))
        if o.get("dim") == []:  # which is none here, and all of them elsewhere
            raise o.refuse("no axes")
        o.give(op, x, axes=_axes(o, x), keep=_keeps(o))

    return rule


def _spread(op: str) -> Rule:
    """Variance, or its root."""

    def rule(o: Operator) -> None:
        usual = int(o.get("unbiased", True))
        lost = number(o, "correction", usual)
        if lost != int(lost):
            raise o.refuse("a correction that is no whole number")
        x = o.tensor("self")
        o.give(op, x, axes=_axes(o, x), correction=int(lost), keep=_keeps(o))

    return rule


def _norm(o: Operator) -> None:
    x, order = o.typed(), o.get("ord", 2)
    told: dict[str, Any] = {"axes": _axes(o, x), "keep": _keeps(o)}
    if order == 2:
        o.program.same(o.outputs[0], _length(o, x, **told, shape=o.shape))
    elif order in _NORMS:
        o.give(_NORMS[order], o.between("abs", x), **told)
    else:
        raise o.refuse(f"ord={order}")


def _cosine(o: Operator) -> None:
    pair, epsilon = [o.typed(o.tensor(key)) for key in ("x1", "x2")], number(o, "eps", 1e-8)
    rank = max(x.rank for x in pair)
    axis = o.get("dim", 1) % rank - rank
    if len({x.shape[axis] if x.rank >= -axis else 1 for x in pair}) > 1:
        raise o.refuse("vectors of several lengths")
    for i, x in enumerate(pair):
        length = _length(o, x, (axis,), True, x.shape)
        pair[i] = o.between("divide", x, o.between("clip", length, low=epsilon, high=None))
    o.give("sum", o.between("multiply", *pair), axes=(axis,), keep=False)


def _largest(o: Operator) -> None:
    """The largest values; which of equal ones is meant by their places, nothing tells."""
    if not (o.get("largest", True) and o.get("sorted", True)):
        raise o.refuse("largest=False or sorted=False")
    axis, x = o.axis(default=-1), o.tensor("self")
    o.program.give("topk", [x], o.outputs[:1], k=int(o.get("k")), axis=axis)


def _cumsum(o: Operator) -> None:
    o.give("cumsum", o.typed(), axis=o.axis())


def _distance(o: Operator) -> None:
    """The length of a difference, to which a little is added."""
    if o.get("p", 2) != 2:
        raise o.refuse(f"p={o.get('p')}")
    way = o.between("subtract", o.tensor("x1"), o.tensor("x2"))
    way = o.between("add_number", way, number=number(o, "eps", 1e-6))
    told: dict[str, Any] = {"axes": (-1,), "keep": _keeps(o)}
    o.program.same(o.outputs[0], _length(o, way, **told, shape=o.shape))


_NORMS = {1: "sum", math.inf: "amax"}
RULES: Mapping[str, Rule] = {
    **{name: _reduce(name) for name in ("mean", "amax", "amin", "logsumexp")},
    **{"sum": _wide(_reduce("sum")), "prod": _wide(_product), "cumsum": _wide(_cumsum)},
    **{word: _extreme(word) for word in ("max", "min")},
    **{name: _place(name) for name in ("argmax", "argmin")},
    **{name: _truths(name) for name in ("any", "all")},
    **{name: _spread(name) for name in ("var", "std")},
    **{"linalg_vector_norm": _norm, "topk": _largest},
    **{"cosine_similarity": _cosine, "pairwise_distance": _distance},
}
