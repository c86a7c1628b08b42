"""Weights that a Keras layer computes with, where the file stores them in another form."""

from __future__ import annotations

from dataclasses import replace

from ckptconv.dialects.keras.grouping import Unit
from ckptconv.dialects.keras.settings import policy
from ckptconv.errors import LossyError
from ckptconv.tensors.computed import Elementwise, Product
from ckptconv.tensors.lazy import np
from ckptconv.tensors.regions import Array
from ckptconv.tensors.tensor import Tensor

_SCALED = "float8"
"""Of a policy whose layers keep scales beside weights that are whole."""
_ADAPTED = ("kernel", "embeddings")


def with_stored_weights(unit: Unit) -> Unit:
    """Return a unit with its adaptation of low rank added to its kernel or embeddings.

    ``.weights.h5`` holds the sum already. Source: ``keras.layers.Dense.enable_lora``: kernel +
    alpha / rank · a b.

    Raises:
        LossyError: quantized weights, whose layer rounds its inputs too.
    """
    for leaf, tensor in unit.leaves.items():
        numbered = leaf.isdecimal() and tensor.ndim > 1  # not what counts a Normalization's data
        if tensor.dtype.kind in "iub" and (leaf in _ADAPTED or numbered):
            raise _quantized(unit, tensor.dtype.name)
    if unit.entry and (name := policy(unit.entry.config)).startswith(_SCALED):
        raise _quantized(unit, name)
    leaves = dict(unit.leaves)
    for name in _ADAPTED:
        first, second, kernel = (leaves.get(n) for n in (f"lora_{name}_a", f"lora_{name}_b", name))
        if first is not None and second is not None and kernel is not None and kernel.ndim == 2:
            leaves[name] = _adapted(unit, kernel, first, second)
            del leaves[f"lora_{name}_a"], leaves[f"lora_{name}_b"]
    return replace(unit, leaves=leaves)


def _quantized(unit: Unit, how: str) -> LossyError:
    return LossyError(
        f"quantized weights ({how}) have no equal in torch and MindSpore",
        tensor=unit.path,
        expected="a model that was saved before quantize()",
    )


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
