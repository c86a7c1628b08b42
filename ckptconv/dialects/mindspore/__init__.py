"""MindSpore's names, as ``mindspore.nn`` and ``mindspore.mint.nn`` have them.

``nn.LSTM``, ``GRU``, ``RNN`` and their cells use torch's names, shapes and gate order; the hardware
rearranges them at run time, so a checkpoint is the same for CPU, GPU and Ascend.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from ckptconv.checkpoint import Checkpoint
from ckptconv.dialects import EITHERS, MINDSPORES, TORCHS
from ckptconv.dialects.mindspore.layers import FORMS, MINT
from ckptconv.dialects.mindspore.transformer import with_dense_names, with_linear_names
from ckptconv.dialects.prefixes import advice
from ckptconv.dialects.state_dict import lift_columns, lower_layer, lower_layers
from ckptconv.errors import DialectError
from ckptconv.graph.forms import Forms
from ckptconv.graph.graph import Graph, Layer
from ckptconv.graph.kinds import KINDS
from ckptconv.graph.lowered import Lowered
from ckptconv.options import ReadOptions
from ckptconv.tensors.tensor import Tensor

if TYPE_CHECKING:
    from ckptconv.graph.network import Network


def lift_with_network(*_: object) -> tuple[Graph, Network]:
    """Refuse: a MindSpore checkpoint records no network."""
    raise DialectError(
        "a MindSpore checkpoint does not record its network",
        expected="a Keras model or a torch.export archive (.pt2)",
    )


def lift(checkpoint: Checkpoint, options: ReadOptions) -> Graph:
    """Return the graph of a MindSpore checkpoint.

    Raises:
        DialectError: names and shapes that contradict each other.
    """
    from ckptconv.dialects.mindspore.flat_lstm import lift_flat
    from ckptconv.dialects.mindspore.training_state import training_state

    state = training_state(checkpoint.tensors)
    kept = state.network(checkpoint.tensors)
    flat, taken = lift_flat(kept, options.kinds, options.flat_layout)
    rest = replace(checkpoint, tensors={n: t for n, t in kept.items() if n not in taken})
    paths = {layer.path for layer in flat}
    kinds = {path: hint for path, hint in options.kinds.items() if path not in paths}
    columns = _columns(rest.tensors)
    lifted = with_linear_names(lift_columns(rest, columns, kinds, beside=paths))
    layers = (*flat, *(_as_mint_does(layer, rest.tensors) for layer in lifted))
    names = (name for name, tensor in kept.items() if tensor.ndim)
    return Graph(
        layers,
        "mindspore",
        replace(checkpoint, modules={}),
        omitted={**checkpoint.omitted, **state.omitted},
        notes=(*checkpoint.notes, *state.notes, *advice(names, options)),
    )


def _as_mint_does(layer: Layer, tensors: Mapping[str, Tensor]) -> Layer:
    """Assume of a layer that only mint has what mint does where nn's default is another."""
    form, weight = FORMS.get(layer.kind), tensors.get(layer.full_name("weight"))
    slot = form.slots.get("weight") if form else None
    if form is None or slot is None or weight is None or layer.kind not in MINT:
        return layer
    if not slot.name and len(slot.axes) == weight.ndim:
        return layer
    usual = {n: KINDS[layer.kind].hyper[n] for n in form.defaults if n not in layer.attributes}
    return replace(
        layer, attributes={**usual, **layer.attributes}, assumed={**layer.assumed, **usual}
    )


def _columns(names: Iterable[str]) -> list[Forms]:
    """Tell mint's names, which are torch's, from nn's by the parameters that only one has.

    What mint has no layer for is nn's; one ``gamma`` alone may be anybody's.
    """
    modules: dict[str, set[str]] = {}
    for name in names:
        path, _, leaf = name.rpartition(".")
        modules.setdefault(path, set()).add(leaf)
    groups = modules.values()
    nn = any(group in (EITHERS, *MINDSPORES) for group in groups)
    mint = any(group & TORCHS for group in groups)
    told = [column for column, own in ((FORMS, nn), ({**FORMS, **MINT}, mint)) if own]
    return told or [FORMS, MINT]


def lower(graph: Graph, variant: str = "", forms: Forms = FORMS) -> Lowered:  # noqa: ARG001
    """Return parameters under the names of ``mindspore.nn``.

    Args:
        forms: the column whose names are written.

    Raises:
        AmbiguousKindError: a layer whose kind decides its names and is not known.
    """
    layers = with_dense_names(graph)
    return lower_layers(layers, lambda layer: lower_layer(layer, forms, "mindspore"))
