"""SeparableConv1D and 2D as the two convolutions that they are, for a network that is written too.

Source: ``keras.layers.SeparableConv2D``: a depthwise convolution, which has the strides, the
padding and the dilation, then one of single places, which has the bias.
"""

from __future__ import annotations

from dataclasses import replace

from ckptconv.dialects.keras.grouping import Unit
from ckptconv.dialects.keras.plain_weights import canonical
from ckptconv.errors import DialectError
from ckptconv.graph.graph import Layer
from ckptconv.tensors.tensor import names_and_shapes

DEPTHWISE, POINTWISE = "depthwise", "pointwise"
_CLASSES = {f"{name}{n}D": n for name in ("SeparableConv", "SeparableConvolution") for n in (1, 2)}
_LEAVES = ("depthwise_kernel", "pointwise_kernel", "bias")


def is_separable(unit: Unit) -> bool:
    return unit.entry is not None and unit.entry.class_name in _CLASSES


def lift_separable(unit: Unit) -> list[Layer]:
    """Return ``<path>.depthwise`` and ``<path>.pointwise``.

    Raises:
        DialectError: weights that are not such a layer's.
    """
    rank = _CLASSES[unit.entry.class_name if unit.entry else ""]
    numbered = all(leaf.isdecimal() for leaf in unit.leaves)
    names = _LEAVES if numbered else tuple(leaf.rpartition("/")[2] for leaf in unit.leaves)
    leaves = dict(zip(names, unit.leaves.values(), strict=False))
    if not {*_LEAVES[:2]} <= leaves.keys() <= {*_LEAVES}:
        raise DialectError(
            "weights that are not a separable convolution's",
            tensor=unit.path,
            expected=", ".join(_LEAVES),
            found=names_and_shapes(unit.leaves),
        )
    kernel, pointwise, bias = (leaves.get(name) for name in _LEAVES)
    made = []
    for part, kind, held in (
        (DEPTHWISE, f"DepthwiseConv{rank}d", {"kernel": kernel}),
        (POINTWISE, f"Conv{rank}d", {"kernel": pointwise, "bias": bias}),
    ):
        known = {name: tensor for name, tensor in held.items() if tensor is not None}
        path = f"{unit.path}.{part}"
        params, told = canonical(replace(unit, path=path, leaves=known, part=None), kind)
        made.append(Layer(path, kind, params, told, "model_config"))
    return made
