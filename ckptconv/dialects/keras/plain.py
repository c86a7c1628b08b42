"""Keras's layers that are not recurrent: their kind, and their weights by the table of layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ckptconv.dialects.infer_kind import Evidence, by_name
from ckptconv.dialects.keras.grouping import Unit
from ckptconv.dialects.keras.layers import FORMS
from ckptconv.dialects.keras.model_config import snake_case
from ckptconv.dialects.keras.settings import attributes, notes, settings
from ckptconv.errors import AmbiguousKindError, DialectError, LossyError
from ckptconv.graph.axes import fits, realign
from ckptconv.graph.forms import Slot, classes, slots, stored_by_row
from ckptconv.graph.graph import Layer
from ckptconv.graph.kinds import KINDS, PARAMETER, Param
from ckptconv.options import ReadOptions
from ckptconv.tensors.tensor import FilledTensor, Tensor

_CLASSES = {name: kinds for name, kinds in classes(FORMS).items() if stored_by_row(kinds[0])}
_SNAKE_KINDS = {snake_case(name): kinds[0] for name, kinds in _CLASSES.items()}


def ranks_of(kind: str) -> tuple[str, ...]:
    """Return the kinds that Keras has one class for: BatchNormalization of any rank."""
    form = FORMS.get(kind)
    kinds = _CLASSES.get(form.call.name, ()) if form else ()
    return kinds if kind in kinds else (kind,)


def lift_plain(unit: Unit, options: ReadOptions) -> list[Layer]:
    """Return a unit as a layer of the table, or its weights as parameters of no known layer.

    Raises:
        DialectError: the weights are not those of the layer that is said, or of several.
        LossyError: a form of the layer that neither torch nor MindSpore has.
    """
    hint = options.kinds.get(unit.path)
    kind, evidence = _said_kind(unit, hint.kind if hint else None)
    if kind == PARAMETER:
        return _parameters(unit, "--kind")
    candidates = (kind,) if kind else _fitting(unit)
    if not candidates:
        return _parameters(unit, "no known layer")
    lifted = {c: _canonical(unit, c) for c in candidates}
    first = candidates[0]
    params, told = lifted[first]
    same = [c for c in candidates if _ops(lifted[c][0]) == _ops(params)]
    if same != list(candidates):
        raise AmbiguousKindError(
            "the file does not tell which layer this is",
            kinds=candidates,
            tensor=unit.path,
            expected=" or ".join(candidates),
            found=", ".join(f"{leaf} {t.shape}" for leaf, t in unit.leaves.items()),
            hint=" or ".join(f"--kind {unit.path}={c}" for c in candidates),
        )
    said = settings(unit)
    said_by = {**attributes(first, said), **(hint.arguments if hint else {}), **told}
    remarks = tuple(notes(said))
    return [Layer(unit.path, first, params, said_by, evidence, candidates, remarks)]


def _said_kind(unit: Unit, hint: str | None) -> tuple[str | None, str]:
    """Return (kind, evidence) by the user, the configuration or the name of the group."""
    if hint is not None:
        return hint, "--kind"
    if unit.entry is not None and unit.entry.class_name in _CLASSES:
        return _CLASSES[unit.entry.class_name][0], "model_config"
    if unit.entry is None and unit.word in _SNAKE_KINDS:
        return _SNAKE_KINDS[unit.word], "name of the group"
    return None, "names and shapes of the weights, or the name of the layer"


def _fitting(unit: Unit) -> tuple[str, ...]:
    """Return the kinds of layer that the weights can be, narrowed by the layer's name."""
    if unit.entry is not None:  # a class that is not converted
        return ()
    found = []
    for kind in dict.fromkeys(_SNAKE_KINDS.values()):
        try:
            _, told = _canonical(unit, kind)
        except DialectError:
            continue
        if not told or max(told.values()) > 1:
            found.append(kind)
    if len(found) > 1:
        return by_name(unit.path, tuple(found), Evidence(), {}) or tuple(found)
    return tuple(found)


