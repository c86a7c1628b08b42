"""The weights of a Keras layer that is not recurrent, by the table of layers."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ckptconv.dialects.infer_kind import ambiguous
from ckptconv.dialects.keras.grouping import Unit
from ckptconv.dialects.keras.layers import FORMS
from ckptconv.dialects.keras.model_config import snake_case
from ckptconv.dialects.keras.settings import settings
from ckptconv.errors import DialectError, LossyError
from ckptconv.graph.axes import fits, realign
from ckptconv.graph.forms import Slot, classes, slots, stored_by_row
from ckptconv.graph.graph import Layer
from ckptconv.graph.kinds import KINDS, Param
from ckptconv.spelling import option
from ckptconv.tensors.tensor import FilledTensor, Tensor, names_and_shapes

CLASSES = {name: kinds for name, kinds in classes(FORMS).items() if stored_by_row(kinds[0])}
SNAKE_KINDS = {snake_case(name): kinds[0] for name, kinds in CLASSES.items()}
"""Keras's classes, and their groups' names, → the kinds that they are."""
_MOST_AXES = 8
_FLAGS = {"gamma": ("scale",), "beta": ("center", "bias"), "bias": ("use_bias", "bias")}
"""Weight → the arguments, of Keras's layer and of torch's, without which it is not there."""


def canonical(
    unit: Unit, kind: str, said: Mapping[str, Any] = MappingProxyType({})
) -> tuple[dict[str, Tensor], dict[str, int]]:
    """Return a unit's weights as the canonical parameters of ``kind``, and what their shapes tell.

    The second are hyper-parameters that canonical shapes do not tell, such as ``groups``.

    Args:
        said: arguments of the layer, by the user.

    Raises:
        DialectError: they are not that layer's.
        AmbiguousKindError: they are numbered, and one of them may be either of two.
    """
    rows = {slot.name: (param, slot) for param, slot in _slots(kind) if slot}
    named = _named(unit, kind, list(rows), said)
    rows |= {name: rows[slot.name] for _, slot in list(rows.values()) for name in slot.also}
    params: dict[str, Tensor] = {}
    sizes: dict[str, int] = {}
    for leaf, tensor in named.items():
        param, slot = rows.get(leaf, (None, None))
        if param is None or slot is None or (len(slot.axes) != tensor.ndim and slot.axes != "*"):
            raise _misfit(unit, kind)
        sizes.update(zip(slot.axes, tensor.shape, strict=False))
        params[param.name] = realign(tensor, slot.axes, param.axes, KINDS[kind].products)
    if any(slot.needed and param.name not in params for param, slot in _slots(kind) if slot):
        raise _misfit(unit, kind)
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


def _named(unit: Unit, kind: str, rows: list[str], said: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return weights by Keras's names; in ``.weights.h5`` they are numbered in that order."""
    leaves = unit.leaves
    if kind == "Embedding" and unit.keras1 and set(leaves) == {"kernel"}:
        return {"embeddings": leaves["kernel"]}
    if kind == "PReLU" and "alpha" in leaves:
        leaves = {**leaves, "alpha": _channels(unit, leaves["alpha"])}
    if not all(leaf.isdecimal() for leaf in leaves):
        return leaves
    config = {**settings(unit), **said}
    names = [name for name in rows if all(config.get(flag, True) for flag in _FLAGS.get(name, ()))]
    if unit.entry is None and len(leaves) != len(names):
        if {"gamma", "beta"} <= {*names} and len(leaves) == len(names) - 1:
            arguments = form.call.keywords if (form := FORMS.get(kind)) else {}
            known = [flag for flag in ("center", "scale") if flag in arguments]
            raise ambiguous(unit.path, [f"{kind}({flag}=False)" for flag in known], leaves)
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
        if unit.entry is None and unit.word not in SNAKE_KINDS:
            raise _misfit(unit, "PReLU")
        raise LossyError(
            "PReLU with a slope for each place has no equal in torch and MindSpore",
            tensor=unit.path,
            expected="shared_axes that leave the channels alone",
            found=alpha.shape,
        )
    return realign(alpha, "1" * (alpha.ndim - 1) + "n", "n")


def lower_slopes(layer: Layer) -> Tensor:
    """Return PReLU's alpha, which has an axis of length one for every axis that shares slopes.

    Raises:
        DialectError: these axes are not known.
    """
    shared, weight = layer.attributes.get("shared_axes", ""), layer.params["weight"]
    shared = [] if shared is None else shared  # as Keras records it
    if not isinstance(shared, list | tuple) or len(shared) > _MOST_AXES:
        raise DialectError(
            "the rank of its input is not known, which the shape of alpha follows in Keras",
            tensor=layer.path,
            hint=option("kinds", {layer.hint_path: "PReLU(shared_axes=[1, 2])"})
            + "; with all axes of the input but the batch and, where each channel has a "
            "slope, the channels, which are last",
        )
    ones = "1" * (len(shared) - (weight.shape == (1,) and len(shared) > 0))
    return realign(weight, "n", f"{ones}n")


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


def _misfit(unit: Unit, kind: str) -> DialectError:
    return DialectError(
        f"not the weights of a {kind}",
        tensor=unit.path,
        expected=", ".join(f"{slot.name} ({slot.axes})" for _, slot in _slots(kind) if slot),
        found=names_and_shapes(unit.leaves),
    )
