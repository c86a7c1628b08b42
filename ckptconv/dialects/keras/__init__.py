"""Keras's weights, from every layout of Keras 1 to 3, and to the layouts that Keras loads.

Reading: ``keras_legacy`` and ``keras_groups`` group a file's names into layers, ``keras_recurrent``
brings cells into the canonical convention, ``keras_plain`` the others by the table of layers.
What the file's ``model_config`` says of a layer decides its kind; else the name of its group or of
its weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from ckptconv.checkpoint import Checkpoint, KerasFacts
from ckptconv.dialects.infer_kind import Evidence
from ckptconv.dialects.keras.apart import lift_apart
from ckptconv.dialects.keras.attention import is_attention, lift_attention
from ckptconv.dialects.keras.grouping import Unit
from ckptconv.dialects.keras.layers import FORMS
from ckptconv.dialects.keras.legacy_names import legacy_units
from ckptconv.dialects.keras.lower import lower
from ckptconv.dialects.keras.model_config import entry
from ckptconv.dialects.keras.network import read as read_network
from ckptconv.dialects.keras.plain import lift_plain, ranks_of
from ckptconv.dialects.keras.recurrent import is_recurrent, lift_cell
from ckptconv.dialects.keras.settings import (
    attributes,
    check_activations,
    hard_by_default,
    notes,
    settings,
)
from ckptconv.dialects.keras.weights_h5_names import group_units
from ckptconv.dialects.recurrent import lift_recurrent
from ckptconv.errors import DialectError, LossyError, gathering
from ckptconv.graph.graph import Graph, Layer, cell_params
from ckptconv.graph.kinds import KINDS
from ckptconv.graph.network import Network
from ckptconv.options import ReadOptions
from ckptconv.tensors.ops import concat, divide
from ckptconv.tensors.tensor import Tensor

__all__ = ["FORMS", "lift", "lift_with_network", "lower"]

_UNORDERED = "the file does not record the order of its layers; they stand by name here"


def lift_with_network(
    checkpoint: Checkpoint, options: ReadOptions, stubs: tuple[str, ...] = ()
) -> tuple[Graph, Network]:
    """Return the graph of a Keras file and its network, from its configuration.

    Raises:
        CkptconvError: as ``lift``, but no setting of a recurrent layer is refused; a file without
            configuration, or with a layer that no network can be written of.
    """
    graph = lift(checkpoint, options, apart=True)
    facts = _facts(checkpoint)
    root = entry(facts.config)
    if root is None:
        raise DialectError(
            "the file does not record its network",
            expected="a model's configuration",
            hint="--config with the model's JSON (model.to_json()), or a file of model.save()",
        )
    paths = [layer.path for layer in graph]
    return graph, read_network(root, facts.keras_version or None, paths, stubs)


def lift(checkpoint: Checkpoint, options: ReadOptions, *, apart: bool = False) -> Graph:
    """Return the graph of a Keras file.

    Args:
        apart: read recurrent layers whatever their settings (``apart.lift_apart``).

    Raises:
        DialectError: weights that do not fit their layer, or a layer that nothing tells.
        LossyError: a layer or option that neither torch nor MindSpore has, by its name.
    """
    facts = _facts(checkpoint)
    groups: dict[str, list[Unit]] = {}
    for unit in _units(checkpoint.tensors, facts):
        groups.setdefault(unit.path, []).append(unit)
    layers: list[Layer] = []
    with gathering() as each:
        for path, group in groups.items():
            with each():
                layers += (
                    lift_apart(path, group, options)
                    if apart and _is_sequence(group)
                    else _lift_group(path, group, checkpoint.tensors, facts, options)
                )
    _check_kinds(options, groups)
    ordered = facts.config is not None or (facts.layout == "legacy" and facts.weights)
    notes = () if ordered else (_UNORDERED,)
    return Graph(
        tuple(layers),
        "keras",
        replace(checkpoint, modules={}),
        omitted=checkpoint.omitted,
        notes=(*checkpoint.notes, *notes),
    )


def _facts(checkpoint: Checkpoint) -> KerasFacts:
    """Return what the file says; of arrays in memory only the names tell the layout."""
    if isinstance(checkpoint.facts, KerasFacts):
        return checkpoint.facts
    numbered = all("/vars/" in f"/{name}" for name in checkpoint.tensors)
    return KerasFacts("weights.h5" if numbered else "legacy")


def _units(tensors: Mapping[str, Tensor], facts: KerasFacts) -> Iterator[Unit]:
    root = entry(facts.config)
    if facts.layout == "legacy":
        return legacy_units(tensors, facts, root)
    return group_units(tensors, facts, root)


def _check_kinds(options: ReadOptions, groups: Mapping[str, object]) -> None:
    if unused := sorted(set(options.kinds) - set(groups)):
        raise DialectError(
            f"--kind names no module that holds parameters: {', '.join(unused)}",
            expected=", ".join(list(groups)[:20]),
        )


def _lift_group(
    path: str,
    group: list[Unit],
    tensors: Mapping[str, Tensor],
    facts: KerasFacts,
    options: ReadOptions,
) -> list[Layer]:
    if _is_sequence(group):
        return [_lift_recurrent(path, group, facts, options)]
    if is_attention(group):
        return [lift_attention(path, group)]
    if len(group) > 1:
        raise DialectError(
            "weights of several layers under one name",
            tensor=path,
            found=", ".join(unit.first for unit in group),
        )
    return [_settled(layer, tensors, facts) for layer in lift_plain(group[0], options)]


def _is_sequence(group: list[Unit]) -> bool:
    return any(is_recurrent(unit) for unit in group)


def _lift_recurrent(path: str, group: list[Unit], facts: KerasFacts, options: ReadOptions) -> Layer:
    halves = sorted(group, key=lambda unit: unit.half or 0)
    if [unit.half for unit in halves] not in ([None], [0, 1]):
        raise DialectError(
            "an incomplete Bidirectional",
            tensor=path,
            expected="a forward and a backward layer, or one layer",
            found=", ".join(unit.first for unit in group),
        )
    lifted = [lift_cell(unit, options) for unit in halves]
    kind = lifted[0][0]
    if any(other != kind for other, _ in lifted):
        raise LossyError(
            "the halves of this Bidirectional are of different kinds",
            tensor=path,
            expected=kind,
            found=lifted[1][0],
        )
    place = None if _is_cell(halves[0], kind, options) else 0
    params: dict[str, Tensor] = {}
    for direction, (_, cell) in enumerate(lifted):
        params |= cell_params(cell, place, direction)
    layer = lift_recurrent(path, params, Evidence(options.kinds))
    attributes, notes = dict(layer.attributes), list(layer.notes)
    for unit in halves:
        said, remarks = check_activations(unit, kind, options)
        attributes |= said
        notes += remarks
    layer = replace(layer, attributes=attributes, notes=tuple(notes), gates_known=True)
    return _described(layer, halves[0], facts)


def _is_cell(unit: Unit, kind: str, options: ReadOptions) -> bool:
    """Tell a cell that stands alone from a layer that runs over a sequence."""
    hint = options.kinds.get(unit.path)
    if hint is not None and hint.kind in (kind, f"{kind}Cell"):
        return hint.kind.endswith("Cell")
    if hint is not None:
        raise DialectError(f"cannot be a {hint.kind}", tensor=unit.path, expected=kind)
    if unit.entry is not None:
        return unit.entry.class_name.endswith("Cell") and not unit.in_cell
    if all(leaf.isdecimal() for leaf in unit.leaves):
        return not unit.in_cell
    return unit.word.endswith("_cell") and not unit.in_cell


def _described(layer: Layer, unit: Unit, facts: KerasFacts) -> Layer:
    """Add what the configuration says, or what its absence leaves open."""
    said = settings(unit)
    remarks = [*layer.notes, *notes(said)]
    around = unit.wrapper.config if unit.wrapper and unit.half is not None else {}
    if (merge := around.get("merge_mode", "concat")) != "concat":
        raise LossyError(
            f"merge_mode {merge} has no equal in torch and MindSpore",
            tensor=layer.path,
            expected="concat",
            found=merge,
            hint="two separate layers in the target",
        )
    if unit.half == 0 and said.get("go_backwards"):
        raise LossyError("a forward layer that goes backwards", tensor=layer.path)
    if unit.entry is None and hard_by_default(unit, facts.keras_version):
        remarks.append(
            "recurrent_activation is not recorded, and the Keras that wrote this file had "
            "hard_sigmoid as its default; sigmoid is assumed"
        )
    return replace(
        layer,
        evidence="model_config" if unit.entry else layer.evidence,
        attributes={**attributes(layer.kind, said), **layer.attributes},
        notes=tuple(remarks),
    )


def _settled(layer: Layer, tensors: Mapping[str, Tensor], facts: KerasFacts) -> Layer:
    """Finish what the rest of the file decides: the rank of a BatchNorm, Theano's kernels."""
    ranks = ranks_of(layer.kind)
    if len(ranks) > 1:
        deep = any(tensor.ndim == 5 for tensor in tensors.values())
        return replace(layer, candidates=tuple(k for k in ranks if deep or KINDS[k].rank < 3))
    kernel = layer.params.get("weight")
    if kernel is None or "Conv" not in layer.kind or facts.backend != "theano":
        return layer
    for axis in range(2, kernel.ndim):
        parts = divide(kernel, axis, kernel.shape[axis])
        kernel = concat(parts[::-1], axis, "reversed, as Theano convolves")
    return replace(layer, params={**layer.params, "weight": kernel})
