"""The arithmetics a recurrent layer meets: exact, float32, and what hardware makes of them.

A difference between two frameworks is believed to be arithmetic only where one of these explains
it, so each is a small model of something measured or read in a framework's source.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ckptconv.tensors.regions import Array

Function = Callable[[Array], Array]


def _sigmoid(x: Array) -> Array:
    falling: Array = np.exp(-x)  # may overflow, which forward ignores: 1 / infinity is right
    return 1 / (1 + falling)


def _tanh(x: Array) -> Array:
    return np.tanh(x)


def _relu(x: Array) -> Array:
    return np.maximum(x, 0)


def _hard_sigmoid(x: Array) -> Array:
    """Keras 1 and 2; Keras 3 has a slope of 1/6 (``hard_sigmoid_3``)."""
    return np.clip(0.2 * x + 0.5, 0, 1).astype(x.dtype, copy=False)


def _hard_sigmoid_3(x: Array) -> Array:
    return np.clip(x / 6 + 0.5, 0, 1).astype(x.dtype, copy=False)


ACTIVATIONS: dict[str, Function] = {
    "tanh": _tanh,
    "sigmoid": _sigmoid,
    "relu": _relu,
    "hard_sigmoid": _hard_sigmoid,
    "hard_sigmoid_3": _hard_sigmoid_3,
    "linear": lambda x: x,
}


def _keep(x: Array) -> Array:
    return x


def half(x: Array) -> Array:
    """Round floats to what float16 holds, in their own dtype; other numbers stay."""
    if x.dtype.kind != "f":
        return x
    with np.errstate(over="ignore"):
        return x.astype(np.float16).astype(x.dtype)


@dataclass(frozen=True)
class Arithmetic:
    """How numbers are computed.

    Attributes:
        name: as reports print it.
        dtype: of every intermediate value.
        functions: activation name → function.
        rounding: applied to inputs, weights, states, gates and sums.
        summed_bias: LSTM biases are added before they are used.
    """

    name: str
    dtype: np.dtype[Any]
    functions: dict[str, Function]
    rounding: Function = _keep
    summed_bias: bool = False


EXACT = Arithmetic("float64", np.dtype(np.float64), ACTIVATIONS)
FLOAT32 = Arithmetic("float32", np.dtype(np.float32), ACTIVATIONS)
ASCEND = Arithmetic("Ascend float16", np.dtype(np.float32), ACTIVATIONS, half, summed_bias=True)
"""MindSpore's ``nn/layer/rnns.py`` casts inputs, weights and states to float16 for Ascend's
DynamicRNN and DynamicGRUV2 and adds the LSTM's biases first. Products are accumulated in float32
and every result is rounded to float16 again, which is the least the operator can lose."""


def _fast_tanh(x: Array) -> Array:
    """The continued fraction that MindSpore's CPU kernels use for tanh, cut off at ±5.

    Agrees with ``mindspore.ops.tanh`` to 3e-7 everywhere; off from tanh by 1e-4 near |x| = 5.
    """
    s = x * x
    above = (((s + 378) * s + 17325) * s + 135135) * x
    below = ((28 * s + 3150) * s + 62370) * s + 135135
    fraction: Array = above / below
    return np.where(np.abs(x) > 5, np.sign(x), fraction).astype(x.dtype, copy=False)


def _fast_sigmoid(x: Array) -> Array:
    """MindSpore's CPU sigmoid is too large by up to 8e-7."""
    return np.add(_sigmoid(x), 8e-7, dtype=x.dtype)


MINDSPORE_CPU = Arithmetic(
    "MindSpore's CPU tanh and sigmoid",
    np.dtype(np.float64),
    ACTIVATIONS | {"tanh": _fast_tanh, "sigmoid": _fast_sigmoid},
)
"""GRU and RNN are made of these there; the LSTM comes from oneDNN, which approximates likewise."""
