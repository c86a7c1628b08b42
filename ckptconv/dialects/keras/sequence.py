"""A recurrent layer of Keras: one unit, or the two halves of a Bidirectional.

Each half has settings of its own; torch's and MindSpore's layer has one for both directions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ckptconv.checkpoint import KerasFacts
from ckptconv.dialects.evidence import Evidence, hint_of
from ckptconv.dialects.keras.assumed import assumed_of_sequence
from ckptconv.dialects.keras.grouping import Group, Unit, incomplete
from ckptconv.dialects.keras.recurrent import lift_cell
from ckptconv.dialects.keras.settings import (
    attributes,
    check_activations,
    hard_by_default,
    sequence_notes,
    settings,
)
from ckptconv.dialects.recurrent import lift_recurrent
from ckptconv.errors import DialectError, LossyError
from ckptconv.graph.graph import Cell, RecurrentLayer, cell_params
from ckptconv.options import ReadOptions
from ckptconv.tensors.tensor import Tensor

_HARD = (
    "recurrent_activation is not recorded, and the Keras that wrote this file had "
    "hard_sigmoid as its default; sigmoid is assumed"
)


def lift_sequence(group: Group, facts: KerasFacts, options: ReadOptions) -> RecurrentLayer:
    """Return the recurrent layer or cell of a unit, or of the two halves of a Bidirectional.

    Raises:
        DialectError: weights that are no recurrent layer's, or not both halves.
        LossyError: an option, or a difference of the halves, that nothing equals.
    """
    path, halves = group.path, sorted(group, key=lambda unit: unit.half or 0)
    alone = len(halves) == 1 and halves[0].stacked
    if not alone and [unit.half for unit in halves] not in ([None], [0, 1]):
        raise incomplete(group)
    lifted = [lift_cell(unit, options) for unit in halves]
    kind = _one_kind(path, lifted)
    _check_wrapper(path, halves[0])
    sizes = [cell.w_hh.shape[1] for _, cell in lifted]
    if sizes[0] != sizes[-1]:
        raise _halves_differ(path, "units", sizes[0], sizes[-1])
    place = None if _is_cell(halves[0], kind, options) else 0
    params: dict[str, Tensor] = {}
    for direction, (_, cell) in enumerate(lifted):
        params |= cell_params(cell, place, direction)
    layer = lift_recurrent(Evidence(path, params, options.kinds))
    return _described(layer, halves, facts, options)


def _one_kind(path: str, lifted: list[tuple[str, Cell]]) -> str:
    kind = lifted[0][0]
    if any(other != kind for other, _ in lifted):
        raise LossyError(
            "the halves of this Bidirectional are of different kinds",
            tensor=path,
            expected=kind,
            found=lifted[1][0],
        )
    return kind


def _halves_differ(path: str, name: str, first: object, second: object) -> LossyError:
    return LossyError(
        f"the halves of this Bidirectional differ in {name}, which torch's and MindSpore's layer "
        "has one of",
        tensor=path,
        expected=f"{first!r} in both",
        found=f"{second!r} in the backward one",
    )


def _check_wrapper(path: str, unit: Unit) -> None:
    around = unit.part.wrapper("Bidirectional") if unit.part else None
    if around is None:
        return
    if (merge := around.config.get("merge_mode", "concat")) != "concat":
        raise LossyError(
            f"merge_mode {merge} has no equal in torch and MindSpore",
            tensor=path,
            expected="concat",
            found=merge,
        )
    if unit.half == 0 and settings(unit).get("go_backwards"):
        raise LossyError("a forward layer that goes backwards", tensor=path)


def _is_cell(unit: Unit, kind: str, options: ReadOptions) -> bool:
    """Tell a cell that stands alone from a layer that runs over a sequence."""
    hint = hint_of(options.kinds, unit.path)
    if hint is not None and hint.kind in (kind, f"{kind}Cell"):
        return hint.kind.endswith("Cell")
    if hint is not None:
        raise DialectError(hint.denied, tensor=unit.path, expected=kind)
    if unit.entry is not None:
        return unit.entry.class_name.endswith("Cell") and not unit.in_cell
    if all(leaf.isdecimal() for leaf in unit.leaves):
        return not unit.in_cell
    return unit.word.endswith("_cell") and not unit.in_cell


def _described(
    layer: RecurrentLayer, halves: list[Unit], facts: KerasFacts, options: ReadOptions
) -> RecurrentLayer:
    """Add what the configuration says of each half, or what its absence leaves open."""
    first, told, notes = halves[0], dict[str, Any](), list[str]()
    for unit in halves:
        said, remarks = check_activations(unit, layer.base, options)
        for key, value in said.items():
            if told.setdefault(key, value) != value:
                raise _halves_differ(layer.path, key, told[key], value)
        notes += [*remarks, *sequence_notes(unit)]
    if first.entry is None and hard_by_default(first, facts.keras_version):
        notes.append(_HARD)
    assumed: Mapping[str, Any] = {}
    if first.entry is None:
        assumed = assumed_of_sequence(layer, len(halves) == 2, known=layer.attributes)
    return replace(
        layer,
        evidence="model_config" if first.entry else layer.evidence,
        attributes={**attributes(layer.kind, settings(first)), **told, **layer.attributes},
        notes=(*layer.notes, *dict.fromkeys(notes)),
        assumed=assumed,
        gates_known=True,
    )
