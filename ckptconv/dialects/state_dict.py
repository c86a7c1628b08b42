"""What the torch and the MindSpore dialect share: dotted names over the table of layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from ckptconv.checkpoint import Checkpoint
from ckptconv.dialects.evidence import Evidence, check_used
from ckptconv.dialects.grouping import Groups, inside, modules, sizes_around
from ckptconv.dialects.infer_kind import ambiguous, recognise
from ckptconv.dialects.names import by_name
from ckptconv.dialects.narrowing import SAID, by_class
from ckptconv.dialects.recurrent import as_parameters, lift_group, split_parameters
from ckptconv.dialects.remarks import by_word, remarks, unfit
from ckptconv.errors import DialectError, LossyError, gathering
from ckptconv.graph.axes import realign, sizes_said
from ckptconv.graph.forms import Forms, slots
from ckptconv.graph.graph import Layer, RecurrentLayer, is_recurrent_name
from ckptconv.graph.hints import KindHint
from ckptconv.graph.kinds import KINDS, PARAMETER, Param
from ckptconv.graph.lowered import Dropped, Lowered, Part, gather
from ckptconv.tensors import dtypes
from ckptconv.tensors.tensor import FilledTensor, Tensor, trace

_SORTED = ("safetensors", "sharded-index")
"""Formats whose tensors stand in no model's order."""
_BY_NAME = (
    "taken for {} by its name; other kinds would have the same values, in another shape or with "
    "constants beside them"
)


def lift_columns(
    checkpoint: Checkpoint,
    columns: Sequence[Forms],
    kinds: Mapping[str, KindHint],
    *,
    beside: Iterable[str] = (),
) -> list[Layer]:
    """Group dotted names into modules and recognise each by these columns of the table.

    Args:
        beside: paths of layers of the file that are known otherwise.

    Raises:
        DialectError: parameters that contradict what is said of them, or a recurrent layer whose
            shapes are not one's.
        AmbiguousKindError: names all modules whose candidates would be read differently.
    """
    ranks = frozenset(t.ndim for t in checkpoint.tensors.values())
    layers: list[Layer] = []
    fitting: dict[object, list[tuple[str, Forms]]] = {}
    groups: Groups = {}
    with gathering(lambda: groups.keys()) as each:
        groups = modules(checkpoint.tensors, kinds, each, checkpoint.modules)
        ordered = checkpoint.format not in _SORTED
        flow, inner = sizes_around(groups) if ordered else {}, inside(groups)
        for path, params in groups.items():
            around = flow.get(path, (frozenset(), frozenset()))
            before = layers if ordered else ()
            said = path, params, kinds, checkpoint.modules
            known = Evidence(*said, ranks, before, columns, fitting, *around, inner.get(path))
            with each:
                layers += _lift_group(known)
    check_used(kinds, dict.fromkeys((*groups, *beside)))
    return layers


def lower_layers(graph: Iterable[Layer], lower: Callable[[Layer], Part]) -> Lowered:
    """Lower layer by layer; what is ambiguous or refused is gathered into one error."""
    parts, layers = [], tuple(graph)
    with gathering(lambda: {layer.hint_path for layer in layers}) as each:
        for layer in layers:
            with each:
                parts.append((layer, lower(layer)))
    return gather(parts)


def lower_layer(layer: Layer, forms: Forms, owner: str) -> Part:
    """Return a layer in a dialect's names and axes; a recurrent one has torch's.

    Args:
        forms: the dialect's column of the table of layers.
        owner: the dialect's name, for what it has no place for.

    Raises:
        AmbiguousKindError: the candidates for its kind would become different parameters.
        LossyError: a setting that the target's layer cannot have.
    """
    if isinstance(layer, RecurrentLayer):
        return as_named(layer)
    _check_settings(layer, forms, owner)
    results = [_lower_as(kind, layer, forms, owner) for kind in layer.candidates or (layer.kind,)]
    if len(results) == 1 or len({repr(signature(result)) for result in results}) == 1:
        return results[0]
    named = by_name(layer.path, layer.candidates)
    if named and len({repr(_carried(result)) for result in results}) == 1:
        chosen = results[layer.candidates.index(named[0])]
        if not any(map(_is_made_up, chosen.tensors.values())):  # which nothing would notice
            return chosen._replace(notes=(f"{layer.path}: {_BY_NAME.format(named[0])}",))
    raise ambiguous(layer.hint_path, layer.candidates, layer.params)


