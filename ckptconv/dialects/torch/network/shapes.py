"""aten operators that only move numbers: views, slices, joins."""

from __future__ import annotations

from collections.abc import Callable

from ckptconv.dialects.torch.network.program import Operator


def same(o: Operator) -> None:
    o.program.same(o.outputs[0], o.tensor("self" if "self" in o.given else "input"))


def permute(o: Operator) -> None:
    rank = o.tensor("self").rank
    if o.name == "permute":
        order = tuple(n % rank for n in o.get("dims"))
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
    if sum(n is None for n in shape) > 1:
        raise o.refuse("two sizes that are free")
    o.give("view", o.tensor("self"), sizes=tuple(-1 if n is None else n for n in shape))


def select(o: Operator) -> None:
    o.give("index", o.tensor("self"), cuts=(*_whole(o.axis()), int(o.get("index"))))


def slice(o: Operator) -> None:
    start, stop, step = o.get("start"), o.get("end"), o.get("step", 1)
    cut = (start or None, stop, None if step == 1 else step)
    if cut == (None, None, None) or (cut == (None, *cut[1:]) and o.shape == o.tensor("self").shape):
        same(o)
    else:
        o.give("index", o.tensor("self"), cuts=(*_whole(o.axis()), cut))


def _whole(axis: int) -> tuple[tuple[None, None, None], ...]:
    return ((None, None, None),) * axis


def several(op: str) -> Callable[[Operator], None]:
    def rule(o: Operator) -> None:
        values = [o.program.value(name) for name in o.tensor_names("tensors")]
        axis = o.get("dim", 0)
        o.give(op, *values, axis=axis)

    return rule


def chunk(o: Operator) -> None:
    x, axis = o.tensor("self"), o.axis()
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
