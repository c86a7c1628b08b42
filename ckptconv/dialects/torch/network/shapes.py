"""aten operators that only move numbers: views, slices, joins."""

from __future__ import annotations

from collections.abc import Callable

from ckptconv.dialects.torch.network.call import Operator

VIEWS = frozenset(
    (
        *("permute", "transpose", "t", "numpy_T", "mT", "view", "reshape", "_unsafe_view"),
        *("flatten", "squeeze"),
        *("unsqueeze", "unflatten", "select", "slice", "chunk", "split", "split_with_sizes"),
        *("unbind", "expand", "contiguous", "detach", "alias", "to", "type_as"),
        *("dropout", "feature_dropout"),
    )
)
"""Operators whose results are, or may be, the numbers of what they take and no copy."""


def same(o: Operator) -> None:
    o.program.same(o.outputs[0], o.tensor("self" if "self" in o.given else "input"))


def permute(o: Operator) -> None:
    rank = o.tensor("self").rank
    if o.name == "permute":
        order = tuple(n % rank for n in o.get("dims"))
    elif o.name == "numpy_T":
        order = tuple(reversed(range(rank)))
    else:
        a, b = (o.axis("dim0"), o.axis("dim1")) if o.name == "transpose" else (rank - 2, rank - 1)
        swap = {a: b, b: a}
        order = tuple(swap.get(i, i) for i in range(rank))
    if len(order) != rank:
        raise o.refuse("another number of axes")
    o.give("permute", o.tensor("self"), order=order)


def shaped(o: Operator) -> None:
    """Any operator that gives the same numbers in another shape."""
    shape = o.shape
    if o.overload == "dtype":
        raise o.refuse("the same bytes as another dtype")
    if sum(n is None for n in shape) > 1:
        raise o.refuse("two sizes that are free")
    o.give("view", o.tensor("self"), sizes=tuple(-1 if n is None else n for n in shape))


def select(o: Operator) -> None:
    o.give("index", o.tensor("self"), cuts=(*_whole(o.axis()), int(o.get("index"))))


def slice(o: Operator) -> None:
    start, stop, step = o.get("start"), o.get("end"), o.get("step", 1)
    cut, x, axis = (start or None, stop, None if step == 1 else step), o.tensor("self"), o.axis()
    if cut == (None, None, None) or (x.shape[axis] is not None and o.shape == x.shape):
        same(o)
    else:
        o.give("index", x, cuts=(*_whole(axis), cut))


def _whole(axis: int) -> tuple[tuple[None, None, None], ...]:
    return ((None, None, None),) * axis


def several(op: str) -> Callable[[Operator], None]:
    def rule(o: Operator) -> None:
        values = [o.typed(o.program.value(name)) for name in o.tensor_names("tensors")]
        axis = o.get("dim", 0)
        o.give(op, *values, axis=axis)

    return rule


def chunk(o: Operator) -> None:
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
    o.give("tile", o.tensor("self"), times=tuple(o.get("repeats")))


def flip(o: Operator) -> None:
    axes = o.get("dims")
    if len(axes) != 1:
        raise o.refuse("several axes")
    o.give("flip", o.tensor("self"), axis=axes[0] % o.tensor("self").rank)


def unbind(o: Operator) -> None:
    x, axis = o.tensor("self"), o.axis() if "dim" in o.given else 0
    for i, name in enumerate(o.outputs):
        o.program.give("index", [x], [name], cuts=(*_whole(axis), i))


def expand(o: Operator) -> None:
    """Repeat along axes of size one; one of them may be as long as an axis of another value."""
    x, shape = o.tensor("self"), o.shape
    if len(shape) != x.rank:
        raise o.refuse("more axes")
    times = [1 if n == m else m for n, m in zip(x.shape, shape, strict=True)]
    free = [i for i, n in enumerate(times) if n is None]
    if not free:
        o.give("tile", x, times=tuple(times))
        return
    said = o.given["size"].get("as_sym_ints", [{}] * x.rank)[free[0]].get("as_name")
    if len(free) > 1 or said not in o.program.sizes:
        raise o.refuse("sizes that are computed")
    name, axis = o.program.sizes[said]
    o.give("tile_as", x, o.program.value(name), free=free[0], axis=axis,
           times=tuple(n or 1 for n in times))  # fmt: skip