def _parameters(unit: Unit, evidence: str) -> list[Layer]:
    """Keep weights of no known layer under their names.

    Raises:
        DialectError: they have no names, and the user does not say to keep them.
    """
    if evidence != "--kind" and any(leaf.isdecimal() for leaf in unit.leaves):
        raise DialectError(
            "nothing tells which layer these weights belong to",
            tensor=unit.path,
            expected="a layer of " + ", ".join(sorted(_CLASSES)),
            found=", ".join(f"{leaf} {t.shape}" for leaf, t in unit.leaves.items()),
            hint=f"--kind {unit.path}=KIND, or {unit.path}=Parameter to keep them as they are",
        )
    return [
        Layer(f"{unit.path}.{leaf}", PARAMETER, {"": tensor}, evidence=evidence)
        for leaf, tensor in unit.leaves.items()
    ]


def _canonical(unit: Unit, kind: str) -> tuple[dict[str, Tensor], dict[str, int]]:
    """Return a unit's weights as the canonical parameters of ``kind``, and what their shapes tell.

    The second are hyper-parameters that canonical shapes do not tell, such as ``groups``.

    Raises:
        DialectError: they are not that layer's.
    """
    rows = {slot.name: (param, slot) for param, slot in _slots(kind) if slot}
    named = _named(unit, kind, list(rows))
    rows |= {name: rows[slot.name] for _, slot in list(rows.values()) for name in slot.also}
    params: dict[str, Tensor] = {}
    sizes: dict[str, int] = {}
    for leaf, tensor in named.items():
        param, slot = rows.get(leaf, (None, None))
        if param is None or slot is None or (len(slot.axes) != tensor.ndim and slot.axes != "*"):
            raise _misfit(unit, kind)
        sizes.update(zip(slot.axes, tensor.shape, strict=False))
        params[param.name] = realign(tensor, slot.axes, param.axes, KINDS[kind].products)
    params |= _neutral(kind, params)
    row = KINDS.get(kind)
    told = {
        hyper: sizes[axis] for hyper, axis in (row.sizes if row else {}).items() if axis in sizes
    }
    if not fits(kind, {name: tensor.shape for name, tensor in params.items()}, {}, told):
        raise _misfit(unit, kind)
    if unit.keras1 and "weight" in params and params["weight"].ndim > 2:
        raise LossyError(
            "Theano flips the kernels of Keras 1, and the file does not name its backend",
            tensor=unit.path,
            hint="loading and saving the model with Keras 2",
        )
    return params, told


def _named(unit: Unit, kind: str, rows: Iterable[str]) -> dict[str, Tensor]:
    """Return weights by Keras's names; in ``.weights.h5`` they are numbered in that order."""
    leaves = unit.leaves
    if kind == "Embedding" and unit.keras1 and set(leaves) == {"kernel"}:
        return {"embeddings": leaves["kernel"]}
    if kind == "PReLU" and "alpha" in leaves:
        leaves = {**leaves, "alpha": _channels(unit, leaves["alpha"])}
    if not all(leaf.isdecimal() for leaf in leaves):
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
    if any(n != 1 for n in alpha.shape[:-1]) or not alpha.ndim:
        if unit.entry is None and unit.word not in _SNAKE_KINDS:
            raise _misfit(unit, "PReLU")
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
    needs = {p.name: p for p, slot in _slots(kind) if slot and slot.name in ("gamma", "beta")}
    present = needs.keys() & params.keys()
    if like is None or not present or (kind == "LayerNorm" and "weight" in present):
        return {}
    return {
        name: FilledTensor(like.shape, like.dtype, row.fill)
        for name, row in needs.items()
        if name not in params
    }


def _slots(kind: str) -> list[tuple[Param, Slot | None]]:
    return list(slots(kind, FORMS)) if kind in KINDS else []


def _ops(params: Mapping[str, Tensor]) -> Iterable[object]:
    return [(name, tensor.shape, tensor.label) for name, tensor in params.items()]


def _misfit(unit: Unit, kind: str) -> DialectError:
    return DialectError(
        f"not the weights of a {kind}",
        tensor=unit.path,
        expected=", ".join(f"{slot.name} ({slot.axes})" for _, slot in _slots(kind) if slot),
        found=", ".join(f"{leaf} {tensor.shape}" for leaf, tensor in unit.leaves.items()),
    )
