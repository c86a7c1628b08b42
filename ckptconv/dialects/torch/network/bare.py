"""aten operators that have layers, without the weights of one, or with those of one as factors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ckptconv.dialects.torch.network.call import Operator, Rule, number
from ckptconv.dialects.torch.network.layers import RULES as LAYERS
from ckptconv.graph.kinds import PARAMETER
from ckptconv.graph.network import Value

_FLOAT32_EPSILON = 2.0**-23
_AFFINE = {"weight": "multiply", "bias": "add"}
_KERNEL = {"stride": 1, "padding": 0, "dilation": 1}


def _or_layer(rule: Rule) -> Rule:
    """Take an operator for that of a layer where it has weights."""

    def chosen(o: Operator) -> None:
        if o.has_tensor("weight") or o.has_tensor("bias"):
            LAYERS[o.name](o)
        else:
            rule(o)

    return chosen


def _layer_norm(o: Operator) -> None:
    x = o.tensor("input")
    _normalised(o, x, _last_axes(o, x), number(o, "eps", 1e-5))


def _rms_norm(o: Operator) -> None:
    x = o.tensor("input")
    epsilon = number(o, "eps", _FLOAT32_EPSILON)
    o.give("divide", x, _root(o, o.between("square", x), _last_axes(o, x), epsilon))


def _last_axes(o: Operator, x: Value) -> range:
    return range(x.rank - len(o.get("normalized_shape")), x.rank)


def _instance_norm(o: Operator) -> None:
    """MindSpore's own layer runs on GPU alone, and one with statistics is a BatchNorm."""
    if not o.get("use_input_stats", True):
        LAYERS[o.name](o)
        return
    x = o.tensor("input")
    if x.rank < 3:
        raise o.refuse("an input without places")
    _normalised(o, x, range(2, x.rank), number(o, "eps", 1e-5))


def _normalised(o: Operator, x: Value, axes: Sequence[int], epsilon: float) -> None:
    mean = o.between("mean", x, axes=tuple(axes), keep=True)
    centred = o.between("subtract", x, mean)
    steps = [("divide", _root(o, o.between("square", centred), axes, epsilon))]
    steps += [(op, _by_channel(o, key)) for key, op in _AFFINE.items() if o.has_tensor(key)]
    for op, other in steps[:-1]:
        centred = o.between(op, centred, other)
    o.give(steps[-1][0], centred, steps[-1][1])


def _by_channel(o: Operator, key: str) -> Value:
    given = o.tensor(key)
    sizes = (*given.shape, *(1,) * (o.tensor("input").rank - 2))
    return o.between("view", given, shape=sizes, sizes=sizes)


def _is_of_layer(o: Operator) -> bool:
    """Tell a layer's weight from a parameter that stands alone, and from what is computed."""
    path = o.program.weights.get(o.tensor_name("weight"))
    layer = o.program.layers.get(path or "")
    return path is not None and (layer is None or layer.kind != PARAMETER)


def _embedding(o: Operator) -> None:
    if _is_of_layer(o):
        LAYERS[o.name](o)
    else:
        o.rest_is_told()  # what gradients alone ask for
        o.give("take", o.tensor("weight"), o.tensor("indices"), axis=0, count=1)


def _conv(o: Operator) -> None:
    if _is_of_layer(o):
        LAYERS[o.name](o)
        return
    x, rank = o.tensor("input"), int(o.name[-2])
    if x.rank != rank + 2:
        raise o.refuse("an input without batch")
    if isinstance(o.get("padding"), str):
        raise o.refuse("padding that is no number")
    said: dict[str, Any] = {key: o.sizes(key, rank, [usual]) for key, usual in _KERNEL.items()}
    given = [o.tensor(key) for key in _AFFINE if o.has_tensor(key)]
    o.give("convolve", x, *given, rank=rank, **said, groups=int(o.get("groups", 1)))


def _root(o: Operator, squares: Value, axes: Sequence[int], epsilon: float) -> Value:
    mean = o.between("mean", squares, axes=tuple(axes), keep=True)
    return o.between("sqrt", o.between("add_number", mean, number=epsilon))


RULES: Mapping[str, Rule] = {
    "layer_norm": _or_layer(_layer_norm),
    "rms_norm": _or_layer(_rms_norm),
    "instance_norm": _instance_norm,
    "embedding": _embedding,
    **{f"conv{rank}d": _conv for rank in (1, 2, 3)},
}
