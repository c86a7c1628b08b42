"""``--drop`` and ``--fold-bias``: exact changes of a network, each named by the user."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from ckptconv.errors import DialectError
from ckptconv.graph.graph import Graph, Layer, RecurrentLayer
from ckptconv.graph.provenance import Provenance
from ckptconv.spelling import option
from ckptconv.tensors.computed import Elementwise
from ckptconv.tensors.regions import Array
from ckptconv.tensors.tensor import Tensor


def drop(graph: Graph, paths: Iterable[str]) -> Graph:
    """Leave out modules, with all below them, and parameters.

    Raises:
        DialectError: no such module or parameter, or a part of a recurrent layer.
    """
    for path in paths:
        kept: list[Layer] = []
        gone: list[Tensor] = []
        for layer in graph:
            rest = {
                name: tensor
                for name, tensor in layer.params.items()
                if not _is_in(layer.full_name(name), path)
            }
            gone += [tensor for name, tensor in layer.params.items() if name not in rest]
            if rest and len(rest) < len(layer.params) and isinstance(layer, RecurrentLayer):
                raise DialectError(f"{option('drop')} takes a recurrent layer apart", tensor=path)
            if rest:
                kept.append(
                    layer if len(rest) == len(layer.params) else replace(layer, params=rest)
                )
        if not gone:
            there = " or ".join(layer.path for layer in graph.layers[:8])
            raise DialectError(
                f"{option('drop')}: no such module or parameter", tensor=path, expected=there
            )
        names = Provenance(graph.origin.tensors)
        rules = {name: f"dropped as {path}" for tensor in gone for name in names.names(tensor)}
        graph = replace(graph, layers=tuple(kept), omitted={**graph.omitted, **rules})
    return graph


def fold_bias(graph: Graph, pairs: Mapping[str, str]) -> Graph:
    """Move a convolution's bias into the BatchNorm that follows it: mean' = mean - bias.

    BatchNorm computes (x + b - mean) · weight / √(var + eps) + bias of x + b. The subtraction is
    rounded once, in the tensors' own dtype.

    Raises:
        DialectError: not a layer with a bias and a BatchNorm with statistics of as many channels.
    """
    layers = list(graph)
    for first, second in pairs.items():
        at, to = _find(layers, first), _find(layers, second)
        bias, mean = layers[at].params.get("bias"), layers[to].params.get("running_mean")
        known = layers[at].kind.startswith(("Conv", "Linear"))
        if bias is None or mean is None or bias.shape != mean.shape or not known:
            raise DialectError(
                option("fold_bias", {first: second}),
                expected="a convolution with a bias, and a BatchNorm with running_mean of its size",
                found=f"{_described(layers[at])} and {_described(layers[to])}",
            )
        rest = {name: tensor for name, tensor in layers[at].params.items() if name != "bias"}
        less = Elementwise(_minus, (mean, bias), mean.dtype, f"less the bias of {first}")
        layers[at] = replace(
            layers[at], params=rest, notes=(*layers[at].notes, f"its bias is folded into {second}")
        )
        layers[to] = replace(layers[to], params={**layers[to].params, "running_mean": less})
    return replace(graph, layers=tuple(layers))


def _minus(first: Array, second: Array) -> Array:
    with np.errstate(all="ignore"):
        return np.asarray(first - second)


def _find(layers: list[Layer], path: str) -> int:
    for number, layer in enumerate(layers):
        if layer.path == path:
            return number
    raise DialectError(f"{option('fold_bias')}: no such module", tensor=path)


def _is_in(name: str, path: str) -> bool:
    return name == path or name.startswith(f"{path}.")


def _described(layer: Layer) -> str:
    params = ", ".join(f"{name} {tensor.shape}" for name, tensor in layer.params.items())
    return f"{layer.path}: {layer.kind} of {params}"