def _check_settings(layer: Layer, forms: Forms, owner: str) -> None:
    form = forms.get(layer.kind)
    if form is None:
        return
    for name, only in form.first.items():
        value = layer.attributes.get(name, only)
        rows = isinstance(value, list | tuple) and len(value) > 0
        if (value[0] if rows else value) != only:
            raise LossyError(
                f"{owner}'s {form.call.name} has no such {name}",
                tensor=layer.path,
                expected=f"{only} along the first axis" if rows else only,
                found=value,
                hint=as_parameters(layer.hint_path),
            )
    kinds = layer.candidates or (layer.kind,)
    lacking = [slot for kind in kinds if (slot := _lacking(kind, layer, forms))]
    if len(lacking) == len(kinds):
        raise LossyError(
            f"{owner}'s {form.call.name} has a {lacking[0][1]}, which this layer takes from every "
            "batch anew",
            tensor=layer.path,
            expected=lacking[0][0],
            found=", ".join(layer.params),
        )
    if lacking:
        raise ambiguous(layer.hint_path, kinds, layer.params)


def _lacking(kind: str, layer: Layer, forms: Forms) -> tuple[str, str] | None:
    """Return the parameter that the target's layer cannot be without, and the source's is, with
    its name there."""
    for param, slot in slots(kind, forms) if kind != PARAMETER else ():
        if slot and slot.needed and param.name not in layer.params:
            return param.name, slot.name
    return None


def as_named(layer: Layer) -> Part:
    """Return a layer whose canonical names are the target's."""
    return Part({layer.full_name(name): tensor for name, tensor in layer.params.items()})


def _lift_group(evidence: Evidence) -> list[Layer]:
    path, params = evidence.path, evidence.params
    recurrent = [name for name in params if is_recurrent_name(name)]
    torn = len(recurrent) == len(params) and any(n.startswith("weight_ih_l") for n in recurrent)
    if torn or any(name.startswith("weight_hh") for name in recurrent):
        return lift_group(evidence)
    found = recognise(evidence)
    if found is None or found.kinds == (PARAMETER,):
        return split_parameters(evidence, params, *unfit(evidence))
    kind = found.kinds[0]
    notes = remarks(evidence, kind, found.evidence)
    if [*params] == ["w"] and found.evidence not in SAID and not by_class(evidence, (kind,)):
        if not by_name(path, (kind,)):
            raise ambiguous(path, (kind, PARAMETER), params)
        notes += (by_word(kind),)
    rows = {slot.name: (slot, param) for param, slot in slots(kind, found.columns[kind]) if slot}
    lifted = {
        rows[name][1].name: realign(tensor, rows[name][0].axes, rows[name][1].axes)
        for name, tensor in params.items()
    }
    return [Layer(path, kind, lifted, evidence.said, found.evidence, found.kinds, notes)]


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
        return FilledTensor((), dtypes.named("int64"), row.fill)
    like = layer.params.get("weight", layer.params.get("running_mean"))
    if like is None:
        raise DialectError(f"has no parameter that tells the size of {row.name}", tensor=layer.path)
    return FilledTensor(like.shape, like.dtype, row.fill)


def _dropped_rule(row: Param, kind: str, owner: str) -> str:
    if row.name == "num_batches_tracked":
        return "num_batches_tracked: a counter of training steps, without effect on inference"
    return f"{owner} has no {row.name} in {kind}"


def signature(lowered: Part) -> list[object]:
    """Return what tells two readings apart: names, shapes, values and their order."""
    signature: list[object] = []
    for name, tensor in lowered.tensors.items():
        origins, operations = trace(tensor)
        leaves = [leaf.value if isinstance(leaf, FilledTensor) else id(leaf) for leaf in origins]
        signature.append((name, tensor.shape, operations, leaves))
    return signature


def _carried(lowered: Part) -> list[object]:
    """Return what becomes of the source's values: their names and order; not their shape, and not
    what a target's layer has beside them."""
    carried: list[object] = [sorted(id(dropped.tensor) for dropped in lowered.dropped)]
    for name, tensor in lowered.tensors.items():
        if not _is_made_up(tensor):
            origins, operations = trace(tensor)
            order = [operation for operation in operations if operation != "reshape"]
            carried.append((name, order, [id(leaf) for leaf in origins]))
    return carried


def _is_made_up(tensor: Tensor) -> bool:
    return all(isinstance(leaf, FilledTensor) for leaf in trace(tensor).origins)
