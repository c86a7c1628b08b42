"""Writing Keras's names: what a Keras model of the same layers, in the same order, loads.

A recurrent layer of n layers and d directions becomes n Keras layers, ``<path>_l0``, ``<path>_l1``,
… (``<path>`` alone for n = 1), each a Bidirectional where d = 2. In the legacy layout a weight is
``<layer>/<layer>/lstm_cell/kernel:0``; in ``.weights.h5`` a group is named after the class, with a
counter for each class in model order: ``layers/lstm_1/cell/vars/0``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from ckptconv.dialects.infer_kind import ambiguous
from ckptconv.dialects.keras.attention import lower_attention
from ckptconv.dialects.keras.layers import FORMS
from ckptconv.dialects.keras.model_config import snake_case
from ckptconv.dialects.keras.naming import KerasLayer, Named, Numbered, Weight
from ckptconv.dialects.keras.order import in_order
from ckptconv.dialects.keras.plain_weights import lower_slopes
from ckptconv.dialects.keras.recurrent import lower_cell
from ckptconv.dialects.state_dict import lower_layer
from ckptconv.errors import LossyError, gathering, listed
from ckptconv.graph.graph import Graph, Layer, RecurrentLayer
from ckptconv.graph.kinds import PARAMETER
from ckptconv.graph.lowered import Dropped, Lowered, Part, gather
from ckptconv.spelling import option
from ckptconv.tensors.tensor import Tensor

_ATTENTION_GROUPS = {"attention_output": "output_dense"}
_SHOWN, _LONGEST = 6, 1000


class _Becomes(NamedTuple):
    layers: list[KerasLayer]
    dropped: tuple[Dropped, ...] = ()
    notes: tuple[str, ...] = ()


def lower(graph: Graph, variant: str = "") -> Lowered:
    """Return weights under Keras's names in one of its layouts, by default ``legacy``.

    Raises:
        LossyError: a layer that Keras does not have, or a parameter of none in ``.weights.h5``.
        AmbiguousKindError: a layer whose kind decides its class and is not known.
        DialectError: two layers of one name.
    """
    graph, notes = in_order(graph)
    numbered = variant == "weights.h5"
    naming = Numbered() if numbered else Named()
    parts: list[tuple[Layer, Part]] = []
    with gathering(lambda: {layer.hint_path for layer in graph}) as each:
        with each:
            _check_placed(graph if numbered else ())
        for layer in graph:
            if numbered and layer.kind == PARAMETER:
                continue
            with each:
                becomes = _becomes(layer, named=numbered)
                tensors: dict[str, Tensor] = {}
                for made in becomes.layers:
                    tensors |= naming.add(made, layer)
                parts.append((layer, Part(tensors, becomes.dropped, becomes.notes)))
    lowered = gather(parts, naming.facts())
    return replace(lowered, notes=(*lowered.notes, *notes))


def _check_placed(graph: Iterable[Layer]) -> None:
    """Refuse parameters that stand alone, for which ``.weights.h5`` has no place."""
    loose = [layer.path for layer in graph if layer.kind == PARAMETER]
    if loose:
        drop = option("drop", loose)
        drop = drop if len(drop) < _LONGEST else option("drop", ["PATH"])
        raise LossyError(
            "of no known layer, which has no place in .weights.h5",
            tensor=listed(loose, _SHOWN),
            hint=f"{drop}; the network is without it; or a target that ends in "
            ".h5, which keeps it under its name",
        )


def _becomes(layer: Layer, *, named: bool) -> _Becomes:
    """Return the Keras layers that one layer becomes."""
    if isinstance(layer, RecurrentLayer):
        return _Becomes(list(_recurrent(layer)))
    class_name, notes = _class(layer, named=named)
    name = layer_name(layer.path) or snake_case(class_name)
    if layer.kind == "MultiheadAttention":
        weights = []
        for full, tensor in lower_attention(layer).items():
            owner, leaf = full.split("/")
            group = _ATTENTION_GROUPS.get(owner, f"{owner}_dense")
            weights.append(Weight(owner, leaf, group, int(leaf == "bias"), tensor))
        return _Becomes([KerasLayer(name, class_name, weights)], (), notes)
    if layer.kind == PARAMETER:
        owner, _, leaf = layer.path.rpartition(".")
        weight = Weight("", leaf, "", 0, layer.params[""])
        return _Becomes([KerasLayer(layer_name(owner or leaf), "", [weight])], (), notes)
    if layer.kind == "PReLU":
        weight = Weight("", "alpha", "", 0, lower_slopes(layer))
        return _Becomes([KerasLayer(name, class_name, [weight])], (), notes)
    part = lower_layer(layer, FORMS, "keras")
    leaves = ((full.rpartition(".")[2], tensor) for full, tensor in part.tensors.items())
    weights = [Weight("", leaf, "", i, tensor) for i, (leaf, tensor) in enumerate(leaves)]
    return _Becomes([KerasLayer(name, class_name, weights)], part.dropped, notes)


def layer_name(path: str) -> str:
    """Return a name that Keras's layer may have on every backend: torch's has none with a dot."""
    return path.replace(".", "_")


def _recurrent(layer: RecurrentLayer) -> Iterator[KerasLayer]:
    kind, cells = layer.base, layer.cells
    depth, sides = layer.num_layers, layer.num_directions
    alone = layer.is_cell
    single, cell = _class_name(layer.kind) or "", _class_name(f"{kind}Cell") or ""
    base = layer_name(layer.path) or snake_case(single)
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
                Weight("/".join(scope), leaf, "/".join(group), i, tensor)
                for i, (leaf, tensor) in enumerate(lower_cell(cells[k, d], kind).items())
            ]
        yield KerasLayer(name, _pair(layer.kind) if sides == 2 else single, weights)


def _class_name(kind: str) -> str | None:
    """Return Keras's class; ``""`` for a layer of the user's own, None where Keras has none."""
    form = FORMS.get(kind)
    return form.call.name if form else "" if kind == PARAMETER else None


def _pair(kind: str) -> str:
    form = FORMS[kind]
    return form.pair if form else ""


def _class(layer: Layer, *, named: bool) -> tuple[str, tuple[str, ...]]:
    """Return (Keras's class of a layer, notes).

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
        raise ambiguous(layer.hint_path, kinds, layer.params)
    if len(classes) == 1:
        return classes[0], ()
    told = f"{layer.path}: the source does not tell whether this is {' or '.join(classes)}"
    return classes[0], (f"{told}; the weights are the same",)
