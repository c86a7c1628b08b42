"""Keras's MultiHeadAttention, whose projections keep the heads as an axis of their own.

Shapes in Keras: query, key, value (in, heads, dim) with biases (heads, dim); attention_output
(heads, dim, out) with a bias (out).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ckptconv.dialects.keras.assumed import assumed_of_plain
from ckptconv.dialects.keras.grouping import Group
from ckptconv.errors import DialectError, LossyError
from ckptconv.graph.graph import Layer
from ckptconv.spelling import option
from ckptconv.tensors.ops import concat, cut, reshape, transpose
from ckptconv.tensors.tensor import Tensor

_INPUTS = ("query", "key", "value")
_OUTPUT = "attention_output"
_LEAVES = {"0": "kernel", "1": "bias"}
_ORDER = "Keras calls it with (query, value, key), torch and MindSpore with (query, key, value)"
_OPTIONS: Mapping[str, tuple[object, ...]] = {
    # setting → the values with which the layer is torch's
    "attention_axes": (None, [1]),
    "use_gate": (None, False),
    "sliding_window": (None,),
}


def is_attention(group: Group) -> bool:
    """Tell whether the units are the projections of one MultiHeadAttention."""
    owners = {leaf.split("/")[0] for unit in group for leaf in unit.leaves if "/" in leaf}
    return owners == {*_INPUTS, _OUTPUT}


def lift_attention(group: Group) -> Layer:
    """Return torch's MultiheadAttention of the four projections.

    Raises:
        LossyError: sizes that torch's layer cannot have.
    """
    path, entry = group.path, group.entry
    config = entry.config if entry else {}
    _check(path, config)
    kernels, biases = _weights(group)
    shapes = [kernel.shape for kernel in kernels.values()]
    (size, heads, dim), (_, *key), (_, *value), (*output, out) = shapes
    if key != [heads, dim] or value != [heads, dim] or output != [heads, dim]:
        raise LossyError("heads of different sizes", tensor=path, found=shapes)
    if not size == out == heads * dim:
        raise LossyError(
            "MultiHeadAttention whose sizes torch's layer cannot have",
            tensor=path,
            expected=f"input, output and heads·key_dim equal ({heads * dim})",
            found=shapes,
        )
    kind = "MultiheadAttention"
    said = {"num_heads": heads, "batch_first": True}
    if isinstance(config.get("dropout"), int | float):
        said["dropout"] = config["dropout"]
    return Layer(
        path,
        kind,
        _params(kernels, biases, heads * dim),
        said,
        "model_config" if entry else "names of the weights",
        (kind,),
        (_ORDER,),
        assumed_of_plain(kind, "MultiHeadAttention", known=said) if entry is None else {},
    )


def _weights(group: Group) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the kernels and the biases of the projections.

    Raises:
        DialectError: other weights.
    """
    weights: dict[str, Tensor] = {}
    for unit in group:
        for leaf, tensor in unit.leaves.items():
            owner, _, name = leaf.partition("/")
            weights[f"{owner}.{_LEAVES.get(name, name)}"] = tensor
    kernels, biases = (
        {o: weights.pop(f"{o}.{leaf}") for o in (*_INPUTS, _OUTPUT) if f"{o}.{leaf}" in weights}
        for leaf in ("kernel", "bias")
    )
    shapes = [kernel.shape for kernel in kernels.values()]
    if weights or [len(shape) for shape in shapes] != [3, 3, 3, 3]:
        raise DialectError("not the weights of MultiHeadAttention", tensor=group.path, found=shapes)
    return kernels, biases


