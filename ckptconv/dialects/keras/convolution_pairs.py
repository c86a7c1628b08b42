"""Layers that are two convolutions, for a network that is written too.

Sources: ``keras.layers.SeparableConv2D``: a depthwise convolution, which has the strides, the
padding and the dilation, then one of single places, which has the bias. ``ConvLSTM2D`` likewise:
one of the input, which has all settings and the bias, and one of the state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from ckptconv.dialects.keras.grouping import Unit
from ckptconv.dialects.keras.plain_weights import canonical
from ckptconv.errors import DialectError
from ckptconv.graph.graph import Layer
from ckptconv.tensors.tensor import names_and_shapes

DEPTHWISE, POINTWISE = "depthwise", "pointwise"
OF_INPUT, OF_STATE = "input_conv", "state_conv"


class _Pair(NamedTuple):
    """What a layer consists of.

    Attributes:
        leaves: Keras's names of the two kernels and the bias, in its order.
        kinds: name of each convolution → its kind, without its rank.
        biased: which of the two has the bias.
    """

    leaves: tuple[str, str, str]
    kinds: Mapping[str, str]
    biased: str


_SEPARABLE = _Pair(
    ("depthwise_kernel", "pointwise_kernel", "bias"),
    {DEPTHWISE: "DepthwiseConv", POINTWISE: "Conv"},
    POINTWISE,
)
_CONV_LSTM = _Pair(
    ("kernel", "recurrent_kernel", "bias"), {OF_INPUT: "Conv", OF_STATE: "Conv"}, OF_INPUT
)
_CLASSES = {
    **{f"{name}{n}D": (_SEPARABLE, n) for name in ("SeparableConv", "SeparableConvolution")
       for n in (1, 2)},
    **{f"ConvLSTM{n}D": (_CONV_LSTM, n) for n in (1, 2, 3)},
}  # fmt: skip


def is_pair(unit: Unit) -> bool:
    return unit.entry is not None and unit.entry.class_name in _CLASSES


def lift_pair(unit: Unit) -> list[Layer]:
    """Return the two convolutions, ``<path>.depthwise`` and so on.

    Raises:
        DialectError: weights that are not such a layer's.
    """
    pair, rank = _CLASSES[unit.entry.class_name if unit.entry else ""]
    numbered = all(leaf.isdecimal() for leaf in unit.leaves)
    names = pair.leaves if numbered else tuple(leaf.rpartition("/")[2] for leaf in unit.leaves)
    leaves = dict(zip(names, unit.leaves.values(), strict=False))
    if not {*pair.leaves[:2]} <= leaves.keys() <= {*pair.leaves}:
        raise DialectError(
            "weights that are not those of its two convolutions",
            tensor=unit.path,
            expected=", ".join(pair.leaves),
            found=names_and_shapes(unit.leaves),
        )
    made = []
    for (part, kind), kernel in zip(pair.kinds.items(), pair.leaves[:2], strict=True):
        held = {"kernel": leaves[kernel], "bias": leaves.get("bias")}
        known = {
            name: tensor
            for name, tensor in held.items()
            if tensor is not None and (name == "kernel" or part == pair.biased)
        }
        path = f"{unit.path}.{part}"
        params, told = canonical(
            replace(unit, path=path, leaves=known, part=None), f"{kind}{rank}d"
        )
        made.append(Layer(path, f"{kind}{rank}d", params, told, "model_config"))
    return made
