"""Files that Keras 2 on Theano wrote: its convolutions turn their kernels round, and pad otherwise.

Source: ``theano_backend.py`` and ``preprocess_weights_for_loading`` of Keras 2.0 to 2.3. Kernels of
depthwise convolutions are turned before they are used, and so are TensorFlow's in the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from ckptconv.dialects.keras.convolution_pairs import OF_STATE
from ckptconv.dialects.keras.grouping import Unit
from ckptconv.errors import LossyError
from ckptconv.graph.graph import Layer
from ckptconv.tensors.ops import concat, divide

NAME = "theano"
"""The backend, as the file names it."""
PADS = "padding='same' on Theano, which pads both sides alike"


def correlating(layers: Iterable[Layer], unit: Unit) -> list[Layer]:
    """Return layers of a file of Theano's with the kernels that other backends would have.

    Raises:
        LossyError: a convolution whose input Theano pads otherwise.
    """
    made = [_turned(layer) for layer in layers]
    config = unit.entry.config if unit.entry else {}
    same = config.get("padding") == "same"
    stateful = any(layer.path.endswith(f".{OF_STATE}") for layer in made)  # its state is padded
    if any("Conv" in layer.kind for layer in made) and (same or stateful):
        sizes, strides = _row(config.get("kernel_size")), _row(config.get("strides"))
        if any(n % 2 == 0 for n in sizes) or (same and any(n != 1 for n in strides)):
            raise LossyError(
                PADS,
                tensor=unit.path,
                expected="an odd kernel_size and strides of 1",
                found=f"kernel_size {sizes}, strides {strides}",
            )
    return made


def _turned(layer: Layer) -> Layer:
    kernel = layer.params.get("weight")
    if kernel is None or not layer.kind.startswith("Conv"):
        return layer
    for axis in range(2, kernel.ndim):
        parts = divide(kernel, axis, kernel.shape[axis])
        kernel = concat(parts[::-1], axis, "reversed, as Theano convolves")
    return replace(layer, params={**layer.params, "weight": kernel})


def _row(value: Any) -> Sequence[int]:
    row = value if isinstance(value, list | tuple) else [value]
    return [n for n in row if isinstance(n, int)]
