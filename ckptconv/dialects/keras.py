"""Keras's weights, from every layout of Keras 1 to 3, and to the layouts that Keras loads.

Reading: ``keras_units`` groups the file's names into layers, ``keras_recurrent`` brings cells into
the canonical convention, the table of ``ckptconv.layers`` has the names and axes of the others.
What the file's ``model_config`` says of a layer decides its kind; else the name of its group or of
its weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ckptconv.checkpoint import Checkpoint
from ckptconv.dialects.keras_attention import is_attention, lift_attention
from ckptconv.dialects.keras_config import snake_case
from ckptconv.dialects.keras_lower import lower
from ckptconv.dialects.keras_options import BATCH_NORM, CLASS_KINDS, attributes, notes
from ckptconv.dialects.keras_recurrent import (
    check_activations,
    hard_by_default,
    is_recurrent,
    lift_cell,
    settings,
)
from ckptconv.dialects.keras_units import Unit, units
from ckptconv.dialects.recurrent import lift_recurrent
from ckptconv.errors import AmbiguousKindError, CkptconvError, DialectError, LossyError
from ckptconv.graph import Graph, Layer, cell_params
from ckptconv.layers import KINDS, PARAMETER, Param, fits, realign
from ckptconv.options import Options
from ckptconv.recognise import Evidence, by_name
from ckptconv.relayout import concat, divide
from ckptconv.tensor import FilledTensor, Tensor

__all__ = ["lift", "lower"]

_SNAKE_KINDS = {snake_case(name): kind for name, kind in CLASS_KINDS.items()}


def lift(checkpoint: Checkpoint, options: Options) -> Graph:
    """Return the graph of a Keras file.

    Raises:
        DialectError: weights that do not fit their layer, or a layer that nothing tells.
        LossyError: a layer or option that neither torch nor MindSpore has, by its name.
    """
    try:
        found = units(checkpoint)
        groups: dict[str, list[Unit]] = {}
        for unit in found:
            groups.setdefault(unit.path, []).append(unit)
        layers = [
            layer
            for path, group in groups.items()
            for layer in _lift_group(path, group, checkpoint, options)
        ]
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
    layers = _lift_plain(group[0], options)
    for layer in layers:
        _settle(layer, checkpoint)
    return layers


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
    if all(leaf.isdigit() for leaf in unit.leaves):
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


def _lift_plain(unit: Unit, options: Options) -> list[Layer]:
    hint = options.kinds.get(unit.path)
    kind, evidence = _said_kind(unit, hint.kind if hint else None)
    if kind == PARAMETER:
        return _parameters(unit, "--kind")
    candidates = (kind,) if kind else _fitting(unit)
    if not candidates:
        return _parameters(unit, "no known layer")
    lifted = {c: _canonical(unit, c) for c in candidates}
    first = candidates[0]
    same = [c for c in candidates if _ops(lifted[c]) == _ops(lifted[first])]
    if same != list(candidates):
        raise AmbiguousKindError(
            "the file does not tell which layer this is",
            tensor=unit.path,
            expected=" or ".join(candidates),
            found=", ".join(f"{leaf} {t.shape}" for leaf, t in unit.leaves.items()),
            hint=" or ".join(f"--kind {unit.path}={c}" for c in candidates),
        )
    said = settings(unit)
    layer = Layer(unit.path, first, lifted[first], attributes(first, said), evidence, candidates)
    layer.attributes |= hint.arguments if hint else {}
    layer.notes += notes(said)
    return [layer]


def _settle(layer: Layer, checkpoint: Checkpoint) -> None:
    """Finish what the rest of the file decides: the rank of a BatchNorm, Theano's kernels."""
    if layer.kind in BATCH_NORM:
        deep = any(tensor.ndim == 5 for tensor in checkpoint.tensors.values())
        layer.candidates = BATCH_NORM if deep else BATCH_NORM[:2]
    kernel = layer.params.get("weight")
    if (
        kernel is not None
        and "Conv" in layer.kind
        and checkpoint.metadata.get("backend") == "theano"
    ):
        for axis in range(2, kernel.ndim):
            parts = divide(kernel, axis, kernel.shape[axis])
            kernel = concat(parts[::-1], axis, "reversed, as Theano convolves")
        layer.params["weight"] = kernel


def _said_kind(unit: Unit, hint: str | None) -> tuple[str | None, str]:
    """Return (kind, evidence) by the user, the configuration or the name of the group."""
    if hint is not None:
        return hint, "--kind"
    if unit.entry is not None and unit.entry.class_name in CLASS_KINDS:
        return CLASS_KINDS[unit.entry.class_name], "model_config"
    if unit.entry is None and unit.word in _SNAKE_KINDS:
        return _SNAKE_KINDS[unit.word], "name of the group"
    return None, "names and shapes of the weights, or the name of the layer"


def _fitting(unit: Unit) -> tuple[str, ...]:
    """Return the kinds of layer that the weights can be, narrowed by the layer's name."""
    if unit.entry is not None:  # a class that is not converted
        return ()
    found = []
    for kind in dict.fromkeys(CLASS_KINDS.values()):
        try:
            _canonical(unit, kind)
        except DialectError:
            continue
        found.append(kind)
    if len(found) > 1:
        return by_name(unit.path, tuple(found), Evidence(), {}) or tuple(found)
    return tuple(found)