def lift_projections(group: Group) -> list[Layer]:
    """Return the projections as layers of their own, of whatever sizes.

    Raises:
        DialectError: weights that are none of MultiHeadAttention's.
        LossyError: heads of the query and of the key whose numbers differ.
    """
    kernels, biases = _weights(group)
    if kernels["query"].shape[1:] != kernels["key"].shape[1:]:
        raise LossyError("heads of different sizes", tensor=group.path)
    layers = []
    for owner, kernel in kernels.items():
        rows = math.prod(kernel.shape[:-1]) if owner == _OUTPUT else kernel.shape[0]
        columns = math.prod(kernel.shape) // rows
        params = {"weight": transpose(reshape(kernel, (rows, columns)), (1, 0))}
        if owner in biases:
            params["bias"] = reshape(biases[owner], (columns,))
        layers.append(Layer(f"{group.path}.{owner}", "Linear", params, evidence="model_config"))
    return layers


def _check(path: str, config: Mapping[str, Any]) -> None:
    """Raise LossyError where the attention goes over other axes or computes something more."""
    for name, allowed in _OPTIONS.items():
        if name in config and config[name] not in allowed:
            raise LossyError(
                f"{name}={config[name]!r} of MultiHeadAttention has no equal in torch's and "
                "MindSpore's layer",
                tensor=path,
                expected=" or ".join(map(repr, allowed)),
            )


def lower_attention(layer: Layer) -> dict[str, Tensor]:
    """Return Keras's weights by ``query/kernel`` and so on.

    Raises:
        DialectError: the number of heads is not known.
        LossyError: ``add_bias_kv`` or ``add_zero_attn``.
    """
    heads, params = layer.attributes.get("num_heads"), layer.params
    size = params["out_proj.weight"].shape[0]
    if not isinstance(heads, int) or heads < 1 or size % heads:
        raise DialectError(
            "the number of heads is not known, and Keras keeps them apart",
            tensor=layer.path,
            hint=option("kinds", {layer.hint_path: "MultiheadAttention(num_heads=8)"})
            + "; with the right number",
        )
    if "bias_k" in params or layer.attributes.get("add_zero_attn"):
        more = "add_bias_kv" if "bias_k" in params else "add_zero_attn"
        raise LossyError(f"{more} has no equal in Keras", tensor=layer.path)
    weights: dict[str, Tensor] = {}
    for i, owner in enumerate(_INPUTS):
        if "in_proj_weight" in params:
            matrix = cut(params["in_proj_weight"], 0, i * size, (i + 1) * size)
        else:
            matrix = params[f"{owner[0]}_proj_weight"]
        shape = (matrix.shape[1], heads, size // heads)
        weights[f"{owner}/kernel"] = reshape(transpose(matrix, (1, 0)), shape)
        if "in_proj_bias" in params:
            bias = cut(params["in_proj_bias"], 0, i * size, (i + 1) * size)
            weights[f"{owner}/bias"] = reshape(bias, shape[1:])
    output = transpose(params["out_proj.weight"], (1, 0))
    weights[f"{_OUTPUT}/kernel"] = reshape(output, (heads, size // heads, size))
    if "out_proj.bias" in params:
        weights[f"{_OUTPUT}/bias"] = params["out_proj.bias"]
    return weights


def _params(kernels: dict[str, Tensor], biases: dict[str, Tensor], size: int) -> dict[str, Tensor]:
    matrices = {
        owner: transpose(reshape(kernel, (kernel.shape[0], size)), (1, 0))
        for owner, kernel in kernels.items()
        if owner != _OUTPUT
    }
    output = kernels[_OUTPUT]
    params: dict[str, Tensor] = {}
    if all(matrix.shape == (size, size) for matrix in matrices.values()):
        params["in_proj_weight"] = concat(list(matrices.values()), 0)
    else:
        params = {f"{owner[0]}_proj_weight": matrix for owner, matrix in matrices.items()}
    rows = [reshape(bias, (size,)) for owner, bias in biases.items() if owner != _OUTPUT]
    if len(rows) == len(_INPUTS):
        params["in_proj_bias"] = concat(rows, 0)
    params["out_proj.weight"] = transpose(reshape(output, (size, output.shape[2])), (1, 0))
    if _OUTPUT in biases:
        params["out_proj.bias"] = biases[_OUTPUT]
    return params
