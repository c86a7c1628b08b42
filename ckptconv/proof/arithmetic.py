"""The arithmetics a recurrent layer meets: exact, float32, and what hardware makes of them.

A difference between two frameworks is believed to be arithmetic only where one of these explains
it, so each is a small model of something measured or read in a framework's source.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ckptconv.tensor import Array, DType

Function = Callable[[Array], Array]


def _sigmoid(x: Array) -> Array:
    # exp of a non-positive number only, so that nothing overflows
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small)).astype(x.dtype, copy=False)


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


def _half(x: Array) -> Array:
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
    dtype: DType
    functions: dict[str, Function]
    rounding: Function = _keep
    summed_bias: bool = False


EXACT = Arithmetic("float64", np.dtype(np.float64), ACTIVATIONS)
FLOAT32 = Arithmetic("float32", np.dtype(np.float32), ACTIVATIONS)
ASCEND = Arithmetic("Ascend float16", np.dtype(np.float32), ACTIVATIONS, _half, summed_bias=True)
"""MindSpore's ``nn/layer/rnns.py`` casts inputs, weights and states to float16 for Ascend's
DynamicRNN and DynamicGRUV2 and adds the LSTM's biases first. Products are accumulated in float32
and every result is rounded to float16 again, which is the least the operator can lose."""


def _tanh_error(x: Array) -> Array:
    """What MindSpore's CPU tanh is off by at most: 1e-4 near 5, next to nothing below 2."""
    return np.interp(np.abs(x), *_TANH_ERROR).astype(x.dtype, copy=False)


_TANH_ERROR = (
    (0.0, 2.0, 2.01, 3.0, 3.01, 4.0, 4.01),
    (2e-7, 2e-7, 1e-6, 1e-6, 1.5e-5, 1.5e-5, 1e-4),
)
_SIGMOID_ERROR = 8e-7


def mindspore_cpu(sign: int) -> Arithmetic:
    """Return exact arithmetic with MindSpore's largest CPU error added (1) or taken off (-1).

    Its ``ops.tanh`` and ``ops.sigmoid``, of which GRU and RNN are made there, are fast
    approximations; the two signs enclose what they can do.
    """
    functions = dict(ACTIVATIONS)
    functions["tanh"] = lambda x: np.tanh(x) + sign * _tanh_error(x)
    functions["sigmoid"] = lambda x: _sigmoid(x) + sign * _SIGMOID_ERROR
    return replace(EXACT, name="MindSpore's CPU tanh and sigmoid", functions=functions)