def _parameters(unit: Unit, evidence: str) -> list[Layer]:
    """Keep weights of no known layer under their names.

    Raises:
        DialectError: they have no names, and the user does not say to keep them.
    """
    if evidence != "--kind" and any(leaf.isdigit() for leaf in unit.leaves):
        raise DialectError(
            "nothing tells which layer these weights belong to",
            tensor=unit.path,
            expected="a layer of " + ", ".join(sorted(CLASS_KINDS)),
            found=", ".join(f"{leaf} {t.shape}" for leaf, t in unit.leaves.items()),
            hint=f"--kind {unit.path}=KIND, or {unit.path}=Parameter to keep them as they are",
        )
    return [
        Layer(f"{unit.path}.{leaf}", PARAMETER, {"": tensor}, evidence=evidence)
        for leaf, tensor in unit.leaves.items()
    ]


def _canonical(unit: Unit, kind: str) -> dict[str, Tensor]:
    """Return a unit's weights as the canonical parameters of ``kind``.

    Raises:
        DialectError: they are not that layer's.
    """
    rows = {
        row.column("keras")[0]: row for row in KINDS.get(kind, ()) if row.column("keras")[0] != "-"
    }
    named = _named(unit, kind, rows)
    params: dict[str, Tensor] = {}
    for leaf, tensor in named.items():
        row = rows.get(leaf)
        axes = row.column("keras")[1] if row else ""
        if row is None or (axes != "*" and len(axes) != tensor.ndim):
            raise _misfit(unit, kind)
        params[row.name] = realign(tensor, axes, row.axes)
    params |= _neutral(kind, params)
    if not fits(kind, {name: tensor.shape for name, tensor in params.items()}, "torch"):
        raise _misfit(unit, kind)
    if unit.keras1 and "weight" in params and params["weight"].ndim > 2:
        raise LossyError(
            "Theano flips the kernels of Keras 1, and the file does not name its backend",
            tensor=unit.path,
            hint="loading and saving the model with Keras 2",
        )
    return params


def _named(unit: Unit, kind: str, rows: Mapping[str, Param]) -> dict[str, Tensor]:
    """Return weights by Keras's names; in ``.weights.h5`` they are numbered in that order."""
    leaves = unit.leaves
    if kind == "Embedding" and unit.keras1 and set(leaves) == {"kernel"}:
        return {"embeddings": leaves["kernel"]}
    if kind == "PReLU" and "alpha" in leaves:
        leaves = {**leaves, "alpha": _channels(unit, leaves["alpha"])}
    if not all(leaf.isdigit() for leaf in leaves):
        return leaves
    config = settings(unit)
    flags = {"gamma": "scale", "beta": "center", "bias": "use_bias"}
    names = [name for name in rows if config.get(flags.get(name, ""), True)]
    if unit.entry is None and len(leaves) != len(names):
        names = _shorter(names, len(leaves))
    if len(names) != len(leaves) or sorted(map(int, leaves)) != list(range(len(names))):
        raise _misfit(unit, kind)
    found = dict(zip(names, leaves.values(), strict=True))
    return found if kind != "PReLU" else {"alpha": _channels(unit, found["alpha"])}


def _shorter(names: list[str], count: int) -> list[str]:
    """Return the names of fewer weights where only one reading is possible."""
    without = [name for name in names if name not in ("gamma", "beta", "bias")]
    return without if len(without) == count else []


def _channels(unit: Unit, alpha: Tensor) -> Tensor:
    """Return PReLU's slopes, which Keras has for every place that is not shared."""
    if any(n != 1 for n in alpha.shape[:-1]):
        raise LossyError(
            "PReLU with a slope for each place has no equal in torch and MindSpore",
            tensor=unit.path,
            expected="shared_axes that leave the channels alone",
            found=alpha.shape,
        )
    return realign(alpha, "1" * (alpha.ndim - 1) + "n", "n")


def _neutral(kind: str, params: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return ones and zeros for ``scale=False`` and ``center=False``, where torch has both."""
    like = next(iter(params.values()), None)
    needs = {row.name: row for row in KINDS[kind] if row.column("keras")[0] in ("gamma", "beta")}
    present = needs.keys() & params.keys()
    if like is None or not present or (kind == "LayerNorm" and "weight" in present):
        return {}
    return {
        name: FilledTensor(like.shape, like.dtype, row.fill)
        for name, row in needs.items()
        if name not in params
    }


def _ops(params: Mapping[str, Tensor]) -> Iterable[object]:
    return [(name, tensor.shape, tensor.label) for name, tensor in params.items()]


def _misfit(unit: Unit, kind: str) -> DialectError:
    rows = [row.column("keras") for row in KINDS.get(kind, ())]
    return DialectError(
        f"not the weights of a {kind}",
        tensor=unit.path,
        expected=", ".join(f"{name} ({axes})" for name, axes in rows if name != "-"),
        found=", ".join(f"{leaf} {tensor.shape}" for leaf, tensor in unit.leaves.items()),
    )
