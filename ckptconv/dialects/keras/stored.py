"""Weights that a Keras layer computes with, where the file stores them in another form."""

from __future__ import annotations

from dataclasses import replace

from ckptconv.dialects.keras.grouping import Unit
from ckptconv.errors import LossyError
from ckptconv.tensors.computed import Elementwise, Product
from ckptconv.tensors.lazy import np
from ckptconv.tensors.regions import Array
from ckptconv.tensors.tensor import Tensor

_LORA = ("lora_kernel_a", "lora_kernel_b")


def with_stored_weights(unit: Unit) -> Unit:
    """Return a unit with its adaptation of low rank added to its kernel.

    ``.weights.h5`` holds the sum already. Source: ``keras.layers.Dense.enable_lora``: kernel +
    alpha / rank · a b.

    Raises:
        LossyError: quantized weights, whose layer rounds its inputs too.
    """
    for leaf, tensor in unit.leaves.items():
        numbered = leaf.isdecimal() and tensor.ndim > 1  # not what counts a Normalization's data
        if tensor.dtype.kind in "iub" and (leaf in ("kernel", "embeddings") or numbered):
            raise LossyError(
                f"quantized weights ({tensor.dtype.name}) have no equal in torch and MindSpore",
                tensor=unit.path,
                expected="a model that was saved before quantize()",
            )
    first, second = (unit.leaves.get(name) for name in _LORA)
    kernel = unit.leaves.get("kernel")
    if first is None or second is None or kernel is None or kernel.ndim != 2:
        return unit
    rest = {leaf: tensor for leaf, tensor in unit.leaves.items() if leaf not in _LORA}
    return replace(unit, leaves={**rest, "kernel": _adapted(unit, kernel, first, second)})


def _adapted(unit: Unit, kernel: Tensor, first: Tensor, second: Tensor) -> Tensor:
    rank = first.shape[-1] if first.ndim == 2 else 0
    config = unit.entry.config if unit.entry else {}
    alpha = config.get("lora_alpha", rank)
    fits = rank and second.ndim == 2 and (first.shape[0], second.shape[-1]) == kernel.shape
    if not fits or second.shape[0] != rank or not isinstance(alpha, int | float):
        raise LossyError(
            "not an adaptation of low rank of this kernel",
            tensor=unit.path,
            expected=kernel.shape,
            found=(first.shape, second.shape),
        )
    scale = alpha / rank

    def add(values: Array, change: Array) -> Array:
        return np.asarray(values + (scale * change).astype(values.dtype))

    change = Product(first, second, kernel.dtype, "product of low rank")
    return Elementwise(add, (kernel, change), kernel.dtype, "kernel + alpha / rank · a b")
