"""aten operators that only move numbers: views, slices, joins."""

from __future__ import annotations

from collections.abc import Mapping

from ckptconv.dialects.torch.network.call import Operator, Rule
from ckptconv.dialects.torch.network.sizes import Extent, extents, reshaped, row, single
from ckptconv.graph.network import Size, Value

VIEWS = frozenset(
    (
        *("permute", "transpose", "t", "numpy_T", "mT", "view", "reshape", "_unsafe_view"),
        *("flatten", "squeeze", "swapaxes", "movedim"),
        *("unsqueeze", "unflatten", "select", "slice", "narrow", "chunk", "split"),
        *(
            "split_with_sizes",
            "unbind",
            "expand",
            "expand_as",
            "contiguous",
            "detach",
            "alias",
            "to",
            "type_as",
        ),
        *("dropout", "feature_dropout"),
    )
)
"""Operators whose results are, or may be, the numbers of what they take and no copy."""


_SWAPPED = {"transpose": ("dim0", "dim1"), "swapaxes": ("axis0", "axis1")}


def same(o: Operator) -> None:
    o.program.same(o.outputs[0], o.tensor("self" if "self" in o.given else "input"))


def permute(o: Operator) -> None:
    rank = o.tensor("self").rank
    if o.name == "permute":
        order = tuple(n % rank for n in o.get("dims"))
    elif o.name == "numpy_T":
        order = tuple(reversed(range(rank)))
    else:
        keys = _SWAPPED.get(o.name)
        a, b = map(o.axis, keys) if keys else (rank - 2, rank - 1)
        swap = {a: b, b: a}
        order = tuple(swap.get(i, i) for i in range(rank))
    if len(order) != rank:
        raise o.refuse("another number of axes")
    if order == tuple(range(rank)):
        same(o)
    else:
        o.give("permute", o.tensor("self"), order=order)


def shaped(o: Operator) -> None:
    """Any operator that gives the same numbers in another shape."""
    if o.overload == "dtype":
        raise o.refuse("the same bytes as another dtype")
    given = [o.tensor("self")]
    sizes = reshaped(o, given)
    o.give("view", *given, sizes=sizes)


def select(o: Operator) -> None:
    given = [o.tensor("self")]
    if (place := _place(o, "index", given)) is None:
        raise o.refuse("no index")
    o.give("index", *given, cuts=(*_whole(o.axis()), place))


def _place(o: Operator, key: str, given: list[Value]) -> Extent | None:
    found = single(o, key, given)
    if not (found is None or type(found) is int or isinstance(found, Size)):
        raise o.refuse(f"{key} that is no whole number")
    return found


def slice(o: Operator) -> None:
    given = [x := o.tensor("self")]
    start, stop, step = (_place(o, key, given) for key in ("start", "end", "step"))
    axis = o.axis()
    cut = (start or None, stop, None if step == 1 else step)
    if cut == (None, None, None) or (x.shape[axis] is not None and o.shape == x.shape):
        same(o)
    else:
        o.give("index", *given, cuts=(*_whole(axis), cut))


def narrow(o: Operator) -> None:
    x, axis, start, length = o.tensor("self"), o.axis(), o.get("start"), o.get("length")
    if {type(start), type(length)} != {int} or (start < 0 and x.shape[axis] is None):
        raise o.refuse("places that are not told")
    first = start + (x.shape[axis] or 0 if start < 0 else 0)
    o.give("index", x, cuts=(*_whole(axis), (first or None, first + length, None)))


def _whole(axis: int) -> tuple[tuple[None, None, None], ...]:
    return ((None, None, None),) * axis


def several(op: str) -> Rule:
    def rule(o: Operator) -> None:
        values = [o.typed(o.program.value(name)) for name in o.tensor_names("tensors")]
        o.give(op, *values, axis=o.get("dim", 0))

    return rule


