"""What the torch and the MindSpore dialect share: dotted names over the table of layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ckptconv.checkpoint import Checkpoint
from ckptconv.dialects.infer_kind import Evidence, ambiguous, recognise
from ckptconv.dialects.recurrent import lift_recurrent
from ckptconv.errors import DialectError, gathering
from ckptconv.graph.axes import realign, sizes_said
from ckptconv.graph.forms import Forms, slots
from ckptconv.graph.graph import Layer, is_recurrent_name
from ckptconv.graph.kinds import KINDS, PARAMETER, Param
from ckptconv.graph.lowered import Dropped, Part
from ckptconv.options import KindHint
from ckptconv.tensors.tensor import FilledTensor, Tensor, trace


def lift_columns(
    checkpoint: Checkpoint, columns: Sequence[Forms], kinds: Mapping[str, KindHint]
) -> list[Layer]:
    """Group dotted names into modules and recognise each by these columns of the table.

    Raises:
        DialectError: parameters that contradict what is said of them, or a recurrent layer whose
            shapes are not one's.
        AmbiguousKindError: names all modules whose candidates would be read differently.
    """
    groups = _group(checkpoint.tensors)
    ranks = frozenset(t.ndim for t in checkpoint.tensors.values())
    layers: list[Layer] = []
    unused = set(kinds)
    with gathering() as each:
        for path, params in groups.items():
            previous = layers[-1] if layers else None
            evidence = Evidence(kinds, checkpoint.modules, ranks, previous, columns)
            unused.discard(path)
            with each():
                layers += _lift_group(path, params, evidence)
    if unused:
        raise DialectError(
            f"--kind names no module that holds parameters: {', '.join(sorted(unused))}",
            hint="'ckptconv inspect' to see the modules",
        )
    return layers


def lower_layer(layer: Layer, forms: Forms, owner: str = "the target") -> Part:
    """Return a layer that is not recurrent in a dialect's names and axes.

    Args:
        forms: the dialect's column of the table of layers.
        owner: the dialect's name, for what it has no place for.

    Raises:
        AmbiguousKindError: the candidates for its kind would become different parameters.
    """
    results = [_lower_as(kind, layer, forms, owner) for kind in layer.candidates or (layer.kind,)]
    if any(_signature(result) != _signature(results[0]) for result in results[1:]):
        shapes = {name: tensor.shape for name, tensor in layer.params.items()}
        raise ambiguous(layer.path, layer.candidates, shapes)
    return results[0]


def as_named(layer: Layer) -> Part:
    """Return a layer whose canonical names are the target's."""
    return Part({layer.full_name(name): tensor for name, tensor in layer.params.items()})


def split_parameters(layer: Layer, extra: Iterable[str]) -> list[Layer]:
    """Return parameters that belong to no known layer, each as a layer of its own."""
    return [
        Layer(layer.full_name(name), PARAMETER, {"": layer.params[name]}, evidence="no known layer")
        for name in extra
    ]


def _group(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Group names by module; parameters of a known sub-module join its parent's group."""
    groups: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        path, dot, leaf = name.rpartition(".")
        if dot and not (path and leaf):  # a dot that divides nothing belongs to the name
            path, leaf = "", name
        groups.setdefault(path, {})[leaf] = tensor
    for path in list(groups):
        parent, _, child = path.rpartition(".")
        owner = groups.get(parent, {})
        joins = child == "bn2d" and "moving_mean" in groups[path]
        if joins or (child == "out_proj" and {"in_proj_weight", "q_proj_weight"} & set(owner)):
            nested = {f"{child}.{leaf}": tensor for leaf, tensor in groups.pop(path).items()}
            groups.setdefault(parent, {}).update(nested)
    return groups


def _lift_group(
    path: str,
    params: dict[str, Tensor],
    evidence: Evidence,
) -> list[Layer]:
    recurrent = {name: t for name, t in params.items() if is_recurrent_name(name)}
    if any(name.startswith("weight_hh") for name in recurrent):
        layer = lift_recurrent(path, recurrent, evidence)
        rest = Layer(path, PARAMETER, params)
        return [layer, *split_parameters(rest, [n for n in params if n not in recurrent])]
    found = recognise(path, params, evidence)
    if found is None or found.kinds == (PARAMETER,):
        return split_parameters(Layer(path, PARAMETER, params), params)
    kind = found.kinds[0]
    rows = {slot.name: (slot, param) for param, slot in slots(kind, found.columns[kind]) if slot}
    lifted = {
        rows[name][1].name: realign(tensor, rows[name][0].axes, rows[name][1].axes)
        for name, tensor in params.items()
    }
    return [Layer(path, kind, lifted, evidence.said(path), found.evidence, found.kinds)]


def _lower_as(kind: str, layer: Layer, forms: Forms, owner: str) -> Part:
    if kind == PARAMETER:
        return Part({layer.path: layer.params[""]})
    tensors: dict[str, Tensor] = {}
    dropped: list[Dropped] = []
    products, sizes = KINDS[kind].products, sizes_said(KINDS[kind], layer.attributes)
    always = {param.name for param, slot in slots(kind, forms) if slot and slot.always}
    for param, slot in slots(kind, forms):
        tensor = layer.params.get(param.name)
        if slot is None:
            dropped += [Dropped(tensor, _dropped_rule(param, kind, owner))] if tensor else []
            continue
        if tensor is None and _is_due(param, always, layer):
            tensor = _fill(param, layer)
        if tensor is not None:
            aligned = realign(tensor, param.axes, slot.axes, products, sizes)
            tensors[layer.full_name(slot.name)] = aligned
    return Part(tensors, tuple(dropped))


def _is_due(row: Param, always: set[str], layer: Layer) -> bool:
    """Tell whether the target's layer has a parameter that the source has not."""
    return row.name in always and (not row.needs or row.needs in always | set(layer.params))


def _fill(row: Param, layer: Layer) -> Tensor:
    if not row.axes:
        return FilledTensor((), np.dtype(np.int64), row.fill)
    like = layer.params.get("weight", layer.params.get("running_mean"))
    if like is None:
        raise DialectError(f"has no parameter that tells the size of {row.name}", tensor=layer.path)
    return FilledTensor(like.shape, like.dtype, row.fill)


def _dropped_rule(row: Param, kind: str, owner: str) -> str:
    if row.name == "num_batches_tracked":
        return "num_batches_tracked: a counter of training steps, without effect on inference"
    return f"{owner} has no {row.name} in {kind}"


def _signature(lowered: Part) -> object:
    signature = []
    for name, tensor in lowered.tensors.items():
        origins, operations = trace(tensor)
        leaves = [leaf.value if isinstance(leaf, FilledTensor) else id(leaf) for leaf in origins]
        signature.append((name, tensor.shape, operations, leaves))
    return signature
