"""A layer of the report built by its call, filled with what was written, and run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ckptconv.report import LayerEntry
from tests.differential import keras_target
from tests.differential.outcome import Void
from tests.differential.piece import Arrays, Piece, Silent
from tests.differential.targets import Unfit, construct, difference, load

LIMIT = 2e-5
_ADDED = "output_padding: where the call has padding=?"
_CHANNELS = "channels are the last axis"
_BATCH_FIRST = "takes (batch, time, features)"
_ATTENTION = "(query, value, key)"


def run(
    piece: Piece, target: str, entries: list[LayerEntry], arrays: Arrays, written: Path
) -> bool:
    """Build a layer by the report's call, load it strictly, run it; tell whether notes say more."""
    entry = entries[0]
    if len(entries) > 1 or not entry.constructor:
        kinds = [e.kind for e in entries]
        if {*kinds} == {"Parameter"} and all("no known layer" in e.evidence for e in entries):
            return True
        if not entry.constructor and entry.kind == piece.kind:
            return True  # the target has no such layer, and says so by an empty call
        raise Silent(f"a {piece.kind} became {kinds}: {[e.evidence for e in entries]}")
    cut = _ADDED in " ".join(entry.notes) and "padding=?" in entry.constructor
    if "?" in entry.constructor and not cut:
        raise Silent(f"still not known: {entry.constructor}")
    if not np.isfinite(piece.expected).all():
        raise Void("the source's own output is not finite")
    layers = construct(entry.constructor.replace("padding=?", "padding=0"), target)
    if target == "keras":
        _run_in_keras(piece, entry, layers, written)
        return bool(entry.notes)
    loaded_strictly(layers, _weights(entries, entry.path, arrays), target)
    _compare(piece, [_cut(layers[0], piece)] if cut else layers, target, entry.constructor)
    return bool(entry.notes)


def _cut(layer: Any, piece: Piece) -> Any:
    """Return a transposed convolution whose whole output is cut off as the note says."""
    padding, added = piece.hyper["padding"], piece.hyper["output_padding"]
    bias = [value for name, value in piece.values.items() if name.endswith("bias")]

    def call(x: Any) -> np.ndarray:
        whole = first(layer(x))
        rest = [(0, 0), (0, 0), *[(0, max(added - padding, 0))] * (whole.ndim - 2)]
        whole = np.pad(whole, rest, constant_values=np.nan)
        inner = [slice(padding, n - max(padding - added, 0)) for n in whole.shape[2:]]
        bare = np.reshape(bias[0] if bias else np.zeros(whole.shape[1]), (-1, *[1] * len(inner)))
        return np.where(np.isnan(whole), bare, whole)[(..., *inner)].astype("f4")

    return call


def _run_in_keras(piece: Piece, entry: LayerEntry, layers: list[Any], written: Path) -> None:
    """Run a piece in Keras, with its inputs and output turned as the notes say."""
    notes = " ".join(entry.notes)
    given, turn = piece.given, lambda array: array
    if _CHANNELS in notes:
        given, turn = [np.moveaxis(a, 1, -1) for a in given], lambda a: np.moveaxis(a, -1, 1)
    elif _BATCH_FIRST in notes and not piece.hyper.get("batch_first", True):
        given, turn = [a.swapaxes(0, 1) for a in given], lambda a: a.swapaxes(0, 1)
    if _ATTENTION in notes:
        given = [given[0], given[2], given[1]]
    try:
        model = keras_target.filled(layers, entry.path, given, written)
        found = turn(keras_target.run(model, given))
    except Exception as error:
        raise Unfit(f"does not load or run: {type(error).__name__}: {error}") from error
    gap = difference(found, piece.expected)
    if gap > LIMIT:
        raise Silent(f"other numbers: {gap:.2g}: {piece.kind} as {entry.constructor}")


def run_whole(
    piece: Piece, target: str, entries: list[LayerEntry], arrays: Arrays, path: str
) -> None:
    """Run a layer that holds several of the report's, whose weights stand below ``path``."""
    call = piece.wholes[target]
    if not np.isfinite(piece.expected).all():
        raise Void("the source's own output is not finite")
    layers = construct(call, target)
    loaded_strictly(layers, _weights(entries, path, arrays), target)
    _compare(piece, layers, target, call)


def loaded_strictly(layers: list[Any], weights: Arrays, target: str) -> None:
    """Load into a layer as it stands in a network: alone, some of MindSpore's have other names."""
    if target == "torch":
        load(layers, weights, target)
        return
    import mindspore as ms

    holder = ms.nn.CellDict({"m": layers[0]})
    shapes = {p.name: tuple(p.shape) for p in holder.get_parameters()}
    found = {f"m.{name}": tuple(value.shape) for name, value in weights.items()}
    if shapes != found:
        raise Unfit(f"does not load strictly: {sorted(shapes.items() ^ found.items())}")
    values = {f"m.{n}": ms.Parameter(ms.Tensor(v), name=f"m.{n}") for n, v in weights.items()}
    if ms.load_param_into_net(holder, values, strict_load=True) != ([], []):
        raise Unfit("does not load strictly")
    holder.set_train(False)


def _weights(entries: list[LayerEntry], path: str, arrays: Arrays) -> dict[str, np.ndarray]:
    cut = len(path) + 1 if path else 0
    return {t.target[cut:]: arrays[t.target] for e in entries for t in e.tensors}


def _compare(piece: Piece, layers: list[Any], target: str, call: str) -> None:
    found = run_one(layers[0], piece, target)
    gap = difference(found, piece.expected)
    if gap > LIMIT:
        raise Silent(f"other numbers: {gap:.2g}: {piece.kind} as {call}")


def run_one(layer: Any, piece: Piece, target: str) -> np.ndarray:
    """Run a layer; a cell takes its states as torch and MindSpore want them."""
    try:
        if target == "torch":
            import torch

            with torch.no_grad():
                return first(called(layer, piece.kind, [torch.from_numpy(a) for a in piece.given]))
        import mindspore as ms

        return first(called(layer, piece.kind, [ms.Tensor(a) for a in piece.given]))
    except Exception as error:
        text = (str(error).strip() or "nothing").splitlines()[0][:200]
        if "kernel" in text:
            raise Void("the target has no such kernel on this machine") from error
        raise Unfit(f"does not run: {type(error).__name__}: {text}") from error


def called(layer: Any, kind: str, given: list[Any]) -> Any:
    if kind == "LSTMCell":
        return layer(given[0], (given[1], given[2]))
    return layer(*given)


def first(value: Any) -> np.ndarray:
    value = value[0] if isinstance(value, tuple | list) else value
    if isinstance(value, np.ndarray):
        return value
    return np.asarray(value.asnumpy() if hasattr(value, "asnumpy") else value.detach().numpy())
