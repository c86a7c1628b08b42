"""AWD-LSTM's WeightDrop: the raw weight is the weight; what stands beside it is a dropped-out copy.

The wrapper holds ``weight_hh_l0_raw`` itself and the layer as ``module`` (fastai), or puts the raw
weight into the layer (Salesforce). No other class has raw weights under the names of recurrent
ones; under ``weight_raw`` another may, so that there values prove it, or the user's word does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from ckptconv.checkpoint import Checkpoint
from ckptconv.graph.graph import is_recurrent_name
from ckptconv.options import ReadOptions
from ckptconv.spelling import option
from ckptconv.tensors.lazy import np
from ckptconv.tensors.tensor import Tensor

_RAW = "_raw"
_ALLOW = "weight_drop"
_RULE = "a copy of the raw weight with dropout, made anew in each step of training"
_CLOSE = 1e-2
"""How far a kept value may be from the raw one's multiple: what half precision rounds by."""


class _Pair(NamedTuple):
    raw: str
    plain: str
    """The name that the layer has for it."""


def without_weight_drop(checkpoint: Checkpoint, options: ReadOptions) -> Checkpoint:
    """Put raw weights in the place of their dropped-out copies.

    Where the file does not tell whether another weight is such a copy, a note says so.
    """
    if not any(name.endswith(_RAW) for name in checkpoint.tensors):
        return checkpoint
    moved, notes = _recurrent(checkpoint.tensors), list(checkpoint.notes)
    for pair in _others(checkpoint.tensors):
        one, other = (checkpoint.tensors[name] for name in pair)
        if _is_dropped(one, other) or _ALLOW in options.allow:
            moved[pair.raw] = pair.plain
        else:
            notes.append(_doubt(pair))
    dropped = {*moved.values()} & checkpoint.tensors.keys()
    tensors = {
        moved.get(name, name): tensor
        for name, tensor in checkpoint.tensors.items()
        if name not in dropped
    }
    omitted = {**checkpoint.omitted, **dict.fromkeys(dropped, _RULE)}
    return replace(checkpoint, tensors=tensors, omitted=omitted, notes=tuple(notes))


def _recurrent(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the raw weights of recurrent layers → the names that the layers have for them."""
    homes = {name[: -len(leaf)] for name, leaf in _leaves(tensors) if is_recurrent_name(leaf)}
    moved: dict[str, str] = {}
    for name, leaf in _leaves(tensors):
        path, plain = name[: -len(leaf)], leaf.removesuffix(_RAW)
        home = next((h for h in (f"{path}module.", path) if h in homes), None)
        if plain != leaf and is_recurrent_name(plain) and home is not None:
            moved[name] = home + plain
    return moved


def _others(tensors: Mapping[str, Tensor]) -> list[_Pair]:
    """Return the raw weights of other layers that stand beside one of the same shape."""
    found: list[_Pair] = []
    for name, leaf in _leaves(tensors):
        path, plain = name[: -len(leaf)], leaf.removesuffix(_RAW)
        if plain in ("", leaf) or is_recurrent_name(plain):
            continue
        names = (f"{path}module.{plain}", path + plain)
        beside = next((n for n in names if n in tensors), None)
        if beside is not None and tensors[beside].shape == tensors[name].shape:
            found.append(_Pair(name, beside))
    return found


def _leaves(tensors: Mapping[str, Tensor]) -> list[tuple[str, str]]:
    pairs = ((name, name.rpartition(".")[2]) for name in tensors)
    return [(name, leaf) for name, leaf in pairs if leaf]


def _is_dropped(raw: Tensor, copy: Tensor) -> bool:
    """Tell whether a weight is a multiple of the raw one of which some values are zero."""
    one, other = (np.asarray(tensor.numpy(), np.float64) for tensor in (raw, copy))
    kept = other != 0
    if not kept.any() or not one[kept].all():
        return False
    scales = other[kept] / one[kept]
    return bool(scales[0] > 0 and np.allclose(scales, scales[0], rtol=_CLOSE, atol=0))


def _doubt(pair: _Pair) -> str:
    told = f"{pair.raw} stands beside {pair.plain}, and the file does not tell which one counts"
    return f"{told}: both are kept; {option('allow', [_ALLOW])} takes the raw one, of a WeightDrop"
