"""Keras's layers that are not recurrent: their kind, and their weights by the table of layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from ckptconv.dialects.evidence import REPORT, hint_of
from ckptconv.dialects.infer_kind import ambiguous
from ckptconv.dialects.keras.assumed import assumed_of_plain
from ckptconv.dialects.keras.grouping import Unit
from ckptconv.dialects.keras.layers import FORMS
from ckptconv.dialects.keras.plain_options import check_options, with_options
from ckptconv.dialects.keras.plain_weights import CLASSES, SNAKE_KINDS, canonical
from ckptconv.dialects.keras.settings import attributes, notes, settings
from ckptconv.dialects.keras.stored import with_stored_weights
from ckptconv.dialects.names import by_name
from ckptconv.errors import DialectError, LossyError
from ckptconv.graph.forms import slots
from ckptconv.graph.graph import Layer
from ckptconv.graph.hints import KindHint
from ckptconv.graph.kinds import KINDS, PARAMETER
from ckptconv.options import ReadOptions
from ckptconv.spelling import option
from ckptconv.tensors.tensor import Tensor, names_and_shapes


def lift_plain(unit: Unit, options: ReadOptions, *, deep: bool, rank: int | None) -> list[Layer]:
    """Return a unit as a layer of the table, or its weights as parameters of no known layer.

    Args:
        deep: whether the file has a kernel for volumes.
        rank: of the layer's input, with the batch, where the configuration tells it.

    Raises:
        DialectError: the weights are not those of the layer that is said, or of several.
        LossyError: a form of the layer that neither torch nor MindSpore has.
    """
    hint = hint_of(options.kinds, unit.path)
    unit = with_stored_weights(unit)
    check_options(unit)
    kind, evidence = _said_kind(unit, hint)
    candidates = (kind,) if kind else _fitting(unit)
    if not candidates:
        return _parameters(unit, "no known layer")
    said, given = settings(unit), hint.arguments if hint else {}
    lifted = {c: canonical(unit, c, given) for c in candidates}
    first = candidates[0]
    params, told = lifted[first]
    same = [c for c in candidates if _ops(lifted[c][0]) == _ops(params)]
    if same != list(candidates):
        raise ambiguous(unit.path, candidates, unit.leaves)
    attributed = {**attributes(first, said), **given, **told}
    layer = Layer(unit.path, first, params, attributed, evidence, candidates, tuple(notes(said)))
    layer = with_options(_settled(layer, deep), unit, rank)
    if unit.entry is None:
        assumed = assumed_of_plain(layer.kind, _class_name(layer.kind), known=attributed)
        layer = replace(layer, assumed={**layer.assumed, **assumed})
    return [layer]


def _class_name(kind: str) -> str:
    form = FORMS.get(kind)
    return form.call.name if form else kind


def _settled(layer: Layer, deep: bool) -> Layer:
    """Finish what the rest of the file decides: the rank of a BatchNorm.

    Args:
        deep: whether the file has a kernel for volumes.
    """
    ranks = CLASSES.get(_class_name(layer.kind), ())
    if len(ranks) > 1 and layer.kind in ranks:
        fitting = tuple(kind for kind in ranks if deep or KINDS[kind].rank < 3)
        told = layer.evidence == REPORT or layer.kind not in fitting
        return replace(layer, candidates=(layer.kind,) if told else fitting)
    return layer


def _said_kind(unit: Unit, hint: KindHint | None) -> tuple[str | None, str]:
    """Return (kind, evidence) by the user, the configuration or the name of the group."""
    if hint is not None:
        return hint.kind, hint.evidence
    if unit.entry is not None and unit.entry.class_name in CLASSES:
        return CLASSES[unit.entry.class_name][0], "model_config"
    if unit.entry is None and _has_names_of(unit, kind := SNAKE_KINDS.get(unit.word)):
        return kind, "name of the group"
    return None, "names and shapes of the weights, or the name of the layer"


def _has_names_of(unit: Unit, kind: str | None) -> bool:
    """Tell whether weights have this kind's names, or numbers: a group's name alone is a hint."""
    if kind is None or all(leaf.isdecimal() for leaf in unit.leaves):
        return kind is not None
    known = {name for _, slot in slots(kind, FORMS) if slot for name in (slot.name, *slot.also)}
    return unit.leaves.keys() <= known


def _fitting(unit: Unit) -> tuple[str, ...]:
    """Return the kinds of layer that the weights can be, narrowed by the layer's name.

    A group that is named after a class is of that class alone, and one vector may be anything.
    """
    single = len(unit.leaves) == 1 and next(iter(unit.leaves.values())).ndim < 2
    if unit.entry is not None or unit.named_by_class or single:
        return ()
    found = []
    for kind in dict.fromkeys(SNAKE_KINDS.values()):
        try:
            _, told = canonical(unit, kind)
        except DialectError:
            continue
        if not told or max(told.values()) > 1:
            found.append(kind)
    if len(found) > 1:
        return by_name(unit.path, tuple(found)) or tuple(found)
    return tuple(found)


def lift_kept(group: list[Unit], evidence: str) -> list[Layer]:
    """Return the weights of a layer as they are, under Keras's names or numbers."""
    scopes = [unit.first.split("/")[:-1] for unit in group]
    alike = (len({*names}) == 1 for names in zip(*scopes, strict=False))
    shared = next((i for i, same in enumerate(alike) if not same), len(scopes[0]))
    layers = []
    for unit, scope in zip(group, scopes, strict=True):
        for leaf, tensor in unit.leaves.items():
            path = ".".join((unit.path, *scope[shared:], leaf.replace("/", ".")))
            layers.append(Layer(path, PARAMETER, {"": tensor}, evidence=evidence))
    return layers


def _parameters(unit: Unit, evidence: str) -> list[Layer]:
    """Keep weights of no known layer under their names.

    Raises:
        DialectError: they have no names, and nobody says to keep them.
    """
    found = names_and_shapes(unit.leaves)
    numbered = any(leaf.isdecimal() for leaf in unit.leaves)
    if numbered and unit.entry is not None:
        raise LossyError(
            f"{unit.entry.class_name} has no equal in torch and MindSpore",
            tensor=unit.path,
            found=found,
        )
    if numbered:
        raise DialectError(
            "nothing tells which layer these weights belong to",
            tensor=unit.path,
            expected="a layer of " + ", ".join(sorted(CLASSES)),
            found=found,
            hint=f"{option('kinds', {unit.path: PARAMETER})}; it keeps them as they are",
        )
    if unit.entry is not None:
        evidence = f"{unit.entry.class_name}, which is not converted"
    return lift_kept([unit], evidence)


def _ops(params: Mapping[str, Tensor]) -> Iterable[object]:
    return [(name, tensor.shape, tensor.label) for name, tensor in params.items()]
