"""Giving back what a sum took: the two biases of an LSTM or RNN that a target holds as one.

Keras's LSTM and SimpleRNN have one bias, so b_ih + b_hh is written there and the split is lost.
The report of that conversion keeps both, and the way back can take them from it, bit for bit, as
long as the sum is still the one that was written.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ckptconv.errors import CkptconvError
from ckptconv.graph.graph import Graph, Layer, RecurrentLayer
from ckptconv.passes.cast import DTYPES
from ckptconv.passes.restore.sums import Split, digest
from ckptconv.passes.restore.told import not_a_report
from ckptconv.tensors.dtypes import of
from ckptconv.tensors.lazy import np
from ckptconv.tensors.regions import Array, Region
from ckptconv.tensors.tensor import FilledTensor, Tensor


def split_sums(graph: Graph, splits: Iterable[Split]) -> tuple[Graph, set[str]]:
    """Put the biases back into a graph that was read from a file with their sums.

    A sum is known by its bytes, so that layers may have been renamed since; one that no split fits
    was trained since, and stays as it is: the graph's notes say so.

    Returns:
        The graph, and the names that the report has of the sums that were split.
    """
    origin = graph.origin.provenance
    known: dict[str, list[Split]] = {}
    for split in splits:
        known.setdefault(split.sha256, []).append(split)
    restored = set[str]()
    layers: list[Layer] = []
    notes: list[str] = []
    for layer in graph:
        params = dict(layer.params)
        for suffix in _summed(layer):
            written = origin.trace(params[f"bias_ih{suffix}"]).origins[0]
            name = (origin.own(written) or [layer.full_name(f"bias_ih{suffix}")])[-1]
            fitting = known.get(digest(written), [])
            if fitting:
                # Equal sums (all zeros, say) may have been split differently: the name decides.
                fitting.sort(key=lambda split: split.target != name)
                split = fitting[0] if len(fitting) == 1 else fitting.pop(0)
                params |= _restored(params[f"bias_ih{suffix}"], suffix, split)
                restored.add(split.target)
            else:
                notes.append(f"{name}: not a sum that the report tells of; left as it is")
        layers.append(replace(layer, params=params))
    return replace(graph, layers=tuple(layers), notes=(*graph.notes, *notes)), restored


def parse(document: Mapping[str, Any]) -> list[Split]:
    """Return the splits that a report keeps.

    Raises:
        CkptconvError: not a report of a conversion.
    """
    try:
        return [_parsed(entry) for entry in document["restore"]]
    except (ValueError, KeyError, TypeError) as error:
        raise not_a_report(error) from None


class _Restored(Tensor):
    """Values from a report, in the place of the sum ``bias``."""

    def __init__(self, bias: Tensor, array: Array) -> None:
        self.inputs, self.shape, self.dtype = (bias,), array.shape, of(array.dtype)
        self.label, self._array = "bias split restored from the report", array

    def read(self, region: Region) -> Array:
        return self._array[tuple(slice(a, b) for a, b in region)]


def _summed(layer: Layer) -> list[str]:
    """Return the suffixes of a recurrent layer's cells that hold one bias."""
    return [
        name.removeprefix("bias_hh")
        for name, tensor in layer.params.items()
        if isinstance(layer, RecurrentLayer)
        and name.startswith("bias_hh")
        and isinstance(tensor, FilledTensor)
    ]


def _restored(bias: Tensor, suffix: str, split: Split) -> dict[str, Tensor]:
    made: dict[str, Tensor] = {}
    for name, text in (("bias_ih", split.b_ih), ("bias_hh", split.b_hh)):
        array = np.frombuffer(base64.b64decode(text), DTYPES[split.dtype])
        if array.shape != bias.shape:
            raise CkptconvError(
                "the report does not fit",
                tensor=split.target,
                expected=f"biases of shape {bias.shape}",
                found=array.shape,
            )
        made[name + suffix] = _Restored(bias, array)
    return made


def _parsed(entry: Any) -> Split:
    split = Split(**entry)
    if not all(isinstance(value, str) for value in split):
        raise TypeError("a split is five strings")
    width = DTYPES[split.dtype].itemsize
    for text in (split.b_ih, split.b_hh):
        # binascii.Error is a ValueError
        if len(base64.b64decode(text, validate=True)) % width:
            raise ValueError("a bias is cut off")
    return split
