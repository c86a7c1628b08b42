"""nn.LSTM as MindSpore before 1.6 stored it: in the layout of the device it was trained on.

Source: ``mindspore/nn/layer/lstm.py`` of 1.0 to 1.5.

- CPU: one parameter ``weight`` (N, 1, 1): all W_ih, then all W_hh, then all b_ih + b_hh, each over
  (layer, direction); gates i, f, g, o.
- GPU (cuDNN): one parameter ``weight`` (N, 1, 1): W_ih, W_hh for each (layer, direction), then
  b_ih, b_hh for each; gates i, f, g, o.
- Ascend: ``weight_fw{k}`` and ``weight_bw{k}`` (in + H, 4H), ``bias_fw{k}`` and ``bias_bw{k}``
  (4H), float16; gates i, g, f, o.

The file does not tell CPU from GPU, nor the sizes.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from ckptconv.dialects.evidence import Evidence, hint_of
from ckptconv.dialects.recurrent import lift_recurrent
from ckptconv.errors import DialectError
from ckptconv.graph.gates import CANONICAL, FLAT, ORDERS, permute
from ckptconv.graph.graph import Cell, RecurrentLayer, cell_params
from ckptconv.graph.hints import KindHint
from ckptconv.graph.kinds import PARAMETER
from ckptconv.spelling import option
from ckptconv.tensors.ops import cut, reshape, transpose
from ckptconv.tensors.tensor import FilledTensor, Tensor

_ASCEND = re.compile(r"(weight|bias)_(fw|bw)(\d{1,3})")
_MAX_LAYERS = 8
_GATES = 4


class Sizes(NamedTuple):
    """What the length of a flat ``weight`` is made of."""

    input_size: int
    hidden_size: int
    num_layers: int
    bidirectional: bool
    bias: bool

    @property
    def directions(self) -> int:
        return 1 + self.bidirectional

    def width(self, layer: int) -> int:
        return self.input_size if layer == 0 else self.directions * self.hidden_size

    def places(self) -> Iterator[tuple[int, int]]:
        return itertools.product(range(self.num_layers), range(self.directions))

    def length(self, biases: int) -> int:
        """Return the number of elements, with ``biases`` vectors of 4H per layer, direction."""
        columns = sum(
            self.width(k) + self.hidden_size + biases * self.bias for k, _ in self.places()
        )
        return _GATES * self.hidden_size * columns


def lift_flat(
    tensors: Mapping[str, Tensor],
    kinds: Mapping[str, KindHint],
    layout: str | None,
) -> tuple[list[RecurrentLayer], set[str]]:
    """Return the LSTMs stored in an old layout, and the names of the parameters they took.

    Args:
        kinds: ``LSTM(input_size=…, hidden_size=…, …)`` per path, as far as known.
        layout: ``cpu`` or ``gpu`` for a flat ``weight``.

    Raises:
        DialectError: the layout is not told, the sizes do not follow from what is, or a part is
            missing.
    """
    layers, taken = _lift_ascend(tensors, kinds)
    for name, tensor in tensors.items():
        path, _, leaf = name.rpartition(".")
        hint = hint_of(kinds, path)
        if leaf != "weight" or tensor.ndim != 3 or tensor.shape[1:] != (1, 1):
            continue
        if hint is not None and hint.kind != "LSTM":
            continue
        if layout not in ("cpu", "gpu"):
            raise DialectError(
                "looks like an LSTM of MindSpore before 1.6, whose layout depends on the device",
                tensor=name,
                found=tensor.shape,
                hint=f"{option('flat_layout', 'cpu')} or {option('flat_layout', 'gpu')} "
                f"or {option('kinds', {path: 'Conv1d'})}",
            )
        given = {k: v for k, v in hint.arguments.items() if k in Sizes._fields} if hint else {}
        sizes = _solve(name, path, tensor.size, layout, given)
        read = _read_cpu if layout == "cpu" else _read_gpu
        layers.append(_layer(path, read(tensor, sizes), FLAT[layout], kinds))
        taken.add(name)
    return layers, taken


def _solve(name: str, path: str, total: int, layout: str, given: dict[str, Any]) -> Sizes:
    """Find the sizes that make up the length; they must be the only ones."""
    for key, value in given.items():
        if not isinstance(value, int):
            problem = f"{option('kinds')} of {path}: {key} is no number"
            raise DialectError(problem, expected=f"{key}=16", found=repr(value))
    biases = 1 if layout == "cpu" else 2
    found = [s for s in _candidates(total, given, biases) if s.length(biases) == total]
    if len(found) == 1:
        return found[0]
    example = found[0] if found else Sizes(10, 16, 1, False, True)
    arguments = ", ".join(f"{key}={value}" for key, value in example._asdict().items())
    raise DialectError(
        "the length does not tell the sizes" if found else "no sizes give this length",
        tensor=name,
        expected=f"one solution for {total} elements",
        found=f"{len(found)}",
        hint=f"{option('kinds', {path: f'LSTM({arguments})'})}; with the true sizes",
    )


def _candidates(total: int, given: dict[str, Any], biases: int) -> Iterator[Sizes]:
    flags = (False, True)
    for layers, bidirectional, bias in itertools.product(
        [given["num_layers"]] if "num_layers" in given else range(1, _MAX_LAYERS + 1),
        [bool(given["bidirectional"])] if "bidirectional" in given else flags,
        [bool(given["bias"])] if "bias" in given else flags,
    ):
        directions = 1 + bidirectional
        hidden = given.get("hidden_size")
        for size in [hidden] if hidden else range(1, int(total**0.5) + 1):
            rows = _GATES * size * directions
            if rows <= 0 or total % rows:
                continue
            # columns = in + (L - 1)·D·H + L·H + L·biases
            rest = (layers - 1) * directions * size + layers * (size + biases * bias)
            width = total // rows - rest
            if width > 0 and given.get("input_size", width) == width:
                yield Sizes(width, size, layers, bidirectional, bias)


class _Reader:
    """Takes consecutive parts off a flat tensor."""

    def __init__(self, tensor: Tensor) -> None:
        self._flat, self._position = reshape(tensor, (tensor.size,), label=""), 0

    def take(self, *shape: int) -> Tensor:
        start, self._position = self._position, self._position + math.prod(shape)
        part = cut(self._flat, 0, start, self._position, label="split of a flat weight")
        return reshape(part, shape, label="")


def _read_cpu(tensor: Tensor, sizes: Sizes) -> dict[tuple[int, int], Cell]:
    reader, rows = _Reader(tensor), _GATES * sizes.hidden_size
    w_ih = {(k, d): reader.take(rows, sizes.width(k)) for k, d in sizes.places()}
    w_hh = {place: reader.take(rows, sizes.hidden_size) for place in sizes.places()}
    if not sizes.bias:
        return {place: Cell(w_ih[place], w_hh[place]) for place in sizes.places()}
    zeros = FilledTensor((rows,), tensor.dtype)
    return {p: Cell(w_ih[p], w_hh[p], reader.take(rows), zeros) for p in sizes.places()}


def _read_gpu(tensor: Tensor, sizes: Sizes) -> dict[tuple[int, int], Cell]:
    reader, rows = _Reader(tensor), _GATES * sizes.hidden_size
    weights = {
        (k, d): (reader.take(rows, sizes.width(k)), reader.take(rows, sizes.hidden_size))
        for k, d in sizes.places()
    }
    if not sizes.bias:
        return {place: Cell(*pair) for place, pair in weights.items()}
    return {p: Cell(*pair, reader.take(rows), reader.take(rows)) for p, pair in weights.items()}


def _lift_ascend(
    tensors: Mapping[str, Tensor], kinds: Mapping[str, KindHint]
) -> tuple[list[RecurrentLayer], set[str]]:
    groups: dict[str, dict[tuple[int, int], dict[str, tuple[str, Tensor]]]] = {}
    for name, tensor in tensors.items():
        path, _, leaf = name.rpartition(".")
        match, hint = _ASCEND.fullmatch(leaf), hint_of(kinds, path)
        if match and (hint is None or hint.kind != PARAMETER):
            place = int(match[3]), int(match[2] == "bw")
            groups.setdefault(path, {}).setdefault(place, {})[match[1]] = name, tensor
    layers, taken = [], set()
    for path, places in groups.items():
        cells = {place: _ascend_cell(path, parts) for place, parts in sorted(places.items())}
        layers.append(_layer(path, cells, FLAT["ascend"], kinds))
        taken |= {name for parts in places.values() for name, _ in parts.values()}
    return layers, taken


def _ascend_cell(path: str, parts: dict[str, tuple[str, Tensor]]) -> Cell:
    name, weight = parts.get("weight", (path, None))
    shape = weight.shape if weight is not None else ()
    if weight is None or len(shape) != 2 or shape[1] % _GATES or shape[0] <= shape[1] // _GATES:
        raise DialectError(
            "not a weight of LSTM on Ascend",
            tensor=name,
            expected="(in + H, 4H)",
            found=shape or "none",
        )
    source = ORDERS["mindspore-dynamicrnn"][0] or ""
    hidden = shape[1] // _GATES

    def rows(start: int, stop: int) -> Tensor:
        part = transpose(cut(weight, 0, start, stop, label="split into W_ih and W_hh"), (1, 0))
        return permute(part, 0, source, CANONICAL["LSTM"])

    w_ih, w_hh = rows(0, shape[0] - hidden), rows(shape[0] - hidden, shape[0])
    if "bias" not in parts:
        return Cell(w_ih, w_hh)
    name, bias = parts["bias"]
    if bias.shape != shape[1:]:
        raise DialectError(
            "not a bias of LSTM on Ascend", tensor=name, expected=shape[1:], found=bias.shape
        )
    bias = permute(bias, 0, source, CANONICAL["LSTM"])
    return Cell(w_ih, w_hh, bias, FilledTensor(bias.shape, bias.dtype))


def _layer(
    path: str,
    cells: Mapping[tuple[int, int], Cell],
    evidence: str,
    kinds: Mapping[str, KindHint],
) -> RecurrentLayer:
    params = {
        name: tensor
        for (k, d), cell in cells.items()
        for name, tensor in cell_params(cell, k, d).items()
    }
    layer = lift_recurrent(Evidence(path, params, kinds))
    return replace(layer, evidence=evidence, gates_known=True)
