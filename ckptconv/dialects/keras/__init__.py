"""Keras's weights, from every layout of Keras 1 to 3, and to the layouts that Keras loads.

Reading: ``keras_legacy`` and ``keras_groups`` group a file's names into layers, ``keras_recurrent``
brings cells into the canonical convention, ``keras_plain`` the others by the table of layers.
What the file's ``model_config`` says of a layer decides its kind; else the name of its group or of
its weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ckptconv.checkpoint import Checkpoint
from ckptconv.dialects.infer_kind import Evidence
from ckptconv.dialects.keras.attention import is_attention, lift_attention
from ckptconv.dialects.keras.grouping import Unit
from ckptconv.dialects.keras.layers import FORMS
from ckptconv.dialects.keras.legacy_names import legacy_units
from ckptconv.dialects.keras.lower import lower
from ckptconv.dialects.keras.model_config import entry
from ckptconv.dialects.keras.plain import lift_plain
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
from ckptconv.errors import CkptconvError, DialectError, LossyError, gathering
from ckptconv.graph.graph import Graph, Layer, cell_params
from ckptconv.options import Options
from ckptconv.passes.gate_convention import refuse_for
from ckptconv.tensors.tensor import Tensor

__all__ = ["FORMS", "lift", "lower"]


def lift(checkpoint: Checkpoint, options: Options) -> Graph:
    """Return the graph of a Keras file.

    Raises:
        DialectError: weights that do not fit their layer, or a layer that nothing tells.
        LossyError: a layer or option that neither torch nor MindSpore has, by its name.
    """
    try:
        refuse_for("Keras", options)
        groups: dict[str, list[Unit]] = {}
        for unit in _units(checkpoint):
            groups.setdefault(unit.path, []).append(unit)
        layers: list[Layer] = []
        with gathering() as each:
            for path, group in groups.items():
                with each():
                    layers += _lift_group(path, group, checkpoint, options)
        _check_kinds(options, groups)
    except CkptconvError as error:
        error.file = error.file or checkpoint.path
        raise
    return Graph(
        layers,
        "keras",
        tensors=checkpoint.tensors,
        omitted=dict(checkpoint.omitted),
        notes=[*checkpoint.notes, *_order(checkpoint)],
    )


def _units(checkpoint: Checkpoint) -> Iterator[Unit]:
    root = entry(checkpoint.metadata.get("model_config"))
    numbered = all("/vars/" in f"/{name}" for name in checkpoint.tensors)
    if checkpoint.metadata.get("layout", "weights.h5" if numbered else "legacy") == "legacy":
        return legacy_units(checkpoint, root)
    return group_units(checkpoint, root)


def _order(checkpoint: Checkpoint) -> list[str]:
    if "layer_names" in checkpoint.metadata or "model_config" in checkpoint.metadata:
        return []
    return ["the file does not record the order of its layers; they stand by name here"]


def _check_kinds(options: Options, groups: Mapping[str, object]) -> None:
    if unused := sorted(set(options.kinds) - set(groups)):
        raise DialectError(
            f"--kind names no module that holds parameters: {', '.join(unused)}",
            expected=", ".join(list(groups)[:20]),
        )


def _lift_group(
    path: str, group: list[Unit], checkpoint: Checkpoint, options: Options
) -> list[Layer]:
    if any(is_recurrent(unit) for unit in group):
        return [_lift_recurrent(path, group, checkpoint, options)]
    if is_attention(group):
        return [lift_attention(path, group)]
    if len(group) > 1:
        raise DialectError(
            "weights of several layers under one name",
            tensor=path,
            found=", ".join(unit.first for unit in group),
        )
    return lift_plain(group[0], options, checkpoint)


def _lift_recurrent(
    path: str, group: list[Unit], checkpoint: Checkpoint, options: Options
) -> Layer:
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
    layer = lift_recurrent(path, params, Evidence(options.kinds), checkpoint.path)
    for unit in halves:
        said, remarks = check_activations(unit, kind, options)
        layer.attributes |= said
        layer.notes += remarks
    _describe(layer, halves[0], checkpoint)
    return layer


def _is_cell(unit: Unit, kind: str, options: Options) -> bool:
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


def _describe(layer: Layer, unit: Unit, checkpoint: Checkpoint) -> None:
    """Add what the configuration says, or what its absence leaves open."""
    said = settings(unit)
    layer.evidence = "model_config" if unit.entry else layer.evidence
    layer.attributes = {**attributes(layer.kind, said), **layer.attributes}
    layer.notes += notes(said)
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
    if unit.entry is None and hard_by_default(unit, checkpoint.metadata.get("keras_version")):
        layer.notes.append(
            "recurrent_activation is not recorded, and the Keras that wrote this file had "
            "hard_sigmoid as its default; sigmoid is assumed"
        )