def chunk(o: Operator) -> None:
    o.rest_is_told()
    x, axis = o.tensor("self"), o.axis(default=0)
    sizes = [o.program.shape(name)[axis] for name in o.outputs]
    start = 0
    for name, size in zip(o.outputs, sizes, strict=True):
        if size is None:
            raise o.refuse("parts whose size is free")
        cuts = (*_whole(axis), (start or None, start + size, None))
        o.program.give("index", [x], [name], cuts=cuts)
        start += size


def repeat(o: Operator) -> None:
    given = [o.tensor("self")]
    times = row(o, "repeats", given)
    o.give("tile", *given, times=times)


def moved(o: Operator) -> None:
    x = o.tensor("self")
    rows = [o.get(key) for key in ("source", "destination")]
    pairs = zip(*([row] if isinstance(row, int) else row for row in rows), strict=True)
    places = {there % x.rank: here % x.rank for here, there in pairs}
    rest = iter(axis for axis in range(x.rank) if axis not in places.values())
    order = tuple(places[axis] if axis in places else next(rest) for axis in range(x.rank))
    o.give("permute", x, order=order)


def each_repeated(o: Operator) -> None:
    o.rest_is_told()
    times = o.get("repeats")
    if o.get("dim") is None or type(times) is not int or times < 1:
        raise o.refuse("all axes, or counts of their own")
    if o.tensor("self").dtype == "bool":
        raise o.refuse("bools")
    o.give("repeat", o.tensor("self"), times=times, axis=o.axis())


def differences(o: Operator) -> None:
    if o.get("n", 1) != 1 or o.has_tensor("prepend") or o.has_tensor("append"):
        raise o.refuse("n, prepend or append")
    x, before = o.tensor("self"), _whole(o.axis(default=-1))
    first = o.between("index", x, cuts=(*before, (1, None, None)))
    second = o.between("index", x, cuts=(*before, (None, -1, None)))
    o.give("logical_xor" if x.dtype == "bool" else "subtract", first, second)


def roll(o: Operator) -> None:
    axes = o.get("dims")
    if not axes:
        raise o.refuse("all axes in one")
    x = o.tensor("self")
    for axis, shift in zip(axes, o.get("shifts"), strict=True):
        x = o.between("roll", x, axis=axis % x.rank, shift=shift)
    o.program.same(o.outputs[0], x)


def flip(o: Operator) -> None:
    x = o.tensor("self")
    for axis in o.get("dims"):
        x = o.between("flip", x, axis=axis % x.rank)
    o.program.same(o.outputs[0], x)


def unbind(o: Operator) -> None:
    x, axis = o.tensor("self"), o.axis(default=0)
    for i, name in enumerate(o.outputs):
        o.program.give("index", [x], [name], cuts=(*_whole(axis), i))


def expand(o: Operator) -> None:
    """Repeat along axes of size one, and along axes that come before."""
    given = [x := o.tensor("self")]
    sizes = extents(o, given)
    own = (1,) * (len(sizes) - x.rank) + x.shape
    times = tuple(size if n == 1 else 1 for n, size in zip(own, sizes, strict=True))
    if all(n == 1 for n in times) and len(sizes) == x.rank:
        same(o)
    else:
        o.give("tile", *given, times=times)


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("permute", "transpose", "t", "numpy_T", "mT", "swapaxes"), permute),
    **dict.fromkeys(("view", "reshape", "_unsafe_view", "flatten", "squeeze"), shaped),
    **dict.fromkeys(("unsqueeze", "unflatten"), shaped),
    **dict.fromkeys(("chunk", "split", "split_with_sizes"), chunk),
    **dict.fromkeys(("expand", "expand_as"), expand),
    **dict.fromkeys(("contiguous", "clone", "detach", "alias", "lift_fresh_copy"), same),
    **{"movedim": moved, "roll": roll, "flip": flip, "select": select, "slice": slice},
    "narrow": narrow,
    **{"cat": several("concat"), "stack": several("stack"), "unbind": unbind},
    **{"repeat": repeat, "repeat_interleave": each_repeated, "diff": differences},
}
