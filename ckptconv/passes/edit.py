"""``--drop`` and ``--fold-bias``: exact changes of a network, each named by the user."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import cast

from ckptconv.errors import DialectError, listed
from ckptconv.graph.graph import Graph, Layer, RecurrentLayer
from ckptconv.graph.kinds import KINDS, Kind
from ckptconv.options import Pairs
from ckptconv.spelling import option
from ckptconv.tensors.computed import Elementwise
from ckptconv.tensors.lazy import np
from ckptconv.tensors.regions import Array
from ckptconv.tensors.tensor import Tensor, names_and_shapes

DROPPED = "dropped as"
"""How the rule begins by which something was left out on the user's word."""


def drop(graph: Graph, paths: Iterable[str]) -> Graph:
    """Leave out modules, with all below them, and parameters.

    Raises:
        DialectError: no such module or parameter, or one without which its layer is none.
    """
    asked, met = {*paths}, set[str]()
    if not asked:
        return graph
    names = graph.origin.provenance
    layers: list[Layer] = []
    rules: dict[str, str] = {}
    for layer in graph:
        above = {name: _above(layer.full_name(name)) & asked for name in layer.params}
        gone = {name: min(found) for name, found in above.items() if found}
        rest = {name: tensor for name, tensor in layer.params.items() if name not in gone}
        for name, path in gone.items():
            rules |= dict.fromkeys(names.names(layer.params[name]), f"{DROPPED} {path}")
            met |= above[name]
        if gone and rest:
            _check_left(layer, rest)
        if rest:
            layers.append(replace(layer, params=rest) if gone else layer)
    if asked - met:
        there = listed((layer.path for layer in graph), 8, " or ")
        path = min(asked - met)
        moved = next((layer.path for layer in graph if layer.hint_path == path), None)
        raise DialectError(
            f"{option('drop')}: no such module or parameter",
            tensor=path,
            expected=there,
            hint=moved and f"{option('drop', [moved])}; it was renamed before",
        )
    if not layers:
        raise DialectError(f"{option('drop')} leaves nothing", found=", ".join(sorted(asked)))
    return replace(graph, layers=tuple(layers), omitted={**graph.omitted, **rules})


def _check_left(layer: Layer, rest: Mapping[str, Tensor]) -> None:
    """Refuse to leave of a layer what is no layer."""
    kinds = [KINDS[kind] for kind in (layer.kind, *layer.candidates) if kind in KINDS]
    lacking = [_lacking(kind, layer, rest) for kind in kinds]
    if isinstance(layer, RecurrentLayer) or (lacking and all(lacking)):
        raise DialectError(
            f"{option('drop')} takes a layer apart",
            tensor=layer.path,
            expected=f"all of this {layer.kind}, or what it can be without",
            found=", ".join(layer.full_name(name) for name in layer.params if name not in rest),
        )


def _lacking(kind: Kind, layer: Layer, rest: Mapping[str, Tensor]) -> bool:
    """Tell whether parameters are gone that a layer of this kind computes with."""
    gone = layer.params.keys() - rest.keys()
    return any(
        (param.name in gone and (len(param.axes.strip("1")) > 1 or not param.optional))
        or (param.name in rest and param.needs in gone)
        for param in kind.params
    )


def fold_bias(graph: Graph, pairs: Pairs) -> Graph:
    """Move a convolution's bias into the BatchNorm that follows it: mean' = mean - bias.

    BatchNorm computes (x + b - mean) · weight / √(var + eps) + bias of x + b. The subtraction is
    rounded once, in the tensors' own dtype.

    Raises:
        DialectError: tied parameters, or not a layer with a bias and a BatchNorm with statistics of
            as many channels.
    """
    layers = list(graph)
    for first, second in cast(Iterable[tuple[str, str]], pairs):
        at, to = _find(layers, first), _find(layers, second)
        bias, mean = layers[at].params.get("bias"), layers[to].params.get("running_mean")
        known = layers[at].kind.startswith(("Conv", "Linear"))
        if bias is None or mean is None or bias.shape != mean.shape or not known:
            raise DialectError(
                option("fold_bias", {first: second}),
                expected="a convolution with a bias, and a BatchNorm with running_mean of its size",
                found=f"{_described(layers[at])} and {_described(layers[to])}",
            )
        _check_untied(graph, first, bias)
        _check_untied(graph, second, mean)
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


def _check_untied(graph: Graph, path: str, tensor: Tensor) -> None:
    """Refuse a parameter that another module has too, which would not be changed with it."""
    from ckptconv.passes.match.sides import key

    others = [
        layer.path
        for layer in graph
        if layer.path != path and any(key(tensor) == key(t) for t in layer.params.values())
    ]
    if others:
        raise DialectError(
            f"{option('fold_bias')}: its parameters are tied",
            tensor=path,
            expected="a module that stands in one place",
            found=f"the same parameters in {', '.join(others)}",
        )


def _above(name: str) -> set[str]:
    """Return a name and the paths of all modules that it stands in."""
    parts = name.split(".")
    return {".".join(parts[:count]) for count in range(1, len(parts) + 1)}


def _described(layer: Layer) -> str:
    return f"{layer.path}: {layer.kind} of {names_and_shapes(layer.params)}"
