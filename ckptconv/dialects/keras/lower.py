"""Writing Keras's names: what a Keras model of the same layers, in the same order, loads.

A recurrent layer of n layers and d directions becomes n Keras layers, ``<path>_l0``, ``<path>_l1``,
… (``<path>`` alone for n = 1), each a Bidirectional where d = 2. In the legacy layout a weight is
``<layer>/<layer>/lstm_cell/kernel:0``; in ``.weights.h5`` a group is named after the class, with a
counter for each class in model order: ``layers/lstm_1/cell/vars/0``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ckptconv.dialects.infer_kind import ambiguous
from ckptconv.dialects.keras.attention import lower_attention
from ckptconv.dialects.keras.layers import FORMS
from ckptconv.dialects.keras.model_config import snake_case
from ckptconv.dialects.keras.recurrent import lower_cell
from ckptconv.dialects.state_dict import Lowered, lower_layer
from ckptconv.errors import DialectError, LossyError
from ckptconv.graph.graph import Graph, Layer
from ckptconv.graph.kinds import PARAMETER
from ckptconv.options import Options
from ckptconv.passes.fold_projection import without_projections
from ckptconv.tensors.tensor import Tensor

_ATTENTION_GROUPS = {"attention_output": "output_dense"}


@dataclass
class _Weight:
    """One weight: its scopes below the layer in either layout, and its number in its group."""

    scope: str
    leaf: str
    group: str
    number: int
    tensor: Tensor


@dataclass
class _KerasLayer:
    name: str
    class_name: str
    weights: list[_Weight]


def lower(graph: Graph, options: Options) -> Lowered:
    """Return weights under Keras's names in the layout that ``options`` ask for.

    Raises:
        LossyError: a layer that Keras does not have, or ``proj_size`` without ``--fold-proj``.
        AmbiguousKindError: a layer whose kind decides its class and is not known.
        DialectError: two layers of one name.
    """
    lowered = Lowered()
    metadata = lowered.metadata
    metadata |= {"weight_names": {}, "names": {}}
    counts: dict[str, int] = {}
    for layer in without_projections(graph, "Keras", fold=options.fold_proj):
        part = Lowered()
        for made in _keras_layers(layer, part, named=options.layout == "weights.h5"):
            if options.layout == "weights.h5":
                _number(made, layer, counts, part, metadata["names"])
            else:
                _name(made, part, metadata)
        lowered.add(layer, part)
    metadata["layer_names"] = list(metadata["weight_names"])
    return lowered


def _name(made: _KerasLayer, part: Lowered, metadata: dict[str, dict[str, list[str]]]) -> None:
    own = made.class_name == "" and made.name in metadata["weight_names"]
    if made.name in metadata["weight_names"] and not own:
        raise DialectError("two layers would get this name", tensor=made.name)
    names = metadata["weight_names"].setdefault(made.name, [])
    for weight in made.weights:
        name = "/".join(filter(None, (made.name, weight.scope, weight.leaf))) + ":0"
        names.append(name)
        part.tensors[f"{made.name}/{name}"] = weight.tensor


def _number(
    made: _KerasLayer, layer: Layer, counts: dict[str, int], part: Lowered, names: dict[str, str]
) -> None:
    if not made.class_name:
        raise LossyError(
            "a parameter of no known layer has no place in .weights.h5",
            tensor=layer.path,
            hint="a target that ends in .h5, which keeps it under its name",
        )
    group = snake_case(made.class_name)
    number = counts[group] = counts.get(group, -1) + 1
    path = f"layers/{group}_{number}" if number else f"layers/{group}"
    names[path] = made.name
    for weight in made.weights:
        inner = "/".join(filter(None, (path, weight.group)))
        part.tensors[f"{inner}/vars/{weight.number}"] = weight.tensor


def _keras_layers(layer: Layer, part: Lowered, *, named: bool) -> Iterator[_KerasLayer]:
    """Yield the Keras layers that one layer becomes."""
    if layer.recurrent:
        yield from _recurrent(layer)
        return
    class_name = _class(layer, part, named=named)
    name = layer.path or snake_case(class_name)
    if layer.kind == "MultiheadAttention":
        weights = [
            _Weight(owner, leaf, _ATTENTION_GROUPS.get(owner, f"{owner}_dense"), i, tensor)
            for (owner, leaf), tensor, i in _attention_weights(layer)
        ]
        yield _KerasLayer(name, class_name, weights)
        return
    result = lower_layer(layer, FORMS, "keras")
    part.dropped += result.dropped
    if layer.kind == PARAMETER:
        name, _, leaf = layer.path.rpartition(".")
        yield _KerasLayer(name or leaf, "", [_Weight("", leaf, "", 0, layer.params[""])])
        return
    leaves = ((full.rpartition(".")[2], tensor) for full, tensor in result.tensors.items())
    weights = [_Weight("", leaf, "", i, tensor) for i, (leaf, tensor) in enumerate(leaves)]
    yield _KerasLayer(name, class_name, weights)


def _attention_weights(layer: Layer) -> Iterator[tuple[tuple[str, str], Tensor, int]]:
    for name, tensor in lower_attention(layer).items():
        owner, leaf = name.split("/")
        yield (owner, leaf), tensor, int(leaf == "bias")


def _recurrent(layer: Layer) -> Iterator[_KerasLayer]:
    kind, cells = layer.recurrent or "RNN", layer.cells()
    depth, sides = layer.num_layers, layer.num_directions
    alone = layer.kind.endswith("Cell")
    single, cell = _class_name(layer.kind) or "", _class_name(f"{kind}Cell") or ""
    base = layer.path or snake_case(single)
    for k in range(depth):
        name = base if depth == 1 else f"{base}_l{k}"
        weights = []
        for d in range(sides):
            half = ("forward", "backward")[d] if sides == 2 else ""
            scope = [f"{half}_{name}"] if half else []
            scope += [] if alone else [snake_case(cell)]
            group = [f"{half}_layer"] if half else []
            group += [] if alone else ["cell"]
            weights += [
                _Weight("/".join(scope), leaf, "/".join(group), i, tensor)
                for i, (leaf, tensor) in enumerate(lower_cell(cells[k, d], kind).items())
            ]
        yield _KerasLayer(name, _pair(layer.kind) if sides == 2 else single, weights)


def _class_name(kind: str) -> str | None:
    """Return Keras's class; ``""`` for a layer of the user's own, None where Keras has none."""
    form = FORMS.get(kind)
    return form.call.name if form else "" if kind == PARAMETER else None


def _pair(kind: str) -> str:
    form = FORMS[kind]
    return form.pair if form else ""


def _class(layer: Layer, part: Lowered, *, named: bool) -> str:
    """Return Keras's class of a layer.

    Args:
        named: whether the target names its groups after classes. Where it does not, all that the
            layer may be has the same weights there, or ``lower_layer`` refuses.

    Raises:
        LossyError: Keras has no such layer.
        AmbiguousKindError: the target needs a class that nothing tells.
    """
    kinds = layer.candidates or (layer.kind,)
    classes = list(dict.fromkeys(n for kind in kinds if (n := _class_name(kind)) is not None))
    if not classes:
        raise LossyError(f"{layer.kind} has no equal in Keras", tensor=layer.path)
    if named and len({_class_name(kind) for kind in kinds}) > 1:
        shapes = {name: tensor.shape for name, tensor in layer.params.items()}
        raise ambiguous(layer.path, kinds, shapes)
    if len(classes) > 1:
        part.notes.append(
            f"{layer.path}: the source does not tell whether this is {' or '.join(classes)}; "
            "the weights are the same"
        )
    return classes[0]
