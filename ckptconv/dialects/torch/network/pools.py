"""aten operators that take the largest or the mean of windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ckptconv.dialects.torch.network import shapes
from ckptconv.dialects.torch.network.call import Operator, Rule
from ckptconv.graph.network import Value


def _pool(op: str) -> Rule:
    lowest = -3e38 if op == "max_pool" else 0.0

    def rule(o: Operator) -> None:
        if any(d != 1 for d in o.get("dilation", [1])):
            raise o.refuse("dilation")
        if not o.get("count_include_pad", True) or o.get("divisor_override") is not None:
            raise o.refuse("a divisor of its own")
        x, rank = o.tensor("self"), int(o.name[-2])
        if x.rank != rank + 2:
            raise o.refuse("an input without batch")
        if "float" not in x.dtype:
            raise o.refuse(f"values of {x.dtype}")
        size, row = (o.sizes(key, rank, [0]) for key in ("kernel_size", "padding"))
        stride = o.sizes("stride", rank, size)
        more = _beyond(o, x, size, stride, row) if o.get("ceil_mode", False) else [0] * rank
        if any(more) and op != "max_pool":
            raise o.refuse("ceil_mode, and windows that reach over the end")
        pairs = [(n, n + after) for n, after in zip(row, more, strict=True)]
        if any(map(any, pairs)):
            sides = tuple(n for pair in reversed(pairs) for n in pair)
            x = o.between("pad", x, sides=sides, value=lowest)
        o.give(op, x, rank=rank, size=tuple(size), stride=tuple(stride))

    return rule


def _beyond(
    o: Operator, x: Value, size: Sequence[int], stride: Sequence[int], padding: Sequence[int]
) -> list[int]:
    """Return how far the last window of each axis reaches over the end, with ceil_mode."""
    found = []
    for n, places, k, s, p in zip(x.shape[2:], o.shape[2:], size, stride, padding, strict=True):
        if n is None or places is None:
            raise o.refuse("ceil_mode, and a length that is not recorded")
        found.append(max((places - 1) * s + k - n - 2 * p, 0))
    return found


def _adaptive(op: str, windows: str) -> Rule:
    def rule(o: Operator) -> None:
        x, sizes = o.tensor("self"), o.get("output_size")
        places = list(enumerate(sizes, x.rank - len(sizes)))  # the last axes, with a batch or not
        if any(size not in (1, x.shape[axis]) for axis, size in places):
            _give_windows(o, windows, x, sizes)
            return
        axes = tuple(axis for axis, size in places if size == 1)
        if axes:  # max: (values, indices)
            o.program.give(op, [x], o.outputs[:1], axes=axes, keep=True)
        else:
            shapes.same(o)

    return rule


def _give_windows(o: Operator, op: str, x: Value, sizes: Sequence[int]) -> None:
    """Pool windows that are all of one length, where the lengths are multiples of the outputs'."""
    lengths = x.shape[x.rank - len(sizes) :]
    fits = all(n is not None and s > 0 and n % s == 0 for n, s in zip(lengths, sizes, strict=True))
    if x.rank != len(sizes) + 2 or not fits:
        raise o.refuse("an input whose length is not recorded, or no multiple of the output's")
    size = tuple((n or 0) // s for n, s in zip(lengths, sizes, strict=True))
    o.program.give(op, [x], o.outputs[:1], rank=len(sizes), size=size, stride=size)


RULES: Mapping[str, Rule] = {
    **{f"max_pool{n}d": _pool("max_pool") for n in (1, 2, 3)},
    **{f"avg_pool{n}d": _pool("avg_pool") for n in (1, 2, 3)},
    **{f"adaptive_avg_pool{n}d": _adaptive("mean", "avg_pool") for n in (1, 2, 3)},
    **{f"adaptive_max_pool{n}d": _adaptive("amax", "max_pool") for n in (1, 2, 3)},
}
